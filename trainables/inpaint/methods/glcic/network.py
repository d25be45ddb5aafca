"""Globally and locally consistent image completion, with residual blocks and a PatchGAN as options.

Sources: Iizuka et al. 2017 (GLCIC), whose network and discriminators are the defaults at 256 px; Demir & Unal 2018 and
002_e338281c6a46a1c1 for residual blocks, resize convolutions and the PatchGAN; MODELS.md sections 3 and 10 for the
smaller forms. 6.07 M parameters at 256 px, 45.1 M in the published discriminator.

Unusual: only two stride-2 layers, followed by dilated layers with a large receptive field instead of a bottleneck. The
input is the mask and the image with its holes filled with the mean of the data. The known pixels are returned unchanged
(`composite`), so the discriminators see the completed image. Published code differs here: mmagic gives them the
completed image, otenim's GLCIC the raw output of the network. The reconstruction loss is over the holes: `l2_hole` or
`l1_hole`.

The discriminators are in `blocks/glcic_discriminators.py`: `adversarial_global` sees the image, `adversarial_local`
sees a window around the hole, and `adversarial_joint` is the published form, one logit from both.
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
from trainables.inpaint.method import GAN, Method, Setup
from trainables.inpaint.methods.glcic import discriminators as discriminators


class Config(ModelConfig):
    """Options of the completion network and of its discriminators."""

    adversarial: ClassVar[tuple[str, ...]] = ("adversarial_global", "adversarial_local", "adversarial_joint")
    small_forms: ClassVar[Mapping[int, tuple[int, ...]]] = {8: (1,), 16: (1, 2), 32: (1, 2, 4, 2), 64: (2, 4, 8)}
    """Dilations by the side of the image, px; from 128 px on the published dilations are used."""

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

    def check(self, mask: Mapping[str, Any], size: int) -> None:
        """Check the size of the images with `window_at` and `dilations_at`; every mask can be filled."""
        self.window_at(size)
        self.dilations_at(size)

    def window_at(self, size: int) -> int:
        """Side of the local window, px. Raises TrialError if the window or the image cannot be halved down to 4 px."""
        if size < 8 or size & (size - 1):
            raise TrialError(
                f"data.size: {size}",
                "the discriminators of glcic halve the image down to 4x4",
                "a power of two: 8, 16, 32, 64, ...",
                f"size: {max(8, 1 << (size.bit_length() - 1))}",
                "data.size",
            )
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
        default = list(self.small_forms.get(size, (2, 4, 8, 16)))
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


class DilatedBlock(nn.Module):
    """A dilated layer, followed by a plain layer if `layers` is 2, with a shortcut around them if `residual`.

    The published block has one layer and no shortcut. 002_e338281c6a46a1c1 has two layers: "a dilated convolution
    followed by a normalization step followed by ReLU and a last convolutional layer". Here the second layer is
    normalised too, and the shortcut is added before the last ReLU, as in a ResNet.
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
    """The completion network: two stride-2 layers, dilated blocks on a quarter of the side, two upsampling layers."""

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
            *(DilatedBlock(4 * width, dilation, config.block_layers, config.residual) for dilation in dilations)
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
    """Convolution (without bias, because the normalisation has one), batch normalisation, ReLU."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _doubling(inputs: int, outputs: int, upsampling: str) -> list[nn.Module]:
    """A layer that doubles the side, as selected by `Config.upsampling`."""
    if upsampling == "resize":
        return [nn.Upsample(scale_factor=2, mode="nearest"), *_layer(inputs, outputs)]
    conv = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def build(config: Config, size: int) -> nn.Module:
    """Build the completion network for images of size x size px. Raises TrialError like `Config.check`."""
    config.window_at(size)
    return GLCIC(config, config.dilations_at(size))


def build_discriminator(config: Config, size: int, term: str) -> nn.Module:
    """Build the discriminator of a loss term for images of size x size px."""
    window = config.window_at(size)
    if term == "adversarial_joint":
        return discriminators.JointDiscriminator(size, window, config.width)
    if term == "adversarial_global":
        return discriminators.SingleViewDiscriminator(None, discriminators.scalar_discriminator(size, config.width))
    network = discriminators.patch_discriminator if config.local == "patch" else discriminators.scalar_discriminator
    return discriminators.SingleViewDiscriminator(window, network(window, config.width))


class GLCICGAN(GAN):
    """The completion network with a discriminator for each adversarial term."""

    def build_discriminator(self, term: str) -> nn.Module:
        return build_discriminator(self.options, self.setup.size, term)


def method(setup: Setup) -> Method:
    return GLCICGAN(setup)
