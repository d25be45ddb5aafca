"""Options of the plain autoencoder."""

from __future__ import annotations

from pydantic import Field

from trainables.config.model_sections import ModelConfig


class Config(ModelConfig):
    """Options of the autoencoder."""

    width: int = Field(32, ge=1, description="channels of the first level; doubled at each level, up to 16 times")
    see_mask: bool = Field(False, description="add the mask as a fourth input channel")
