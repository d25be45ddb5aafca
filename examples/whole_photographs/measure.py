"""Measures what detectors find in whole photographs: eight Kodak photographs, three forgers, four sizes of holes.

    python measure.py crops PHOTOGRAPHS DATA     # DATA/whole-photographs: crops at full size, and the splits
    python measure.py found PHOTOGRAPHS STORE    # fills the holes, applies the detectors, prints tables in Markdown

PHOTOGRAPHS is the folder with kodim01.png to kodim24.png, STORE that of the sweeps `whole-photographs-fillers` and
`whole-photographs-finders`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image

import sweeps

if TYPE_CHECKING:
    from sweeps.api.stored import StoredTrial

SIDE, CROPS = 64, 40
"""Side of a crop, px, and the number of crops of each photograph."""
SHARES = (0.05, 0.1, 0.2, 0.4)
"""Sides of the holes, as shares of the short side of the photograph."""
PLACE = 0.35
"""Top and left of a hole, as shares of height and width."""
TESTED = range(17, 25)
"""Numbers of the photographs that no network has seen."""

KNOWN = range(1, 17)
"""Numbers of the photographs that are taken as known to be authentic. The detectors learned from crops of 1 to 12."""
ANY = 0.999
"""False positive rate of a threshold that is low enough to show the box, whatever the probability."""
WAYS = {
    "resized": "resized, best F1 on validation",
    "scan": "scan, validation",
    "known": "scan, 16 known photographs",
    "single": "scan, threshold of a single window",
}
"""How photographs are labelled."""

Box = tuple[float, float, float, float]
"""x1 y1 x2 y2, px."""
Forger = Callable[[Image.Image, Box], Image.Image]


def name(number: int) -> str:
    return f"kodim{number:02d}.png"


def cut(photographs: Path, data: Path) -> None:
    """Write crops at random places of photographs 1 to 16, and the splits of crops and of photographs."""
    folder = data / "whole-photographs"
    (folder / "crops").mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    crops = []
    for number in range(1, 17):
        image = Image.open(photographs / name(number)).convert("RGB")
        for index in range(CROPS):
            left, top = (int(random.integers(0, length - SIDE + 1)) for length in image.size)
            file = f"{number:02d}-{index:02d}.png"
            image.crop((left, top, left + SIDE, top + SIDE)).save(folder / "crops" / file)
            crops.append((file, "train" if number < 13 else "val" if number < 16 else "test"))
    whole = [(name(n), "train" if n < 16 else "val" if n == 16 else "test") for n in range(1, 25)]
    for splits, rows in (("crops.csv", crops), ("photographs.csv", whole)):
        with (folder / splits).open("w", newline="", encoding="utf-8") as written:
            csv.writer(written).writerows([("file", "split"), *rows])


def hole(size: tuple[int, int], share: float) -> Box:
    """x1 y1 x2 y2 of the square hole in a photograph of this width and height, px."""
    left, top, side = round(PLACE * size[0]), round(PLACE * size[1]), round(share * min(size))
    return left, top, left + side, top + side


def telea(image: Image.Image, box: Box) -> Image.Image:
    """The photograph after Telea's method filled a box, at full size."""
    mask_hw = np.zeros((image.height, image.width), np.uint8)
    mask_hw[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = 255
    return Image.fromarray(cv2.inpaint(np.asarray(image), mask_hw, 3, cv2.INPAINT_TELEA))


def trained(trial: StoredTrial) -> Forger:
    """A trained network as a forger, in windows around the hole, as `sweeps predict` applies it."""
    return lambda image, box: trial.predict(image, mask=(box[0], box[1], box[2] - box[0], box[3] - box[1]))


def overlap(box: Box | None, true: Box) -> float:
    """Intersection over union of two boxes; 0 without a box."""
    if box is None:
        return 0.0
    sides = [min(box[i + 2], true[i + 2]) - max(box[i], true[i]) for i in (0, 1)]
    shared = max(0.0, sides[0]) * max(0.0, sides[1])
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (box, true)]
    return shared / (sum(areas) - shared)


def psnr_db(image: Image.Image, original: Image.Image, box: Box) -> float:
    """Inside the box, in dB."""
    first, second = (np.asarray(one.crop(box), float) for one in (image, original))
    return float(10 * np.log10(255**2 / np.square(first - second).mean()))


