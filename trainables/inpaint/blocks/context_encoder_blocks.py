"""Parts of both context encoders: the frame around the predicted square, discriminator, channel-wise layer.

Source: Pathak et al. 2016, "Context Encoders: Feature Learning by Inpainting", its Lua code (pathak22/context-encoder)
and 003_4e78e639d4f1fa33; MODELS.md sections 4 and 10.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.config.model_sections import RegionConfig
from trainables.inpaint.method import GAN
from trainables.inpaint.predicted_region import PredictedRegion

HOLE_COLOUR = (117 / 255, 104 / 255, 123 / 255)
"""Fill colour of the holes on channels 0, 1, 2: ImageNet's mean in the unusual channel order of the published code."""


def window(predicted: str | None, size: int) -> slice | None:
    """Row and column range of the central square of half the side; None for the whole image."""
    if predicted != "centre":
        return None
    start = (size - size // 2) // 2
    return slice(start, start + size // 2)


def predicted_region(config: RegionConfig, size: int) -> PredictedRegion:
    """The losses compare the predicted region; in the centre form its known pixels have weight 10, as published."""
    known_weight = config.known_weight or (10.0 if config.predicts == "centre" else 1.0)
    return PredictedRegion(window(config.predicts, size), known_weight, (-1.0, 1.0))


class RegionGAN(GAN):
    """A `GAN` whose losses compare the predicted region, in [-1, 1]."""

    def compared_region(self) -> PredictedRegion:
        return predicted_region(self.options, self.setup.size)


class RegionFrame(nn.Module):
    """Wraps a network that works in [-1, 1]: fills holes with HOLE_COLOUR, and pastes the prediction into the image.

    network: predicts the pixels inside `window`; outside of it the damaged image is returned unchanged.
    """

    def __init__(self, network: nn.Module, window: slice | None) -> None:
        super().__init__()
        self.network = network
        self.window = window
        self.colour_311: Tensor
        self.register_buffer("colour_311", torch.tensor(HOLE_COLOUR).view(3, 1, 1), persistent=False)

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw in [0, 1]."""
        seen_b3hw = torch.where(mask_b1hw > 0.5, self.colour_311, damaged_b3hw)
        predicted_b3hw: Tensor = self.network(seen_b3hw * 2 - 1) * 0.5 + 0.5
        if self.window is None:
            return predicted_b3hw
        image_b3hw = damaged_b3hw.clone()
        image_b3hw[:, :, self.window, self.window] = predicted_b3hw
        return image_b3hw


class ContextEncoderDiscriminator(nn.Module):
    """4x4 convolutions of stride 2 down to a map of about 4x4, then one logit for each image.

    All layers but the first have batch normalisation, without running statistics because a discriminator never runs in
    eval mode. For an input of 64 px: 64, 128, 256, 512 channels, 2.77 M parameters.
    """

    def __init__(self, width: int, size: int, window: slice | None) -> None:
        super().__init__()
        self.window = window
        seen = size if window is None else window.stop - window.start
        halvings = max(1, seen.bit_length() - 3)
        layers: list[nn.Module] = []
        channels = 3
        for level, multiple in enumerate(multiples(halvings, repeated_from=5)):
            layers.append(nn.Conv2d(channels, width * multiple, 4, 2, 1, bias=False))
            channels = width * multiple
            if level:
                layers.append(nn.BatchNorm2d(channels, track_running_stats=False))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, seen >> halvings, bias=False), nn.Flatten(0))
        self.layers.apply(initialise)

    def forward(self, image_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """logits_b of images in [0, 1]."""
        if self.window is not None:
            image_b3hw = image_b3hw[:, :, self.window, self.window]
        logits: Tensor = self.layers(image_b3hw * 2 - 1)
        return logits


def build_discriminator(config: RegionConfig, size: int, width: int) -> nn.Module:
    """Build the discriminator for the region selected in `config`, for images of size x size px."""
    return ContextEncoderDiscriminator(width, size, window(config.discriminator or config.predicts, size))


class ChannelWise(nn.Module):
    """A fully-connected layer within each channel of a side x side map, then a 1x1 convolution across channels.

    channels * side**4 weights instead of the channels**2 * side**4 of a full one.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        pixels = side * side
        self.weight_cpp = nn.Parameter(torch.empty(channels, pixels, pixels))
        self.bias_cp = nn.Parameter(torch.zeros(channels, pixels))
        self.mix = nn.Conv2d(channels, channels, 1)
        nn.init.normal_(self.weight_cpp, 0, (2 / pixels) ** 0.5)  # He: preserves the variance before a ReLU

    def forward(self, x_bchw: Tensor) -> Tensor:
        """A map of the same shape."""
        b, c, h, w = x_bchw.shape
        x_cbp = x_bchw.reshape(b, c, h * w).transpose(0, 1)
        x_cbp = torch.baddbmm(self.bias_cp.unsqueeze(1), x_cbp, self.weight_cpp)
        mixed: Tensor = self.mix(x_cbp.relu().transpose(0, 1).reshape(b, c, h, w))
        return mixed


def multiples(halvings: int, repeated_from: int) -> list[int]:
    """Channels of each stride-2 layer in units of the first layer's channels: 1, 2, 4, 8, 8, ...

    Networks with at least `repeated_from` layers begin with 1, 1, 2, ..., as published.
    """
    growing = [min(2**level, 8) for level in range(halvings)]
    return growing if halvings < repeated_from else [1, *growing[:-1]]


def initialise(layer: nn.Module) -> None:
    """Initialise convolutions with N(0, 0.02) and batch normalisation with N(1, 0.02), as published."""
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(layer.weight, 0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1, 0.02)
