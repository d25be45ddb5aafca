"""Cuts windows from pairs of photographs and inpainted versions of them, as a set in the layout `folder`.

    python pairs_to_set.py PAIRS OUT --size 256

PAIRS/real/NAME.* are photographs, PAIRS/fake/INPAINTER/NAME.* the inpainted versions, of the same size. OUT, which
must be empty, gets images/, masks/ and labels.csv. A mask is where the two differ by more than `--least` grey levels in
any channel; specks are closed and removed. Windows are cut around the change at the photograph's own resolution, and
each window gives a real and a fake image. A pair that cannot be used is named and left out.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Of the files that are read."""
MOST = 0.7
"""Largest share of a photograph that may differ: beyond it, the whole image was made or saved again."""
SPECK = 16
"""Smallest number of pixels of a region that differs."""


def difference(real_hw3: np.ndarray, fake_hw3: np.ndarray, least: int) -> np.ndarray:
    """Mask (h, w), True where the images differ, closed by 5 px and without specks."""
    gap_hw = np.abs(real_hw3.astype(np.int16) - fake_hw3).max(axis=2)
    changed_hw = (gap_hw > least).astype(np.uint8)
    changed_hw = cv2.morphologyEx(changed_hw, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, region_hw, stats, _ = cv2.connectedComponentsWithStats(changed_hw)
    large = [number for number in range(1, len(stats)) if stats[number, cv2.CC_STAT_AREA] >= SPECK]
    return np.isin(region_hw, large)


def window(mask_hw: np.ndarray, size: int) -> tuple[slice, slice]:
    """Rows and columns of a window around the change, moved into the image where it would leave it."""
    rows, columns = np.nonzero(mask_hw)
    ends = []
    for places, side in ((rows, mask_hw.shape[0]), (columns, mask_hw.shape[1])):
        start = min(max(0, (int(places.min()) + int(places.max()) - size) // 2), side - size)
        ends.append(slice(start, start + size))
    return ends[0], ends[1]


def cut(real: Path, fake: Path, size: int, least: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The windows of a pair: real, fake and mask. Raises ValueError if the pair cannot be used."""
    real_hw3, fake_hw3 = cv2.imread(str(real)), cv2.imread(str(fake))
    if real_hw3 is None or fake_hw3 is None:
        raise ValueError("it does not decode")
    if real_hw3.shape != fake_hw3.shape:
        raise ValueError(f"the photograph has {real_hw3.shape[:2]} px, the inpainted version {fake_hw3.shape[:2]}")
    if min(real_hw3.shape[:2]) < size:
        raise ValueError(f"it is smaller than a window of {size} px")
    mask_hw = difference(real_hw3, fake_hw3, least)
    if not mask_hw.any():
        raise ValueError("the two do not differ")
    if mask_hw.mean() > MOST:
        raise ValueError(f"{mask_hw.mean():.0%} of it differs: raise --least if one of the two was saved as JPEG")
    rows, columns = window(mask_hw, size)
    if not mask_hw[rows, columns].any():
        raise ValueError("its changes lie too far apart for one window")
    return real_hw3[rows, columns], fake_hw3[rows, columns], mask_hw[rows, columns]


def splits(photographs: set[str]) -> dict[str, str]:
    """The split of each photograph: a fifth for testing, a tenth for validation, at least one each; by a hash."""
    ordered = sorted(photographs, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    test, val = max(1, len(ordered) // 5), max(1, len(ordered) // 10)
    names = ["test"] * test + ["val"] * val
    return {name: (names[i] if i < len(names) else "train") for i, name in enumerate(ordered)}


def refuse(given: str, why: str, allowed: str, fix: str) -> NoReturn:
    """End with an error and exit code 1."""
    raise SystemExit(f"{given}\n  why:     {why}\n  allowed: {allowed}\n  do:      {fix}")


def images_in(folder: Path) -> dict[str, Path]:
    """The images of a folder by name without ending. Ends with an error if two have the same."""
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS):
        if path.stem in found:
            why = f"{found[path.stem].name} has the same name, so a pair could be of either"
            refuse(f"image {path}", why, "one image of a name in each folder", "rename or remove one of the two")
        found[path.stem] = path
    return found


def find(pairs: Path) -> dict[str, tuple[Path, Path | None, str]]:
    """By the name that a pair has in the set: the inpainted version, its photograph (None if there is none) and the
    inpainter. Ends with an error for another layout."""
    layout = "PAIRS/real/NAME.png and PAIRS/fake/INPAINTER/NAME.png"
    for part in ("real", "fake"):
        if not (pairs / part).is_dir():
            refuse(f"PAIRS {pairs}", f"it has no folder {part}/", layout, "name the folder that has real/ and fake/")
    photographs = images_in(pairs / "real")
    found: dict[str, tuple[Path, Path | None, str]] = {}
    for folder in sorted(path for path in (pairs / "fake").iterdir() if path.is_dir()):
        for stem, fake in images_in(folder).items():
            key = f"{stem}-{folder.name}"
            if key in found:
                why = f"{found[key][0]} would have the same name in the set, {key}"
                refuse(f"image {fake}", why, "names that differ when joined by -", "rename one of the two folders")
            found[key] = (fake, photographs.get(stem), folder.name)
    return found


def make(pairs: Path, out: Path, size: int, least: int) -> int:
    """Write the set; returns the number of pairs. Without any pair, nothing is written.

    Ends with an error for another layout of `pairs`, and if `out` exists and is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        why = "it has files, which could be of another set"
        refuse(
            f"OUT {out}", why, "a folder that is empty, or does not exist", "name another folder, or remove it first"
        )
    rows: list[list[str]] = []
    for key, (fake, real, inpainter) in find(pairs).items():
        try:
            if real is None:
                raise ValueError("it has no photograph of its name in real/")
            real_hw3, fake_hw3, mask_hw = cut(real, fake, size, least)
        except ValueError as error:
            print(f"left out {fake}: {error}", file=sys.stderr)
            continue
        mask_hw = mask_hw.astype(np.uint8) * 255
        written = {f"images/{key}-real": real_hw3, f"images/{key}-fake": fake_hw3, f"masks/{key}-fake": mask_hw}
        for name, pixels in written.items():
            path = out / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if not cv2.imwrite(str(path), pixels):
                raise OSError(f"{path} cannot be written")
        rows += [[f"{key}-real.png", "0", fake.stem, ""], [f"{key}-fake.png", "1", fake.stem, inpainter]]
    if rows:
        split_of = splits({row[2] for row in rows})
        rows = [[*row, split_of[row[2]]] for row in rows]
        with (out / "labels.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["file", "label", "source", "inpainter", "split"], *rows])
    return len(rows) // 2


def within(low: int, high: int) -> Callable[[str], int]:
    """The type of an option: a whole number from low to high."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {low} to {high}")
        return int(text)

    return parse


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path, help="folder with real/NAME.* and fake/INPAINTER/NAME.*")
    parser.add_argument("out", type=Path, help="folder of the set, which is empty or does not exist")
    parser.add_argument("--size", type=within(8, 1024), default=256, help="side of the windows, px: 8 to 1024")
    parser.add_argument(
        "--least", type=within(0, 254), default=8, help="a pixel counts if it differs by more than so many grey levels"
    )
    options = parser.parse_args()
    count = make(options.pairs, options.out, options.size, options.least)
    if not count:
        refuse(
            f"PAIRS {options.pairs}",
            "none of its pairs can be used, so nothing was written",
            "pairs that differ in a part of the photograph, and are as large as a window",
            "see above why each was left out; other values of --size and --least",
        )
    print(f"{count} pairs in {options.out}")