def photographs_of(folder: Path, forgers: Mapping[str, Forger]) -> Iterator[tuple[dict[str, Any], Image.Image, Box]]:
    """What is known of each photograph, authentic or filled, the photograph, and the hole."""
    for number in TESTED:
        original = Image.open(folder / name(number)).convert("RGB")
        yield {"photograph": number, "forger": "authentic", "side": 0}, original, (0, 0, 0, 0)
        for forger, fill in forgers.items():
            for share in SHARES:
                box = hole(original.size, share)
                filled = fill(original, box)
                row = {"photograph": number, "forger": forger, "side": box[2] - box[0]}
                yield {**row, "psnr_db": psnr_db(filled, original, box)}, filled, box


def thresholds(detector: StoredTrial, photographs: Path) -> dict[str, float]:
    """The threshold of each way, as a probability; printed with what it rests on."""
    first = Image.open(photographs / name(TESTED[0]))
    known = detector.measure_authentic([photographs / name(number) for number in KNOWN])
    found = {
        "scan": detector.predict(first),
        "known": detector.predict(first, authentic=known, false_positive_rate=1 / (len(KNOWN) + 1)),
        "single": detector.predict(first, resize=True),
    }
    for way, one in found.items():
        print(f"{detector.arm}, {WAYS[way]}: {one.threshold:.6f}, {one.chosen['statement']}")
    best = float(detector.records["val/threshold"].iloc[-1])
    return {"resized": best, **{way: one.threshold for way, one in found.items()}}


def looked(detector: StoredTrial, image: Image.Image, box: Box, limits: Mapping[str, float]) -> dict[str, Any]:
    """Labels and boxes of a scan, and of the resized photograph. limits: the threshold of each way."""
    scan = detector.predict(image, false_positive_rate=ANY)
    whole = detector.predict(image, resize=True, false_positive_rate=ANY)
    found: dict[str, Any] = {"scan_probability": scan.probability}
    for way, limit in limits.items():
        seen = whole if way == "resized" else scan
        label = seen.probability >= limit
        found |= {way: label, f"{way}_iou": overlap(seen.box, box) if label else 0.0}
    return found


def table(rows: pd.DataFrame) -> str:
    """The number of photographs called inpainted, and the mean overlap, by forger and hole."""
    lines = ["| forger | hole | PSNR |" + "".join(f" {way}: found | mean IoU |" for way in WAYS.values())]
    lines.append("| --- " * (3 + 2 * len(WAYS)) + "|")
    for (forger, side), some in rows.groupby(["forger", "side"], sort=False):
        cells = [forger, f"{side} px", f"{some['psnr_db'].mean():.1f} dB"] if side else [forger, "", ""]
        for way in WAYS:
            cells += [f"{some[way].sum()} of {len(some)}", f"{some[f'{way}_iou'].mean():.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def find(photographs: Path, store: str, ending: str = "") -> None:
    """Write found.csv, a row for each detector, forger, hole and photograph, and print a table for each detector.

    ending: of the names of the sweeps, `-tiny` for that size.
    """
    stored = sweeps.open(store)
    networks = {trial.arm: trained(trial) for trial in stored[f"whole-photographs-fillers{ending}"]}
    detectors = [(one, thresholds(one, photographs)) for one in stored[f"whole-photographs-finders{ending}"]]
    rows = [
        {"detector": detector.arm, **known, **looked(detector, image, box, limits)}
        for known, image, box in photographs_of(photographs, {"Telea": telea, **networks})
        for detector, limits in detectors
    ]
    found = pd.DataFrame(rows)
    found.to_csv("found.csv", index=False)
    for detector, some in found.groupby("detector", sort=False):
        print(f"\nTrained on the fills of {detector}:\n\n{table(some)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("crops", "found"))
    parser.add_argument("photographs", type=Path, help="folder with kodim01.png to kodim24.png")
    parser.add_argument("where", help="crops: the data root to write to; found: the store of the two sweeps")
    options = parser.parse_args()
    if options.what == "crops":
        cut(options.photographs, Path(options.where))
    else:
        find(options.photographs, options.where)
