"""The completion network of GLCIC and its training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.inpaint.method import GAN, Method, Setup
from trainables.inpaint.methods.glcic import discriminators
from trainables.inpaint.methods.glcic.config import Config


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
    """Build the completion network for images of size x size px. Raises TrialError like `Config.check_size`."""
    config.check_size(size)
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
