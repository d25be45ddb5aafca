"""The network of LaMa and its training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.inpaint.adversarial import MaskedTarget, Objective
from trainables.inpaint.method import GAN, Method, Setup
from trainables.inpaint.methods.lama_fourier.config import Config
from trainables.inpaint.methods.lama_fourier.discriminator import NLayerDiscriminator
from trainables.inpaint.methods.lama_fourier.fourier import AggregatedBlock, FourierBlock, PlainBlock


class LaMa(nn.Module):
    """A stem, stride-2 layers that double the channels, residual blocks, and upsampling layers."""

    def __init__(self, config: Config, size: int) -> None:
        super().__init__()
        halvings, blocks = config.form_at(size)
        widths = [config.width * 2**level for level in range(halvings + 1)]
        layers: list[nn.Module] = _layer(nn.Conv2d(4, widths[0], 7, padding=3, bias=False, padding_mode="reflect"))
        for level in range(halvings):
            inputs, outputs = widths[level : level + 2]
            layers += _layer(nn.Conv2d(inputs, outputs, 3, 2, padding=1, bias=False, padding_mode="reflect"))
        layers += [_block(config.block, widths[-1], size >> halvings) for _ in range(blocks)]
        for level in reversed(range(halvings)):
            layers += _layer(nn.ConvTranspose2d(widths[level + 1], widths[level], 3, 2, padding=1, output_padding=1))
        last = nn.Conv2d(widths[0], 3, 7, padding=3, padding_mode="reflect")
        self.layers = nn.Sequential(*layers, last, nn.Sigmoid())

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw in [0, 1]; the known pixels are predicted too."""
        image_b3hw: Tensor = self.layers(torch.cat([damaged_b3hw * (1 - mask_b1hw), mask_b1hw], 1))
        return image_b3hw


def _layer(conv: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU(inplace=True)]


def _block(kind: str, channels: int, side: int) -> nn.Module:
    if kind == "aot":
        return AggregatedBlock(channels, side)
    return FourierBlock(channels) if kind == "fourier" else PlainBlock(channels)


def build(config: Config, size: int) -> nn.Module:
    """Build the network for images of size x size px. Raises TrialError like `Config.check_size`."""
    config.check_size(size)
    return LaMa(config, size)


def build_discriminator(config: Config, size: int, term: str) -> nn.Module:  # noqa: ARG001 - there is only one term
    """Build the discriminator: four halvings from 256 px on, fewer below, to limit the receptive field of a score."""
    return NLayerDiscriminator(min(4, max(2, size.bit_length() - 5)), config.width)


class LaMaGAN(GAN):
    """The network with a discriminator that learns to find the holes."""

    def build_discriminator(self, term: str) -> nn.Module:
        return build_discriminator(self.options, self.setup.size, term)

    def objective(self, term: str) -> Objective:
        return MaskedTarget(r1=self.weights.get("r1", 0.0), feature_matching="feature_matching" in self.weights)


def method(setup: Setup) -> Method:
    return LaMaGAN(setup)
