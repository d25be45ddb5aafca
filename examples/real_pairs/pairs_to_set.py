"""Cuts windows from pairs of photographs and inpainted versions of them, as a set in the layout `folder`.

    python pairs_to_set.py PAIRS OUT --size 256

PAIRS/real/NAME.* are photographs, PAIRS/fake/INPAINTER/NAME.* the inpainted versions, of the same size. OUT gets
images/, masks/ and labels.csv. A mask is where the two differ by more than `--least` grey levels in any channel; specks
are closed and removed. Windows are cut around the change at the photograph's own resolution, and each window gives a
real and a fake image. A pair that cannot be used is named and left out.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from pathlib import Path

import cv2
import numpy as np

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


def make(pairs: Path, out: Path, size: int, least: int) -> int:
    """Write the set; returns the number of pairs."""
    for folder in ("images", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    of_name = {path.stem: path for path in sorted((pairs / "real").iterdir())}
    rows: list[list[str]] = []
    for fake in sorted((pairs / "fake").glob("*/*")):
        key, inpainter = f"{fake.stem}-{fake.parent.name}", fake.parent.name
        try:
            if fake.stem not in of_name:
                raise ValueError("it has no photograph of its name in real/")
            real_hw3, fake_hw3, mask_hw = cut(of_name[fake.stem], fake, size, least)
        except ValueError as error:
            print(f"left out {fake}: {error}", file=sys.stderr)
            continue
        cv2.imwrite(str(out / "images" / f"{key}-real.png"), real_hw3)
        cv2.imwrite(str(out / "images" / f"{key}-fake.png"), fake_hw3)
        cv2.imwrite(str(out / "masks" / f"{key}-fake.png"), mask_hw.astype(np.uint8) * 255)
        rows += [[f"{key}-real.png", "0", fake.stem, ""], [f"{key}-fake.png", "1", fake.stem, inpainter]]
    split_of = splits({row[2] for row in rows})
    rows = [[*row, split_of[row[2]]] for row in rows]
    with (out / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", "label", "source", "inpainter", "split"], *rows])
    return len(rows) // 2


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=256, help="side of the windows, px")
    parser.add_argument("--least", type=int, default=8, help="difference from which a pixel counts, grey levels")
    options = parser.parse_args()
    count = make(options.pairs, options.out, options.size, options.least)
    print(f"{count} pairs in {options.out}")
