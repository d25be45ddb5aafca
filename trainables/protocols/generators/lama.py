"""The masks of LaMa's evaluation: strokes or boxes, and the square of the image that is cut around them.

Source: Suvorov et al. 2022; advimman/lama at 786f593, `bin/gen_mask_dataset.py` with `configs/data_gen/random_*.yaml`.
Two of its habits are kept, because they change the masks: the largest number of strokes is one more than the
configuration says, and lengths and widths have 10 and 5 px added.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from trainables.protocols.generators import HoleArray, Square
from trainables.protocols.mask_options import LamaBoxes, LamaMasks, LamaStrokes

_PI = 3.1415926  # as the authors wrote it
_PARTS = 5
"""A stroke has one to this many parts."""
_LENGTH, _WIDTH, _ANGLE = 10, 5, 0.01
"""Added to each length (px), width (px) and angle (radians)."""


def draw(options: LamaMasks, height: int, width: int, random: np.random.RandomState) -> tuple[HoleArray, Square]:
    """The hole of an image of this size and the square to cut. Raises ValueError if no variant is small enough."""
    for _ in range(options.attempts):
        variants = [_variant(options, height, width, random) for _ in range(options.variants)]
        small: list[tuple[HoleArray, Square]] = []
        for hole_hw in variants:
            if not hole_hw.any():
                small = []
                break  # the authors' code raises an error here, and starts again
            square = _square(hole_hw, random)
            if hole_hw[square].mean() <= options.most:
                small.append((hole_hw, square))
        if small:
            return small[int(random.choice(len(small), size=1, replace=False)[0])]
    raise ValueError(f"no hole of at most {options.most:.0%} of the image in {options.attempts} attempts")


def _variant(options: LamaMasks, height: int, width: int, random: np.random.RandomState) -> HoleArray:
    weights = np.array([1.0] if options.boxes is None else [1.0, options.boxes.weight], dtype=np.float32)
    kind = random.choice(len(weights), p=weights / weights.sum())
    hole_hw = np.zeros((height, width), np.uint8)
    if kind == 0 or options.boxes is None:
        _draw_strokes(hole_hw, options.strokes, random)
    else:
        _draw_boxes(hole_hw, options.boxes, random)
    return hole_hw > 0


def _draw_strokes(hole_hw: npt.NDArray[np.uint8], strokes: LamaStrokes, random: np.random.RandomState) -> None:
    height, width = hole_hw.shape
    lowest, highest = strokes.count
    for stroke in range(random.randint(lowest, highest + 2)):
        x, y = random.randint(width), random.randint(height)
        for _ in range(1 + random.randint(_PARTS)):
            angle = _ANGLE + random.randint(strokes.angles)
            angle = 2 * _PI - angle if stroke % 2 == 0 else angle
            length = _LENGTH + random.randint(strokes.length)
            brush = _WIDTH + random.randint(strokes.width)
            end_x = min(max(int(x + length * np.sin(angle)), 0), width)
            end_y = min(max(int(y + length * np.cos(angle)), 0), height)
            cv2.line(hole_hw, (x, y), (end_x, end_y), 1, brush)
            x, y = end_x, end_y


def _draw_boxes(hole_hw: npt.NDArray[np.uint8], boxes: LamaBoxes, random: np.random.RandomState) -> None:
    height, width = hole_hw.shape
    lowest, highest = boxes.side
    highest = min(highest + 1, height - 2 * boxes.margin, width - 2 * boxes.margin)
    for _ in range(random.randint(boxes.count[0], boxes.count[1] + 1)):
        across, down = random.randint(lowest, highest), random.randint(lowest, highest)
        left = random.randint(boxes.margin, width - boxes.margin - across + 1)
        top = random.randint(boxes.margin, height - boxes.margin - down + 1)
        hole_hw[top : top + down, left : left + across] = 1


def _square(hole_hw: HoleArray, random: np.random.RandomState) -> Square:
    """A square of the shorter side, shifted along the longer one so that it ends within or after the hole."""
    height, width = hole_hw.shape
    side, longer, axis = (height, width, 0) if height < width else (width, height, 1)
    along = np.flatnonzero(hole_hw.any(axis))
    end = int(along[-1])  # first + extent: the whole hole is to be seen
    first = max(0, min(longer - side - 1, end - side))
    last = max(first + 1, min(longer - side, end))
    start = random.randint(first, last)
    moved, whole = slice(start, start + side), slice(0, side)
    return (whole, moved) if axis == 0 else (moved, whole)
