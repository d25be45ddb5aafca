"""The network, the discriminator and the training of the context encoder."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from trainables.inpaint.blocks import context_encoder_blocks
from trainables.inpaint.blocks.context_encoder_blocks import ChannelWise, RegionFrame, RegionGAN
from trainables.inpaint.method import Method, Setup
from trainables.inpaint.methods.context_encoder.config import Config


def encoder(config: Config, widths: list[int], bottleneck: int) -> nn.Sequential:
    """Stride-2 convolutions down to a 4x4 map, then a convolution to a vector."""
    layers: list[nn.Module] = []
    for level, (inputs, outputs) in enumerate(pairwise([3, *widths])):
        layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False))
        if level:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    channels = widths[-1]
    if config.extra_layer:
        layers += [nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)]
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    if config.channelwise:
        layers += [ChannelWise(channels, 4), nn.LeakyReLU(0.2, inplace=True)]
    layers += [nn.Conv2d(channels, bottleneck, 4, bias=False), nn.BatchNorm2d(bottleneck)]
    return nn.Sequential(*layers, nn.LeakyReLU(0.2, inplace=True))


def decoder(config: Config, widths: list[int], bottleneck: int) -> nn.Sequential:
    """From the vector to a 4x4 map, then one doubling for each width; the last layer returns the three colours."""
    layers: list[nn.Module] = []
    for level, (inputs, outputs) in enumerate(pairwise([bottleneck, *widths, 3])):
        stride, padding = (2, 1) if level else (1, 0)
        layers.append(nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False))
        if level < len(widths):
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        if config.extra_layer and level == 0:
            layers += [nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Tanh())


def build(config: Config, size: int) -> nn.Module:
    """Build the network for images of size x size px. Raises TrialError like `Config.check_size`."""
    config.check_size(size)
    halvings = size.bit_length() - 3
    widths = [config.width * multiple for multiple in context_encoder_blocks.multiples(halvings, repeated_from=4)]
    bottleneck = config.bottleneck or min(4000, 4000 * size // 128)
    upwards = widths[::-1] if config.predicts == "image" else widths[:0:-1]  # centre: half the side, one doubling less
    network = nn.Sequential(encoder(config, widths, bottleneck), decoder(config, upwards, bottleneck))
    return RegionFrame(
        network.apply(context_encoder_blocks.initialise), context_encoder_blocks.window(config.predicts, size)
    )


def build_discriminator(config: Config, size: int, term: str) -> nn.Module:  # noqa: ARG001 - there is only one term
    """Build the discriminator; its depth follows from the side of its input."""
    return context_encoder_blocks.build_discriminator(config, size, config.width)


class ContextEncoderGAN(RegionGAN):
    """The network with its discriminator."""

    def build_discriminator(self, term: str) -> nn.Module:
        return build_discriminator(self.options, self.setup.size, term)


def method(setup: Setup) -> Method:
    return ContextEncoderGAN(setup)
