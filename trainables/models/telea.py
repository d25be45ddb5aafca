"""OpenCV's fast-marching fill (A. Telea 2004, "An image inpainting technique based on the fast marching method").

The classical baseline that needs no training. It works on 8-bit images, one after the other on the CPU, whatever the
device. An image that is all hole becomes grey (0.5).
"""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from trainables.sections import ModelConfig


class Config(ModelConfig):
    """Options of the fill."""

    trains: ClassVar[bool] = False
    radius: int = Field(3, ge=1, le=100, description="neighbourhood of a pixel that is filled, px")


class Telea(nn.Module):
    """No parameters."""

    def __init__(self, radius: int) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw in [0, 1]; known pixels as given, not rounded to 8 bits."""
        pixels_bhw3 = (damaged_b3hw * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
        holes_bhw = (mask_b1hw[:, 0] > 0.5).byte().cpu().numpy()
        filled = np.full_like(pixels_bhw3, 127)
        for index, (pixels, hole) in enumerate(zip(pixels_bhw3, holes_bhw, strict=True)):
            if not hole.all():  # OpenCV leaves such an image as it is
                filled[index] = cv2.inpaint(pixels, hole, self.radius, cv2.INPAINT_TELEA)
        filled_b3hw = torch.from_numpy(filled).permute(0, 3, 1, 2).to(damaged_b3hw) / 255
        grey = mask_b1hw.amin((2, 3), keepdim=True) > 0.5
        return damaged_b3hw.where(mask_b1hw < 0.5, filled_b3hw.where(~grey, 0.5))


def build(config: Config, size: int) -> nn.Module:  # noqa: ARG001 - every model is built alike
    """The baseline; any size."""
    return Telea(config.radius)
