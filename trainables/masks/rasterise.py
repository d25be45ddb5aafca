"""The parameters of n drawn masks, and the rendering of a batch of them on a device.

mask == 1 means hole. Legend: b images of a batch, n of an epoch, k lines or squares of an image, g noise cells along
a side, f files, h and w pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class MaskDraw(ABC):
    """The parameters of n masks; the first axis of `parameters` is the image index."""

    size: int
    parameters: Tensor

    def __len__(self) -> int:
        return len(self.parameters)

    def masks(self, index_b: Tensor, device: torch.device | str) -> Tensor:
        """float32 mask_b1hw of these images, on the device; does not synchronise if `to(device)` was called before."""
        parameters = self.parameters[index_b.to(self.parameters.device)].to(device)
        return self._render(parameters).unsqueeze(1).float()

    def to(self, device: torch.device | str) -> MaskDraw:
        """The same masks with their parameters on a device, so that `masks` needs no copies."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {name: v.to(device) for name, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **moved)

    @abstractmethod
    def _render(self, parameters: Tensor) -> Tensor:
        """hole_bhw, boolean or 0 and 1."""


@dataclass(frozen=True)
class Lines(MaskDraw):
    """parameters_nk5: centre x and y in px, slope, and half the line's extent along x of its length and thickness."""

    def _render(self, parameters: Tensor) -> Tensor:
        """A line crosses a pixel row in one interval, so the work is b k h for the lines and b h w for the images."""
        x, y, slope, half_length, half_thickness = parameters.unsqueeze(2).unbind(3)  # each bk1
        dy_bkh = torch.arange(self.size, dtype=torch.float32, device=parameters.device) - y
        # A line is the intersection of two strips, one bounded by its ends, one by its sides: two intervals per row.
        ends, sides = dy_bkh * -slope, dy_bkh / slope
        first = torch.maximum(ends - half_length, sides - half_thickness).add_(x)
        last = torch.minimum(ends + half_length, sides + half_thickness).add_(x)
        return covered(first, last)


def covered(first_bkh: Tensor, last_bkh: Tensor) -> Tensor:
    """hole_bhw: pixels whose centres are in one of k intervals of their row. Overwrites its arguments; h = w.

    An interval that starts after its end is empty.
    """
    b, k, size = first_bkh.shape
    first = first_bkh.ceil_().clamp_(0, size)
    after = last_bkh.floor_().add_(1).clamp_(0, size)
    torch.maximum(first, after, out=after)
    # +1 where an interval starts, -1 after its end: the running sum counts the shapes over a pixel.
    steps_bhw = torch.zeros(b, size, size + 1, dtype=torch.int16, device=first.device)
    one = steps_bhw.new_ones(()).expand(b, size, k)
    steps_bhw.scatter_add_(2, first.long().transpose(1, 2), one)
    steps_bhw.scatter_add_(2, after.long().transpose(1, 2), -one)
    return steps_bhw.cumsum(2, dtype=torch.int16)[:, :, :size] > 0


