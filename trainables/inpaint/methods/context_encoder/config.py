"""Options of the context encoder."""

from __future__ import annotations

from pydantic import Field

from trainables.config.model_sections import RegionConfig, check_power_of_two


class Config(RegionConfig):
    """Options of the context encoder."""

    width: int = Field(64, ge=1, description="channels of the first level, also of the discriminator")
    bottleneck: int | None = Field(
        None, ge=1, description="size of the bottleneck; null: 4000 from 128 px on, proportionally less below"
    )
    channelwise: bool = Field(False, description="add a channel-wise fully-connected layer on the encoder's 4x4 map")
    extra_layer: bool = Field(False, description="add a 3x3 convolution in encoder and decoder, on their 4x4 maps")

    def check_size(self, size: int) -> None:
        """Check that the side of the images is a power of two, at least 8."""
        check_power_of_two(size, "context_encoder halves the image down to 4 px")
