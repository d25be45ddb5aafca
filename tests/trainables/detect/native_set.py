"""A small set of photographs of different sizes in the layout `folder`, with grainy fakes."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from trainables.forgery import public_datasets
from trainables.forgery.config import resolve_set
from trainables.forgery.forged_images import ForgedSet

WINDOW = 32
SET = {"layout": "folder", "path": "set", "size": WINDOW, "native": True}
COUNTS = {"train": 8, "val": 6, "test": 6}
"""Photographs of each split, each with its fake."""


def make(folder: Path) -> Path:
    """Smooth photographs of 24 to 90 px, and fakes with a rectangle of noise. Returns the data root."""
    rows, rng = ["file,label,source,split,inpainter"], np.random.default_rng(0)
    (folder / "set" / "images").mkdir(parents=True)
    (folder / "set" / "masks").mkdir()
    for split, count in COUNTS.items():
        for number in range(count):
            height, width = (24, 50) if number == 0 else (int(side) for side in rng.integers(40, 90, 2))
            real = cv2.resize(rng.integers(60, 200, (4, 4, 3), dtype=np.uint8), (width, height))
            fake, mask = real.copy(), np.zeros((height, width), dtype=np.uint8)
            top, left = int(rng.integers(0, height - 20)), int(rng.integers(0, width - 24))
            mask[top : top + 16, left : left + 20] = 255
            fake[mask > 0] = rng.integers(0, 256, (16 * 20, 3))
            for kind, pixels, label in (("real", real, 0), ("fake", fake, 1)):
                Image.fromarray(pixels).save(folder / "set" / "images" / f"{split}{number}-{kind}.png")
                rows.append(f"{split}{number}-{kind}.png,{label},{split}{number},{split},{'noise' * label}")
            Image.fromarray(mask).save(folder / "set" / "masks" / f"{split}{number}-fake.png")
    (folder / "set" / "labels.csv").write_text("\n".join(rows))
    return folder


@cache
def loaded() -> ForgedSet:
    """The set in memory."""
    with tempfile.TemporaryDirectory() as folder:
        return public_datasets.load(resolve_set(SET), make(Path(folder)))
