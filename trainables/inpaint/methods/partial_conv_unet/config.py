"""Options of the U-Net of partial convolutions."""

from __future__ import annotations

from pydantic import Field

from trainables.config.model_sections import ModelConfig


class Config(ModelConfig):
    """Options of the U-Net."""

    width: int = Field(32, ge=1, description="channels of the first level; doubled at each level, up to 16 times")
