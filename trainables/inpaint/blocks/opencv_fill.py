"""Common code of the fills by OpenCV, which work on single 8-bit images on the CPU, whatever the device."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn


class OpenCVFill(nn.Module):
    """A fill without parameters. An image that is all hole becomes grey (0.5)."""

    def __init__(self, radius: int, method: int) -> None:
        """radius: px. method: one of `cv2.INPAINT_*`."""
        super().__init__()
        self.radius, self.method = radius, method

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw in [0, 1]; known pixels are unchanged, not rounded to 8 bits."""
        pixels_bhw3 = (damaged_b3hw * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
        holes_bhw = (mask_b1hw[:, 0] > 0.5).byte().cpu().numpy()
        filled = np.full_like(pixels_bhw3, 127)
        for index, (pixels, hole) in enumerate(zip(pixels_bhw3, holes_bhw, strict=True)):
            if not hole.all():  # OpenCV does not fill such an image
                filled[index] = cv2.inpaint(pixels, hole, self.radius, self.method)
        filled_b3hw = torch.from_numpy(filled).permute(0, 3, 1, 2).to(damaged_b3hw) / 255
        grey = mask_b1hw.amin((2, 3), keepdim=True) > 0.5
        return damaged_b3hw.where(mask_b1hw < 0.5, filled_b3hw.where(~grey, 0.5))
