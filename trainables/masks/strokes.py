"""Brush strokes: chains of thick segments that turn back and forth.

Source: the code of Yu et al. 2019, "Free-Form Image Inpainting with Gated Convolution"; see MODELS.md section 1.5.
Lengths there are for 256 px; here they are shares of the side. The code truncates vertices and widths to whole px, and
computes flips of half of the masks but discards them; here nothing is truncated or flipped.

Legend: n images, k strokes of an image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SEGMENTS = (4, 11)
"""Lowest and highest number of segments of a stroke."""
NUMBERS = 6 + 2 * SEGMENTS[1]
"""Number of uniform random numbers of a stroke: six, then two for each segment."""
ANGLE, SPREAD = 2 * math.pi / 5, 2 * math.pi / 15
"""Mean angle of a segment and largest deviation from it, radians."""
WIDTH = (12 / 256, 40 / 256)
"""Lowest and highest width of a stroke, as shares of the image side."""


def segments(uniform_nku: Tensor, drawn_nk: Tensor, size: int) -> Tensor:
    """(n, k * 11, 7): the segments of all strokes, as `rasterise.FreeForm` takes them.

    uniform_nku: in [0, 1).
    drawn_nk: whether the stroke exists.

    The number of segments, the start and the width are uniform. The angles of a stroke are uniform between a lowest and
    a highest one, which are up to `SPREAD` below and above `ANGLE`; every other segment has the negative angle. Lengths
    are normal with mean R and standard deviation R / 2, clipped to [0, 2 R], where R is an eighth of the diagonal. A
    segment that would leave the image ends at its border.
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
    drawn = []
    for i in range(SEGMENTS[1]):
        heading = torch.stack([angles[..., i].cos(), angles[..., i].sin()], 2)
        end = (place + lengths[..., i, None] * heading).clamp(0, size)
        half_width = half.masked_fill(~drawn_nk | (i >= count), -1.0)
        drawn.append(torch.cat([place - 0.5, end - 0.5, _direction(end - place), half_width.unsqueeze(2)], 2))
        place = end
    return torch.stack(drawn, 2).flatten(1, 2)


def _direction(step_nk2: Tensor) -> Tensor:
    """Cosine and sine of a step; 1e-4 (less than a pixel) replaces smaller values, to avoid division by 0."""
    unit = step_nk2 / step_nk2.norm(dim=2, keepdim=True).clamp(min=1e-9)
    return torch.where(unit.abs() < 1e-4, 1e-4, unit)