@dataclass(frozen=True)
class FreeForm(MaskDraw):
    """parameters_n: top, left, height, width of a rectangle in whole px, then k segments of strokes, 7 numbers each.

    The 7 numbers: x and y of both ends, cosine and sine of the direction (never 0), and half the stroke's width in px,
    which is negative for a missing segment. Both ends are round.
    """

    def _render(self, parameters: Tensor) -> Tensor:
        """As for lines, a row crosses a segment in one interval, and the disc around each of its ends in one."""
        rectangle_bhw = covers(parameters[:, :4], self.size)
        segments_bk7 = parameters[:, 4:].view(len(parameters), (parameters.shape[1] - 4) // 7, 7)
        x0, y0, x1, y1, cosine, sine, half = segments_bk7.unsqueeze(2).unbind(3)  # each bk1
        row_h = torch.arange(self.size, dtype=torch.float32, device=parameters.device)
        firsts, lasts = [], []
        for x, y in ((x0, y0), (x1, y1)):
            inside = half.square() - (row_h - y).square()
            reach = inside.clamp(min=0).sqrt().masked_fill_((inside < 0) | (half < 0), -torch.inf)
            firsts.append(x - reach)
            lasts.append(x + reach)
        dy = row_h - y0
        length = (x1 - x0) * cosine + (y1 - y0) * sine
        # Where the row crosses the two ends and the two sides of the segment's rectangle, relative to x0.
        ends = torch.stack([-dy * sine, length - dy * sine]) / cosine
        sides = torch.stack([dy * cosine - half, dy * cosine + half]) / sine
        firsts.append(torch.maximum(ends.amin(0), sides.amin(0)) + x0)
        lasts.append((torch.minimum(ends.amax(0), sides.amax(0)) + x0).masked_fill_(half < 0, -torch.inf))
        return rectangle_bhw | covered(torch.cat(firsts, 1), torch.cat(lasts, 1))


@dataclass(frozen=True)
class Rectangles(MaskDraw):
    """parameters_n4: top, left, height, width in whole px."""

    def _render(self, parameters: Tensor) -> Tensor:
        return covers(parameters, self.size)


def covers(parameters_b4: Tensor, size: int) -> Tensor:
    """hole_bhw of one rectangle per image: top, left, height, width in whole px."""
    top, left, height, width = parameters_b4.unsqueeze(2).unbind(1)  # each b1
    position = torch.arange(size, device=parameters_b4.device)
    rows_bh = (position >= top) & (position < top + height)
    columns_bw = (position >= left) & (position < left + width)
    return rows_bh.unsqueeze(2) & columns_bw.unsqueeze(1)


@dataclass(frozen=True)
class Blocks(MaskDraw):
    """parameters_nk4: top, left, height, width in whole px."""

    def _render(self, parameters: Tensor) -> Tensor:
        top, left, height, width = parameters.unsqueeze(3).unbind(2)  # each bk1
        position = torch.arange(self.size, device=parameters.device)
        rows_bkh = ((position >= top) & (position < top + height)).float()
        columns_bkw = ((position >= left) & (position < left + width)).float()
        return rows_bkh.transpose(1, 2) @ columns_bkw > 0  # how many squares cover a pixel


@dataclass(frozen=True)
class Regions(MaskDraw):
    """parameters_n: number of hole pixels, shift down and right in cells, then noise for (cells + 4)**2 cells."""

    cells: int

    def _render(self, parameters: Tensor) -> Tensor:
        grid = self.cells + 4
        noise_bgg = parameters[:, 3:].double().view(-1, grid, grid)  # double: rounding must not decide the pixel order
        rows_bhg, columns_bwg = (self._weights(parameters[:, axis].double()) for axis in (1, 2))
        smooth_bp = (rows_bhg @ noise_bgg @ columns_bwg.transpose(1, 2)).flatten(1)
        last_b1 = parameters[:, :1].long() - 1
        return (smooth_bp <= smooth_bp.sort(dim=1).values.gather(1, last_b1)).view(-1, self.size, self.size)

    def _weights(self, shift_b: Tensor) -> Tensor:
        """(b, size, cells + 4): the weight of each noise cell in each pixel, by Keys' cubic kernel with a = -0.5."""
        pixel = (torch.arange(self.size, device=shift_b.device) + 0.5) * (self.cells / self.size)
        cell = torch.arange(self.cells + 4, device=shift_b.device)
        distance = (1 + pixel[:, None] + shift_b[:, None, None] - cell).abs()
        near = (1.5 * distance - 2.5) * distance.square() + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        return torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))


@dataclass(frozen=True)
class MaskFiles(MaskDraw):
    """parameters_n4: file index, and whether it is flipped vertically, flipped horizontally, and transposed."""

    holes_fhw: Tensor
    """The mask files, 0 or 1."""

    def _render(self, parameters: Tensor) -> Tensor:
        file_b = parameters[:, 0]
        flip, mirror, transpose = parameters[:, 1:, None, None].bool().unbind(1)
        hole_bhw = self.holes_fhw.to(parameters.device)[file_b]
        hole_bhw = torch.where(flip, hole_bhw.flip(1), hole_bhw)
        hole_bhw = torch.where(mirror, hole_bhw.flip(2), hole_bhw)
        return torch.where(transpose, hole_bhw.transpose(1, 2), hole_bhw)
