"""Fills holes from their rim inwards, one ring a pass: each pixel of the ring is a mean of its known neighbours.

Source: MODELS.md section 11. Neighbours weigh 1-2-1: 2 where they share an edge, 1 where they share a corner. Stands in
for Telea's fill on any device, a batch at a time. An image that is all hole becomes grey (0.5).
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.model_sections import ModelConfig


class Config(ModelConfig):
    """No options."""

    trains: ClassVar[bool] = False


class OnionPeel(nn.Module):
    """No parameters. Asks the device once a pass whether a hole is left."""

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw in [0, 1]; known pixels as given."""
        hole = mask_b1hw > 0.5
        empty_b111 = hole.all(dim=3, keepdim=True).all(dim=2, keepdim=True)
        known = (~hole | empty_b111).to(damaged_b3hw.dtype)
        image = damaged_b3hw.where(~empty_b111, 0.5) * known
        while not known.all():  # ends: every hole that is left touches a known pixel somewhere
            # Three weighted colours and the weight itself; the centre of a hole pixel is 0, so its weight 4 adds none.
            around = _neighbours(torch.cat([image, known], 1))
            colour, weight = around[:, :3], around[:, 3:]
            ring = (known == 0) & (weight > 0)
            image = (colour / weight.clamp(min=1)).where(ring, image)
            known = known.masked_fill(ring, 1)
        return image


def _neighbours(x_bchw: Tensor) -> Tensor:
    """1-2-1 sums over rows and columns, zeros outside."""
    x = F.pad(x_bchw, (1, 1, 1, 1))
    x = x[:, :, :-2] + 2 * x[:, :, 1:-1] + x[:, :, 2:]
    return x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]


def build(config: Config, size: int) -> nn.Module:  # noqa: ARG001 - every model is built alike
    """The baseline; any size."""
    return OnionPeel()
