"""Options of the diffusion inpainter."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from trainables.config.model_sections import ModelConfig, check_power_of_two


class Config(ModelConfig):
    """Options of the network, of the sampler and of the training step."""

    terms: ClassVar[tuple[str, ...]] = ("velocity",)
    samples: ClassVar[bool] = True

    width: int = Field(32, ge=2, description="channels of the first level; doubled at each level, up to four times")
    steps: int = Field(10, ge=1, le=1000, description="steps of the sampler; each calls the network once")
    ema: float = Field(
        0.999, ge=0, lt=1, description="decay per step of the average of the weights, which fills holes; 0: no average"
    )
    clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient of all weights; null: no limit")

    def check_size(self, size: int) -> None:
        """Check that the side of the images is a power of two, at least 8."""
        check_power_of_two(size, "diffusion halves the image down to 8x8, an image of 8 px to 4x4")
