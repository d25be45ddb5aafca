"""Options of LaMa."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from trainables.config.model_sections import ModelConfig, check_power_of_two

SMALL_FORMS: Mapping[int, tuple[int, int]] = {8: (1, 2), 16: (2, 2), 32: (2, 4), 64: (3, 6)}
"""Numbers of stride-2 layers and of blocks by the side of the image, px; other sizes use the published numbers."""


class Config(ModelConfig):
    """Options of the network; the discriminator scales with `width`."""

    adversarial: ClassVar[tuple[str, ...]] = ("adversarial",)
    discriminator_terms: ClassVar[tuple[str, ...]] = ("r1", "feature_matching")

    width: int = Field(
        64, ge=2, description="channels of the first layer; all other layers and the discriminator scale with it"
    )
    block: Literal["fourier", "aot", "plain"] = Field(
        "fourier", description="type of the blocks: fast Fourier convolutions, AOT-GAN's blocks, or plain convolutions"
    )

    def form_at(self, size: int) -> tuple[int, int]:
        """Numbers of stride-2 layers and of blocks for images of `size` px."""
        return SMALL_FORMS.get(size, (3, 9))

    def check_size(self, size: int) -> None:
        """Check that the side of the images is a power of two, at least 8."""
        check_power_of_two(size, "lama_fourier halves the side up to three times and doubles it again")
