"""Globally and locally consistent image completion, with residual blocks and a PatchGAN as options.

Sources: Iizuka et al. 2017 (GLCIC), whose network and discriminators the defaults are at 256 px; Demir & Unal 2018 and
002_e338281c6a46a1c1 for residual blocks, resize convolutions and the PatchGAN; MODELS.md sections 3 and 10 for the
smaller forms. 6.07 M parameters at 256 px, 45.1 M in the published discriminator.

Unusual: two halvings only, then dilated layers that see far without a bottleneck; the input is the image with its holes
filled with the data's mean, and the mask; the known pixels are given back as they came (`composite`), so that the
discriminators judge the completed image. Published code disagrees there: mmagic hands them the completed image,
otenim's GLCIC the network's own output. The reconstruction loss is that of the holes: `l2_hole`, `l1_hole`.

The discriminators are in `blocks/glcic_discriminators.py`: `adversarial_global` sees the image, `adversarial_local` a
window around the hole, and `adversarial_joint` is the published form, one logit from both views.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from trainables.config.model_sections import ModelConfig
from trainables.errors import TrialError
from trainables.inpaint.blocks import glcic_discriminators as discriminators


class Config(ModelConfig):
    """Options of the completion network and of its discriminators."""

    adversarial: ClassVar[tuple[str, ...]] = ("adversarial_global", "adversarial_local", "adversarial_joint")
    small_forms: ClassVar[Mapping[int, tuple[int, ...]]] = {8: (1,), 16: (1, 2), 32: (1, 2, 4, 2), 64: (2, 4, 8)}
    """Dilations by the side of the image, px; from 128 px on the published ones."""

    width: int = Field(64, ge=2, description="channels of the first layer; all others, discriminators' too, scale")
    dilations: list[Annotated[int, Field(ge=1)]] | None = Field(
        None, min_length=1, description="dilation of each dilated layer; null for 2, 4, 8, 16, or fewer below 128 px"
    )
    dilated: bool = Field(True, description="false: the same layers with dilation 1")
    residual: bool = Field(False, description="add the input of each dilated block to its output, before its last ReLU")
    block_layers: Literal[1, 2] = Field(
        1, description="layers of a dilated block: 1 as published, 2 with a plain convolution after the dilated one"
    )
    upsampling: Literal["transposed", "resize"] = Field(
        "transposed", description="transposed convolutions, or nearest-neighbour resizing and a convolution"
    )
    composite: bool = Field(True, description="give back the known pixels as they came; false: what the network makes")
    fill: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        [0.4914, 0.4822, 0.4465],
        min_length=3,
        max_length=3,
        description="red, green, blue of the holes in the input: the mean of the data; the default is CIFAR-10's",
    )
    local: Literal["scalar", "patch"] = Field(
        "scalar", description="adversarial_local: one score of the window, or one for each of 4x4 patches (PatchGAN)"
    )
    window: int | None = Field(None, ge=4, description="side of the local window, px; null for half the image's")

    def check(self, mask: Mapping[str, Any], size: int) -> None:
        """Every hole can be filled; what may not fit are images of `size` px: see `window_at` and `dilations_at`."""
        self.window_at(size)
        self.dilations_at(size)

    def window_at(self, size: int) -> int:
        """Side of the local window, px. Raises TrialError where it or the image cannot be halved down to 4 px."""
        if size < 8 or size & (size - 1):
            raise TrialError(
                f"data.size: {size}",
                "glcic's discriminators halve the image until 4x4 is left",
                "a power of two: 8, 16, 32, 64, ...",
                f"size: {max(8, 1 << (size.bit_length() - 1))}",
                "data.size",
            )
        window = self.window or size // 2
        if window > size or window & (window - 1):
            raise TrialError(
                f"model.window: {window} with data.size: {size}",
                "the local discriminator halves a window of the image until 4x4 is left",
                f"a power of two from 4 to {size}, or null for {size // 2}",
                f"window: {size // 2}",
                "model.window",
            )
        return window

    def dilations_at(self, size: int) -> list[int]:
        """The dilation of each dilated layer. Raises TrialError where one reaches past the map that it works on."""
        default = list(self.small_forms.get(size, (2, 4, 8, 16)))
        dilations, side = self.dilations or default, size // 4
        for position, dilation in enumerate(dilations, 1):
            if dilation >= side and dilation > 1:
                raise TrialError(
                    f"model.dilations: {dilations} with data.size: {size}",
                    f"dilated layer {position} of {len(dilations)} (dilation {dilation}) works on a map of "
                    f"{side}x{side}: all its taps but the middle one lie on padding, it would be a 1x1 convolution",
                    f"dilations below {side}, or images larger than {4 * dilation} px",
                    f"dilations: {default}",
                    "model.dilations",
                )
        return dilations if self.dilated else [1] * len(dilations)


class Block(nn.Module):
    """A dilated layer, with a plain one after it where `layers` is 2, and a shortcut around them where `residual`.

    Without the shortcut and with one layer it is the published one. 002_e338281c6a46a1c1 has two: "a dilated
    convolution followed by a normalization step followed by ReLU and a last convolutional layer"; the second is
    normalised here too, and the shortcut joins before the last ReLU, as in a ResNet.
    """

    def __init__(self, channels: int, dilation: int, layers: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        modules: list[nn.Module] = []
        for rate in (dilation, 1)[:layers]:
            modules += _layer(channels, channels, dilation=rate)
        self.layers = nn.Sequential(*modules[:-1])

    def forward(self, x_bchw: Tensor) -> Tensor:
        y_bchw: Tensor = self.layers(x_bchw)
        return F.relu(x_bchw + y_bchw if self.residual else y_bchw)


class GLCIC(nn.Module):
    """The completion network: two halvings, dilated blocks on a quarter of the side, two doublings."""

    def __init__(self, config: Config, dilations: list[int]) -> None:
        super().__init__()
        self.fill_311: Tensor
        self.composite = config.composite
        self.register_buffer("fill_311", torch.tensor(config.fill).view(3, 1, 1), persistent=False)
        width = config.width
        self.down = nn.Sequential(
            *_layer(4, width, kernel=5),
            *_layer(width, 2 * width, stride=2),
            *_layer(2 * width, 2 * width),
            *_layer(2 * width, 4 * width, stride=2),
            *_layer(4 * width, 4 * width),
            *_layer(4 * width, 4 * width),
        )
        self.blocks = nn.Sequential(
            *(Block(4 * width, dilation, config.block_layers, config.residual) for dilation in dilations)
        )
        self.up = nn.Sequential(
            *_layer(4 * width, 4 * width),
            *_layer(4 * width, 4 * width),
            *_doubling(4 * width, 2 * width, config.upsampling),
            *_layer(2 * width, 2 * width),
            *_doubling(2 * width, width, config.upsampling),
            *_layer(width, width // 2),
            nn.Conv2d(width // 2, 3, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw in [0, 1]."""
        known_b3hw = damaged_b3hw * (1 - mask_b1hw)
        seen_b4hw = torch.cat([known_b3hw + self.fill_311 * mask_b1hw, mask_b1hw], 1)
        image_b3hw: Tensor = self.up(self.blocks(self.down(seen_b4hw)))
        return known_b3hw + image_b3hw * mask_b1hw if self.composite else image_b3hw


def _layer(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    """Convolution (without bias: the normalisation has one), batch normalisation, ReLU."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _doubling(inputs: int, outputs: int, upsampling: str) -> list[nn.Module]:
    """A layer that doubles the side; see `Config.upsampling`."""
    if upsampling == "resize":
        return [nn.Upsample(scale_factor=2, mode="nearest"), *_layer(inputs, outputs)]
    conv = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def build(config: Config, size: int) -> nn.Module:
    """The completion network for images of size x size px. Raises TrialError as `Config.check` does."""
    config.window_at(size)
    return GLCIC(config, config.dilations_at(size))


def build_discriminator(config: Config, size: int, term: str) -> nn.Module:
    """The discriminator of a loss term, for images of size x size px."""
    window = config.window_at(size)
    if term == "adversarial_joint":
        return discriminators.Joint(size, window, config.width)
    if term == "adversarial_global":
        return discriminators.View(None, discriminators.scalar(size, config.width))
    judge = discriminators.patches if config.local == "patch" else discriminators.scalar
    return discriminators.View(window, judge(window, config.width))
