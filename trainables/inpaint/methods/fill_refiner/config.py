"""Options of the network that corrects a fill."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trainables.config.model_sections import ModelConfig


class Config(ModelConfig):
    """Options of the refiner."""

    start: Literal["onion_peel", "mean_fill"] = Field("onion_peel", description="the fill that is corrected")
    width: int = Field(24, ge=1, description="channels of each layer")
    depth: int = Field(6, ge=2, description="number of 3x3 convolutions; each lets a pixel see one pixel further")
