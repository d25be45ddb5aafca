"""Options of OpenCV's fill by fluid dynamics."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from trainables.config.model_sections import ModelConfig


class Config(ModelConfig):
    """Options of the fill."""

    trains: ClassVar[bool] = False
    radius: int = Field(3, ge=1, le=100, description="radius of the neighbourhood of a filled pixel, px")
