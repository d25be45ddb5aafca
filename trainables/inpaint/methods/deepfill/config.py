"""Options of DeepFill v2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from trainables.config.model_sections import ModelConfig, check_power_of_two

SMALL_DILATIONS: Mapping[int, tuple[int, ...]] = {8: (1,), 16: (2,), 32: (2, 4), 64: (2, 4, 8)}
"""Dilations by the side of the image, px; from 128 px on the published dilations are used."""


class Config(ModelConfig):
    """Options of the two networks; the discriminator scales with `width`."""

    adversarial: ClassVar[tuple[str, ...]] = ("adversarial",)
    terms: ClassVar[tuple[str, ...]] = ("l1_coarse",)

    width: int = Field(
        24, ge=2, description="channels of the first layer; all other layers and the discriminator scale with it"
    )
    convolution: Literal["gated", "plain", "partial"] = Field(
        "gated", description="type of every layer; partial affects only the first network, as the second has no holes"
    )
    stages: Literal[1, 2] = Field(2, description="1: only the coarse network; l1 and l1_coarse are then the same error")
    attention: bool = Field(
        True, description="false: the attention branch without contextual attention, which has no parameters"
    )

    def check_size(self, size: int) -> None:
        """Check that the side of the images is a power of two, at least 8."""
        check_power_of_two(size, "deepfill divides the side by 4, and its discriminator halves the image down to 4x4")

    def dilations_at(self, size: int) -> tuple[int, ...]:
        """The dilation of each dilated layer for images of `size` px."""
        return SMALL_DILATIONS.get(size, (2, 4, 8, 16))

    def rate_at(self, size: int) -> int:
        """Factor by which the attention downsamples its map to compare positions; 1 for maps of 8x8 and less."""
        return 1 if size <= 32 else 2
