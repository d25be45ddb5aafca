"""LaMa: a residual network of fast Fourier convolutions; the receptive field of every block is the whole image.

Source: Suvorov et al. 2022, "Resolution-robust Large Mask Inpainting with Fourier Convolutions", and its code (the
model LaMa-Fourier); MODELS.md sections 7 and 10 for the smaller forms. 27.05 M parameters at 256 px, 6.96 M in the
discriminator.

Unusual: the published loss is {valid: 10, adversarial: 10, feature_matching: 100, r1: 0.001}, plus a perceptual term of
weight 30 on features of a ResNet-50 trained for segmentation. That network is not available here; the closest term is
`perceptual` with `features:`. Only `feature_matching` and `perceptual` compare the holes with the truth. The target of
the discriminator is the mask: it learns to label the output as generated inside the holes and as real around them. Its
input is the raw output of the network, including the known pixels. The published learning rates are 1e-3, and 1e-4 for
the discriminator.

`block: aot` replaces the Fourier blocks by AOT-GAN's blocks, and `block: plain` by blocks without a Fourier transform.
At equal width these have more parameters, 66.8 M and 45.6 M.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from trainables.config.model_sections import ModelConfig
from trainables.errors import TrialError
from trainables.inpaint.adversarial import MaskedTarget, Objective
from trainables.inpaint.method import GAN, Method, Setup
from trainables.inpaint.methods.lama_fourier.discriminator import NLayerDiscriminator
from trainables.inpaint.methods.lama_fourier.fourier import AggregatedBlock, FourierBlock, PlainBlock


class Config(ModelConfig):
    """Options of the network; the discriminator scales with `width`."""

    adversarial: ClassVar[tuple[str, ...]] = ("adversarial",)
    discriminator_terms: ClassVar[tuple[str, ...]] = ("r1", "feature_matching")
    small_forms: ClassVar[Mapping[int, tuple[int, int]]] = {8: (1, 2), 16: (2, 2), 32: (2, 4), 64: (3, 6)}
    """Numbers of stride-2 layers and of blocks by the side of the image, px; other sizes use the published numbers."""

    width: int = Field(
        64, ge=2, description="channels of the first layer; all other layers and the discriminator scale with it"
    )
    block: Literal["fourier", "aot", "plain"] = Field(
        "fourier", description="type of the blocks: fast Fourier convolutions, AOT-GAN's blocks, or plain convolutions"
    )

    def form_at(self, size: int) -> tuple[int, int]:
        """Numbers of stride-2 layers and of blocks for images of `size` px."""
        return self.small_forms.get(size, (3, 9))

    def check(self, mask: Mapping[str, Any], size: int) -> None:
        """Check that the side of the images is a power of two, at least 8; every mask can be filled."""
        if size < 8 or size & (size - 1):
            raise TrialError(
                f"data.size: {size}",
                "lama_fourier halves the side up to three times and doubles it again",
                "a power of two: 8, 16, 32, 64, ...",
                f"size: {max(8, 1 << (size.bit_length() - 1))}",
                "data.size",
            )


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
    """Build the network for images of size x size px. Raises TrialError like `Config.check`."""
    config.check({}, size)
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
