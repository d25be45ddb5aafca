"""Options of GLCIC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from trainables.config.model_sections import ModelConfig, check_power_of_two
from trainables.errors import TrialError

SMALL_DILATIONS: Mapping[int, tuple[int, ...]] = {8: (1,), 16: (1, 2), 32: (1, 2, 4, 2), 64: (2, 4, 8)}
"""Dilations by the side of the image, px; from 128 px on the published dilations are used."""


class Config(ModelConfig):
    """Options of the completion network and of its discriminators."""

    adversarial: ClassVar[tuple[str, ...]] = ("adversarial_global", "adversarial_local", "adversarial_joint")

    width: int = Field(
        64, ge=2, description="channels of the first layer; all other layers and discriminators scale with it"
    )
    dilations: list[Annotated[int, Field(ge=1)]] | None = Field(
        None,
        min_length=1,
        description="dilation of each dilated layer; null: 2, 4, 8, 16, or smaller ones below 128 px",
    )
    dilated: bool = Field(True, description="false: set all dilations to 1")
    residual: bool = Field(False, description="add the input of each dilated block to its output, before its last ReLU")
    block_layers: Literal[1, 2] = Field(
        1, description="layers of a dilated block: 1 as published; 2: a plain convolution follows the dilated one"
    )
    upsampling: Literal["transposed", "resize"] = Field(
        "transposed", description="transposed convolutions, or nearest-neighbour upsampling and a convolution"
    )
    composite: bool = Field(True, description="return the known pixels unchanged; false: return the raw output")
    fill: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        [0.4914, 0.4822, 0.4465],
        min_length=3,
        max_length=3,
        description="fill colour of the holes in the input (red, green, blue); default: the mean of CIFAR-10",
    )
    local: Literal["scalar", "patch"] = Field(
        "scalar", description="adversarial_local: one score for the window, or one for each of 4x4 patches (PatchGAN)"
    )
    window: int | None = Field(None, ge=4, description="side of the local window, px; null: half the side of the image")

    def check_size(self, size: int) -> None:
        """Check the size of the images with `window_at` and `dilations_at`."""
        self.window_at(size)
        self.dilations_at(size)

    def window_at(self, size: int) -> int:
        """Side of the local window, px. Raises TrialError if the window or the image cannot be halved down to 4 px."""
        check_power_of_two(size, "the discriminators of glcic halve the image down to 4x4")
        window = self.window or size // 2
        if window > size or window & (window - 1):
            raise TrialError(
                f"model.window: {window} with data.size: {size}",
                "the local discriminator halves a window of the image down to 4x4",
                f"a power of two from 4 to {size}, or null for {size // 2}",
                f"window: {size // 2}",
                "model.window",
            )
        return window

    def dilations_at(self, size: int) -> list[int]:
        """The dilation of each dilated layer. Raises TrialError if one is not smaller than the side of the map."""
        default = list(SMALL_DILATIONS.get(size, (2, 4, 8, 16)))
        dilations, side = self.dilations or default, size // 4
        for position, dilation in enumerate(dilations, 1):
            if dilation >= side and dilation > 1:
                raise TrialError(
                    f"model.dilations: {dilations} with data.size: {size}",
                    f"dilated layer {position} of {len(dilations)} (dilation {dilation}) works on a map of "
                    f"{side}x{side}: all taps but the middle one lie on padding, so it would be a 1x1 convolution",
                    f"dilations below {side}, or images larger than {4 * dilation} px",
                    f"dilations: {default}",
                    "model.dilations",
                )
        return dilations if self.dilated else [1] * len(dilations)
