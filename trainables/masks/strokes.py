"""Strokes of a brush: chains of thick segments that turn back and forth.

Source: the masks of Yu et al. 2019, "Free-Form Image Inpainting with Gated Convolution", by its code; MODELS.md section
1.5. Lengths there are for 256 px; here they are shares of the side. The code truncates vertices and widths to whole
px and means to flip half of the masks, but drops the result: here nothing is truncated or flipped.

Legend: n images, k strokes of an image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SEGMENTS = (4, 11)
"""How many segments a stroke has."""
NUMBERS = 6 + 2 * SEGMENTS[1]
"""How many uniform numbers a stroke is made of: six, then two a segment."""
ANGLE, SPREAD = 2 * math.pi / 5, 2 * math.pi / 15
WIDTH = (12 / 256, 40 / 256)


def segments(uniform_nku: Tensor, drawn_nk: Tensor, size: int) -> Tensor:
    """(n, k * 11, 7): the segments of all strokes, as `rasterise.FreeForm` takes them.

    uniform_nku: in [0, 1). drawn_nk: whether there is a stroke.

    The number of segments, the start and the width are uniform. A stroke has angles between a lowest and a highest one,
    up to `SPREAD` below and above `ANGLE`, and every other segment is mirrored. Lengths are normal, with the mean R and
    half of it as deviation, at least 0 and at most 2 R, for R an eighth of the diagonal. A segment that would leave the
    image ends at its border.
    """
    count, low, high, width, x, y = uniform_nku[..., :6].unbind(2)
    angles, lengths = uniform_nku[..., 6:].view(*drawn_nk.shape, SEGMENTS[1], 2).unbind(3)
    count = (count * (SEGMENTS[1] - SEGMENTS[0] + 1)).floor() + SEGMENTS[0]
    lowest, highest = ANGLE - SPREAD * low, ANGLE + SPREAD * high
    angles = lowest.unsqueeze(2) + (highest - lowest).unsqueeze(2) * angles
    angles[..., ::2] *= -1
    mean = math.hypot(size, size) / 8
    lengths = (mean + mean / 2 * torch.special.ndtri(lengths)).clamp(0, 2 * mean)
    half = (WIDTH[0] + (WIDTH[1] - WIDTH[0]) * width) * size / 2
    place = torch.stack([x, y], 2) * size
    found = []
    for i in range(SEGMENTS[1]):
        heading = torch.stack([angles[..., i].cos(), angles[..., i].sin()], 2)
        end = (place + lengths[..., i, None] * heading).clamp(0, size)
        thick = half.masked_fill(~drawn_nk | (i >= count), -1.0)
        found.append(torch.cat([place - 0.5, end - 0.5, _direction(end - place), thick.unsqueeze(2)], 2))
        place = end
    return torch.stack(found, 2).flatten(1, 2)


def _direction(step_nk2: Tensor) -> Tensor:
    """Cosine and sine; of an upright or level step, and of none, 1e-4 instead of 0: below a pixel."""
    unit = step_nk2 / step_nk2.norm(dim=2, keepdim=True).clamp(min=1e-9)
    return torch.where(unit.abs() < 1e-4, 1e-4, unit)
