"""OpenCV's fill by fluid dynamics (M. Bertalmio et al. 2001, "Navier-Stokes, fluid dynamics, and image inpainting").

A classical baseline that needs no training, beside Telea's: it carries lines of equal brightness on into the hole.
"""

from __future__ import annotations

from typing import ClassVar

import cv2
from pydantic import Field
from torch import nn

from trainables.config.model_sections import ModelConfig
from trainables.inpaint.blocks.opencv_fill import OpenCVFill


class Config(ModelConfig):
    """Options of the fill."""

    trains: ClassVar[bool] = False
    radius: int = Field(3, ge=1, le=100, description="neighbourhood of a pixel that is filled, px")


def build(config: Config, size: int) -> nn.Module:  # noqa: ARG001 - every model is built alike
    """The baseline; any size."""
    return OpenCVFill(config.radius, cv2.INPAINT_NS)
