"""Square windows of a photograph as a network sees them: where they lie, at which scale, and how results are blended.

A region that leaves the photograph is continued by mirroring, so that every window is full.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Region:
    """A rectangle of a photograph, seen at a smaller scale."""

    left: int
    top: int
    width: int
    height: int
    """In px of the photograph; it may leave the photograph."""
    seen_width: int
    seen_height: int
    """In px of the network's input."""

    @property
    def scale(self) -> float:
        """Side of a pixel of the network's input, px of the photograph."""
        return max(self.width / self.seen_width, self.height / self.seen_height)

    def of(self, image_hwx: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """These pixels of an image or mask, at the scale of the photograph."""
        rows = _mirrored(self.top, self.height, image_hwx.shape[0])
        columns = _mirrored(self.left, self.width, image_hwx.shape[1])
        return image_hwx[np.ix_(rows, columns)]

    def seen(self, image_hw3: Pixels) -> Pixels:
        """These pixels of an 8-bit image, at the scale of the network: means over the pixels that a new one covers."""
        return _resized(self.of(image_hw3), (self.seen_width, self.seen_height), Image.Resampling.BOX)

    def seen_mask(self, mask_hw: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """A mask at the scale of the network; a new pixel is set if any pixel that it covers is."""
        grey = self.of(mask_hw).astype(np.uint8) * 255
        return _resized(grey, (self.seen_width, self.seen_height), Image.Resampling.BOX) > 0

    def enlarged(self, seen_hw3: Pixels) -> Pixels:
        """An image of the size that the network sees, at the scale of the photograph."""
        return _resized(seen_hw3, (self.width, self.height), Image.Resampling.BICUBIC)

    def inside(self, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """(place in the photograph, place in the region) of the pixels that both have. shape: of the photograph."""
        (top, rows), (left, columns) = (
            (slice(max(0, start), min(whole, start + side)), slice(max(0, -start), min(side, whole - start)))
            for start, side, whole in ((self.top, self.height, shape[0]), (self.left, self.width, shape[1]))
        )
        return (top, left), (rows, columns)


def starts(length: int, side: int, step: int) -> list[int]:
    """Starts of the fewest windows of `side` that cover `length` evenly, at most `step` apart; [0] if one covers it."""
    if length <= side:
        return [0]
    count = -(-(length - side) // step) + 1
    return [round(place) for place in np.linspace(0, length - side, count)]


def ramp(side: int) -> npt.NDArray[np.float32]:
    """Weights (side, side) of a window's pixels where windows overlap: highest in the middle, never 0."""
    line_s = np.minimum(np.arange(side), np.arange(side)[::-1]).astype(np.float32) + 1
    return np.outer(line_s, line_s)


def as_tensor(image_bhw3: Pixels, device: torch.device) -> Tensor:
    """8-bit images as image_b3hw in [0, 1]."""
    return torch.from_numpy(np.array(image_bhw3)).permute(0, 3, 1, 2).float().div_(255).to(device)


def _mirrored(start: int, count: int, length: int) -> npt.NDArray[np.int64]:
    place_n = np.arange(start, start + count) % (2 * length)
    return np.minimum(place_n, 2 * length - 1 - place_n)


def _resized(values: Pixels, size: tuple[int, int], how: Image.Resampling) -> Pixels:
    if values.shape[1::-1] == size:
        return values
    return np.asarray(Image.fromarray(np.ascontiguousarray(values)).resize(size, how))
