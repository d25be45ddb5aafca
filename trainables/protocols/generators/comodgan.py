"""The masks of MAT and CoModGAN: boxes of up to the whole image, which may reach over its border, and brush strokes.

Source: Li et al. 2022; fenglinglwb/MAT at d273d89, `datasets/mask_generator_*.py`, with a hole share from 0 to 1. Zhao
et al. 2021 have the same generator.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from trainables.protocols.generators import HoleArray, Square
from trainables.protocols.generators.brush import stroke
from trainables.protocols.mask_options import ComodganMasks

_VERTICES, _WIDTH = [4, 17], (12, 48)


def draw(options: ComodganMasks, height: int, width: int, random: np.random.RandomState) -> tuple[HoleArray, Square]:
    """The hole of a square image. A hole that covers nothing or everything is drawn again."""
    assert height == width, "MAT draws for square images"
    while True:
        hole_hw = np.zeros((height, width), bool)
        for fewer_than, largest in ((options.small_boxes, width // 2), (options.large_boxes, width)):
            for _ in range(random.randint(fewer_than)):
                _draw_box(hole_hw, largest, random)
        hole_hw |= _strokes(options.strokes, width, random)
        if 0 < hole_hw.mean() < 1:
            return hole_hw, (slice(0, height), slice(0, width))


def _draw_box(hole_hw: HoleArray, largest: int, random: np.random.RandomState) -> None:
    """A box of which at least half is inside the image along each side."""
    side = len(hole_hw)
    across, down = random.randint(largest), random.randint(largest)
    left = random.randint(-(across // 2), side - across + across // 2)
    top = random.randint(-(down // 2), side - down + down // 2)
    hole_hw[max(top, 0) : min(top + down, side), max(left, 0) : min(left + across, side)] = True


def _strokes(fewer_than: int, side: int, random: np.random.RandomState) -> HoleArray:
    picture = Image.new("L", (side, side), 0)
    for _ in range(random.randint(fewer_than)):
        stroke(picture, _VERTICES, _WIDTH, random)
        random.random_sample(2)  # flips without effect
    hole_hw = np.asarray(picture) > 0
    for axis in (0, 1):
        hole_hw = np.flip(hole_hw, axis) if random.random_sample() > 0.5 else hole_hw
    return hole_hw
