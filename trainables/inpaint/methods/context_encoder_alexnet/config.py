"""Options of the context encoder on AlexNet's convolutions."""

from __future__ import annotations

from pydantic import Field

from trainables.config.model_sections import RegionConfig
from trainables.errors import TrialError


class Config(RegionConfig):
    """Options of the AlexNet form."""

    width: int = Field(
        32, ge=2, multiple_of=2, description="unit of all widths: the first layer has 3 times this number of channels"
    )
    channelwise: bool = Field(True, description="use the channel-wise fully-connected layer on the encoder's last map")

    def check_size(self, size: int) -> None:
        """Check that the side of the images is 227 or a power of two, at least 32."""
        if size != 227 and (size < 32 or size & (size - 1)):
            raise TrialError(
                f"data.size: {size}",
                "context_encoder_alexnet supports AlexNet's input size and powers of two",
                "227, or a power of two: 32, 64, 128, 256, ...",
                "size: 227" if size > 128 else f"size: {max(32, 1 << (size.bit_length() - 1))}",
                "data.size",
            )
