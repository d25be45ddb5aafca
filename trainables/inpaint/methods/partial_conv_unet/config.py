"""Options of the U-Net of partial convolutions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trainables.config.model_sections import ModelConfig, check_power_of_two


class Config(ModelConfig):
    """Options of the U-Net."""

    width: int = Field(32, ge=1, description="channels of the first level; doubled at each level, up to 16 times")
    convolution: Literal["plain"] | None = Field(
        None,
        description="plain: the layers treat every pixel as valid, and the mask is a fourth input channel; default: "
        "partial convolutions",
    )

    def check_size(self, size: int) -> None:
        """Check that the side of the images is a power of two, at least 4."""
        check_power_of_two(size, "partial_conv_unet halves the image down to one pixel", least=4)
