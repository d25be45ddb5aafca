"""Options of the context encoder on AlexNet's convolutions."""

from __future__ import annotations

from pydantic import Field

from trainables.config.model_sections import RegionConfig


class Config(RegionConfig):
    """Options of the AlexNet form."""

    width: int = Field(
        32, ge=2, multiple_of=2, description="unit of all widths: the first layer has 3 times this number of channels"
    )
    channelwise: bool = Field(True, description="use the channel-wise fully-connected layer on the encoder's last map")
