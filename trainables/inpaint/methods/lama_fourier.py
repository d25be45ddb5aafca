"""LaMa: a residual network of fast Fourier convolutions, whose every block sees the whole image.

Source: Suvorov et al. 2022, "Resolution-robust Large Mask Inpainting with Fourier Convolutions", and its code (the
model LaMa-Fourier); MODELS.md sections 7 and 10 for the smaller forms. 27.05 M parameters at 256 px, 6.96 M in the
discriminator.

Unusual: the published loss is {valid: 10, adversarial: 10, feature_matching: 100, r1: 0.001}, with a perceptual term of
weight 30 on features of a ResNet-50 trained for segmentation, which is not here; `perceptual` with `features:` is the
nearest. No term compares the holes with the truth but `feature_matching` (and `perceptual`). The discriminator learns
to call the output generated in its holes alone, and real around them: the mask is its target. It sees what the network
makes, known pixels too. Learning rates were 1e-3, and 1e-4 for the discriminator.

`block: aot` puts AOT-GAN's blocks between the same two halves, and `plain` ones without a Fourier transform. At equal
width they have more parameters: 66.8 M and 45.6 M.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from trainables.config.model_sections import ModelConfig
from trainables.errors import TrialError
from trainables.inpaint.blocks.fourier import AggregatedBlock, FourierBlock, PlainBlock
from trainables.inpaint.blocks.patch_discriminator import NLayer


class Config(ModelConfig):
    """Options of the network; the discriminator scales with `width`."""

    adversarial: ClassVar[tuple[str, ...]] = ("adversarial",)
    discriminator_terms: ClassVar[tuple[str, ...]] = ("r1", "feature_matching")
    masked_target: ClassVar[bool] = True
    small_forms: ClassVar[Mapping[int, tuple[int, int]]] = {8: (1, 2), 16: (2, 2), 32: (2, 4), 64: (3, 6)}
    """Halvings and blocks by the side of the image, px; else the published ones."""

    width: int = Field(64, ge=2, description="channels of the first layer; all others, the discriminator's too, scale")
    block: Literal["fourier", "aot", "plain"] = Field(
        "fourier", description="what the body is made of: fast Fourier convolutions, AOT-GAN's blocks, plain ones"
    )

    def form_at(self, size: int) -> tuple[int, int]:
        """Halvings and blocks in images of `size` px."""
        return self.small_forms.get(size, (3, 9))

    def check(self, mask: Mapping[str, Any], size: int) -> None:
        """Every hole can be filled, in images of a power of two of at least 8 px, as of all networks here."""
        if size < 8 or size & (size - 1):
            raise TrialError(
                f"data.size: {size}",
                "lama_fourier halves the side up to three times, and doubles it again",
                "a power of two: 8, 16, 32, 64, ...",
                f"size: {max(8, 1 << (size.bit_length() - 1))}",
                "data.size",
            )


class LaMa(nn.Module):
    """A stem, halvings that double the channels, blocks, and doublings."""

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
        """image_b3hw in [0, 1], its known pixels as the network makes them."""
        image_b3hw: Tensor = self.layers(torch.cat([damaged_b3hw * (1 - mask_b1hw), mask_b1hw], 1))
        return image_b3hw


def _layer(conv: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU(inplace=True)]


def _block(kind: str, channels: int, side: int) -> nn.Module:
    if kind == "aot":
        return AggregatedBlock(channels, side)
    return FourierBlock(channels) if kind == "fourier" else PlainBlock(channels)


def build(config: Config, size: int) -> nn.Module:
    """The network for images of size x size px. Raises TrialError as `Config.check` does."""
    config.check({}, size)
    return LaMa(config, size)


def build_discriminator(config: Config, size: int, term: str) -> nn.Module:  # noqa: ARG001 - there is one term
    """The discriminator: four halvings from 256 px on, fewer below, so that a score never sees far more than all."""
    return NLayer(min(4, max(2, size.bit_length() - 5)), config.width)
