"""The network, the discriminator and the training of the context encoder on AlexNet's convolutions."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.inpaint.blocks import context_encoder_blocks
from trainables.inpaint.blocks.context_encoder_blocks import ChannelWise, RegionFrame, RegionGAN
from trainables.inpaint.method import Method, Setup
from trainables.inpaint.methods.context_encoder_alexnet.config import Config
from trainables.training.precision import full


class AlexNetAutoencoder(nn.Module):
    """Encoder, optional channel-wise layer, decoder, and a resize to `side` px."""

    def __init__(self, config: Config, size: int, side: int) -> None:
        super().__init__()
        self.side = side
        unit, (kernel, stride, padding) = config.width, first_layer(size)
        self.encoder = nn.Sequential(
            *(nn.Conv2d(3, 3 * unit, kernel, stride, padding), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(3 * unit, 8 * unit, 5, padding=2, groups=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(8 * unit, 12 * unit, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(12 * unit, 12 * unit, 3, padding=1, groups=2), nn.ReLU(inplace=True)),
            *(nn.Conv2d(12 * unit, 8 * unit, 3, padding=1, groups=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        )
        map_side = (size + 2 * padding - kernel) // stride + 1
        for _ in range(3):
            map_side = (map_side - 3) // 2 + 1
        between = [ChannelWise(8 * unit, map_side), nn.ReLU(inplace=True)] if config.channelwise else []
        self.between = nn.Sequential(*between)
        widths = [8 * unit, 4 * unit, 2 * unit, 2 * unit, unit, 3]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):  # side n becomes 2 n - 1
            layers += [nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2), nn.ReLU(inplace=True)]
        self.decoder = nn.Sequential(*layers[:-1])
        self.apply(_he)

    def forward(self, seen_b3hw: Tensor) -> Tensor:
        """The predicted square, in [-1, 1]."""
        x = full(
            self.decoder(self.between(self.encoder(seen_b3hw)))
        )  # antialiased resizing on the CPU does not support bfloat16
        return F.interpolate(x, size=(self.side, self.side), mode="bilinear", antialias=True).tanh()


def first_layer(size: int) -> tuple[int, int, int]:
    """Kernel, stride and padding of the first convolution: as published above 128 px, smaller strides below.

    The last map is 6x6 at 128, 227 and 256 px, 2x2 at 64 px, and 3x3 at 32 px.
    """
    if size < 64:
        return 5, 1, 2
    return 11, 2 if size <= 128 else 4, 0


def _he(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    elif isinstance(layer, nn.ConvTranspose2d):  # at stride 2 an output pixel depends on a quarter of the 5x5 taps
        fan_in = layer.in_channels * 25 / 4
        nn.init.normal_(layer.weight, 0, (2 / fan_in) ** 0.5)
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.bias is not None:
        nn.init.zeros_(layer.bias)


def build(config: Config, size: int) -> nn.Module:
    """Build the network for images of size x size px. Raises TrialError like `Config.check_size`."""
    config.check_size(size)
    window = context_encoder_blocks.window(config.predicts, size)
    side = size if window is None else window.stop - window.start
    return RegionFrame(AlexNetAutoencoder(config, size, side), window)


def build_discriminator(config: Config, size: int, term: str) -> nn.Module:  # noqa: ARG001 - there is only one term
    """Build the same discriminator as `context_encoder`, with 64 channels in its first layer at the default width."""
    return context_encoder_blocks.build_discriminator(config, size, 2 * config.width)


class AlexNetGAN(RegionGAN):
    """The network with its discriminator."""

    def build_discriminator(self, term: str) -> nn.Module:
        return build_discriminator(self.options, self.setup.size, term)


def method(setup: Setup) -> Method:
    return AlexNetGAN(setup)
