"""Options of the plain autoencoder."""

from __future__ import annotations

from pydantic import Field

from trainables.config.model_sections import ModelConfig, check_power_of_two


class Config(ModelConfig):
    """Options of the autoencoder."""

    width: int = Field(32, ge=1, description="channels of the first level; doubled at each level, up to 16 times")
    see_mask: bool = Field(False, description="add the mask as a fourth input channel")

    def check_size(self, size: int) -> None:
        """Check that the side of the images is a power of two, at least 4."""
        check_power_of_two(size, "vanilla_autoencoder halves the image down to one pixel", least=4)
