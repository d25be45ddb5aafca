"""Augmentation of training images, drawn for a whole epoch from (seed, epoch, image index) and applied on the device.

An image is flipped, then rotated and zoomed in one bilinear step with reflection at the border, then blurred. Holes are
cut afterwards, and the augmented image is the network's target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_SIGMA = 0.05
"""A smaller standard deviation (px) leaves an image unchanged to the last bit."""


@dataclass(frozen=True)
class Augmentation:
    """The drawn changes of n images; an operation that is off is None."""

    mirrored_n: Tensor | None
    """bool: flipped left to right."""
    angle_n: Tensor | None
    """Rotation in degrees, counter-clockwise."""
    zoom_n: Tensor | None
    """Scale factor."""
    sigma_n: Tensor | None
    """Standard deviation of the blur, px."""

    def apply(self, image_b3hw: Tensor, index_b: Tensor) -> Tensor:
        """The changed images, in [0, 1], in their original memory layout. index_b: their indices among the n."""
        if not len(index_b):  # a worker's part is empty if a batch has fewer images than workers
            return image_b3hw
        changed = image_b3hw
        mirrored, angle, zoom, sigma = (self._of(column, index_b, image_b3hw.device) for column in self._columns())
        if mirrored is not None:
            changed = torch.where(mirrored.view(-1, 1, 1, 1), changed.flip(3), changed)
        if angle is not None or zoom is not None:
            changed = _turned(changed, angle, zoom)
        if sigma is not None:
            changed = _blurred(changed, sigma)
        return changed.contiguous(memory_format=torch.channels_last) if _is_channels_last(image_b3hw) else changed

    def move(self, mask_b1hw: Tensor, index_b: Tensor) -> Tensor:
        """Masks of the images with the same flips, rotations and zooms; not blurred, and rounded to 0 or 1."""
        return (replace(self, sigma_n=None).apply(mask_b1hw, index_b) >= 0.5).to(mask_b1hw)

    def to(self, device: torch.device | str) -> Augmentation:
        """The same changes with their numbers on a device, so that `apply` needs no copies."""
        return Augmentation(*(None if column is None else column.to(device) for column in self._columns()))

    def _columns(self) -> tuple[Tensor | None, ...]:
        return self.mirrored_n, self.angle_n, self.zoom_n, self.sigma_n

    @staticmethod
    def _of(column_n: Tensor | None, index_b: Tensor, device: torch.device) -> Tensor | None:
        return None if column_n is None else column_n[index_b.to(column_n.device)].to(device)


def draw(section: Mapping[str, Any], n: int, generator: torch.Generator) -> Augmentation:
    """The changes of n images by a resolved `data.augment` section.

    generator: always on the CPU. The draw of one option does not depend on the others.
    """
    flip, angle, zoom, sigma = torch.rand(n, 4, generator=generator).unbind(1)
    rotation = section["rotation_deg"]
    return Augmentation(
        mirrored_n=None if section["flip"] is None else flip < section["flip"],
        angle_n=None if rotation is None else (2 * angle - 1) * rotation,
        zoom_n=_between(zoom, section["zoom"]),
        sigma_n=_between(sigma, section["blur_sigma"]),
    )


def _between(uniform_n: Tensor, limits: list[float] | None) -> Tensor | None:
    return None if limits is None else limits[0] + (limits[1] - limits[0]) * uniform_n


def _turned(image_b3hw: Tensor, angle_b: Tensor | None, zoom_b: Tensor | None) -> Tensor:
    """Images rotated and zoomed about the centre: each pixel is read at its inverse-transformed position."""
    b = len(image_b3hw)
    angle = image_b3hw.new_zeros(b) if angle_b is None else angle_b * (math.pi / 180)
    zoom = image_b3hw.new_ones(b) if zoom_b is None else zoom_b
    cosine, sine, zero = angle.cos() / zoom, angle.sin() / zoom, torch.zeros_like(zoom)
    rows = [torch.stack([cosine, -sine, zero], dim=1), torch.stack([sine, cosine, zero], dim=1)]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(image_b3hw.shape), align_corners=False)
    turned = F.grid_sample(image_b3hw, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return turned.clamp(0, 1)  # weights add up to 1 only up to rounding


def _blurred(image_b3hw: Tensor, sigma_b: Tensor) -> Tensor:
    """Images blurred by one separable Gaussian each; its weights are renormalised at the border."""
    position = torch.arange(image_b3hw.shape[2], device=image_b3hw.device, dtype=image_b3hw.dtype)
    squared_hh = (position[:, None] - position).square()
    weights_bhh = (-squared_hh / (2 * sigma_b.clamp(min=LEAST_SIGMA).square().view(-1, 1, 1))).exp()
    weights_b1hh = (weights_bhh / weights_bhh.sum(2, keepdim=True)).unsqueeze(1)
    return (weights_b1hh @ image_b3hw @ weights_b1hh.transpose(2, 3)).clamp(0, 1)


def _is_channels_last(image_b3hw: Tensor) -> bool:
    return image_b3hw.is_contiguous(memory_format=torch.channels_last)
