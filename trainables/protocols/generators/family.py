"""A hole of a mask family of sweep files."""

from __future__ import annotations

import numpy as np
import torch

from trainables.masks.families import Canvas
from trainables.masks.families import draw as draw_family
from trainables.protocols.generators import HoleArray, Square
from trainables.protocols.mask_options import FamilyMasks


def draw(options: FamilyMasks, height: int, width: int, random: np.random.RandomState) -> tuple[HoleArray, Square]:
    """The hole of a square image."""
    assert height == width, "mask families are drawn for square images"
    generator = torch.Generator().manual_seed(int(random.randint(2**31)))
    drawn = draw_family(options.mask, 1, Canvas(width, None), generator)
    hole_hw: HoleArray = drawn.masks(torch.zeros(1, dtype=torch.long), "cpu")[0, 0].numpy() > 0.5
    return hole_hw, (slice(0, height), slice(0, width))
