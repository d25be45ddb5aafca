"""OpenCV's fast-marching fill."""

from __future__ import annotations

import cv2
from torch import nn

from trainables.inpaint.blocks.opencv_fill import OpenCVFill
from trainables.inpaint.methods.telea.config import Config


def build(config: Config, size: int) -> nn.Module:  # noqa: ARG001 - signature shared by all models
    """Build the fill; any size."""
    return OpenCVFill(config.radius, cv2.INPAINT_TELEA)
