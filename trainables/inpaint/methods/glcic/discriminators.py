"""The discriminators of GLCIC: on the image, on a window around the hole, and on both together.

Sources: Iizuka et al. 2017 for the scalar discriminators (5x5 convolutions of stride 2 down to 4x4 with batch
normalisation and ReLU, then a linear layer to 1024 features with ReLU); Isola et al. 2017 for the PatchGAN (4x4
convolutions, leaky ReLU, no normalisation in the first layer), with as many stride-2 layers as the scalar one.
MODELS.md sections 3.1, 3.2 and 10.

The window is centred on the bounding box of the hole and shifted to lie inside the image; without a hole it is in the
middle of the image, and of a hole larger than the window it covers the middle. Iizuka et al. cut the window of the real
image at another, random position. Here both windows have the same position, as in mmagic's GLCIC: real and generated
windows then differ only in the hole, and the position is a function of the mask, without any random draw. Batch
normalisation has no running statistics because a discriminator never runs in eval mode.

Legend: b images, s side of the window, h = w side of the image, px.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

MAP = 4
"""Side of the last map of a discriminator."""
WIDEST = 8
"""Channels double at each stride-2 layer, up to this multiple of the first layer's."""


class SingleViewDiscriminator(nn.Module):
    """A discriminator on the image, or on a window of it."""

    def __init__(self, window: int | None, network: nn.Module) -> None:
        """window: side of the window, px; None for the image. network: returns the logits, positive for real."""
        super().__init__()
        self.window = window
        self.network = network

    def forward(self, image_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """Logits (b, 1), or (b, 1, 4, 4) for patches."""
        seen = image_b3hw if self.window is None else cut_window(image_b3hw, mask_b1hw, self.window)
        logits: Tensor = self.network(seen)
        return logits


class JointDiscriminator(nn.Module):
    """The published discriminator: one logit from the features of the image and of its window."""

    def __init__(self, size: int, window: int, width: int) -> None:
        super().__init__()
        self.window = window
        self.whole = feature_discriminator(size, width)
        self.part = feature_discriminator(window, width)
        self.score = nn.Linear(2 * 16 * width, 1)

    def forward(self, image_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """Logits (b, 1)."""
        part = self.part(cut_window(image_b3hw, mask_b1hw, self.window))
        logits: Tensor = self.score(torch.cat([self.whole(image_b3hw), part], 1))
        return logits


# --- networks ---------------------------------------------------------------------------------------------------------


def scalar_discriminator(side: int, width: int) -> nn.Sequential:
    """Discriminator with one logit (b, 1) for each image (b, 3, side, side)."""
    return nn.Sequential(feature_discriminator(side, width), nn.Linear(16 * width, 1))


def feature_discriminator(side: int, width: int) -> nn.Sequential:
    """Features (b, 16 width) of images (b, 3, side, side); side is a power of two, at least 4."""
    layers: list[nn.Module] = []
    channels = [3, *_widths(side, width)]
    for inputs, outputs in pairwise(channels):
        conv = nn.Conv2d(inputs, outputs, 5, stride=2, padding=2, bias=False)
        layers += [conv, nn.BatchNorm2d(outputs, track_running_stats=False), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * MAP * MAP, 16 * width), nn.ReLU(inplace=True))


def patch_discriminator(side: int, width: int) -> nn.Sequential:
    """PatchGAN: logits (b, 1, 4, 4) of 4x4 overlapping patches of images (b, 3, side, side)."""
    layers: list[nn.Module] = []
    channels = [3, *_widths(side, width)]
    for level, (inputs, outputs) in enumerate(pairwise(channels)):
        layers.append(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=level == 0))
        if level > 0:
            layers.append(nn.BatchNorm2d(outputs, track_running_stats=False))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, 3, padding=1))


def _widths(side: int, width: int) -> list[int]:
    """Channels after each stride-2 layer, down to a 4x4 map."""
    halvings = (side // MAP).bit_length() - 1
    return [width * min(2**level, WIDEST) for level in range(halvings)]


# --- the window -------------------------------------------------------------------------------------------------------


def cut_window(image_b3hw: Tensor, mask_b1hw: Tensor, side: int) -> Tensor:
    """Cut the window (b, 3, s, s) around the hole out of each image, without a device synchronisation."""
    top_b, left_b = window_corner(mask_b1hw, side)
    offsets_s = torch.arange(side, device=image_b3hw.device)
    b, channels, height, _ = image_b3hw.shape
    rows_bs, columns_bs = top_b.unsqueeze(1) + offsets_s, left_b.unsqueeze(1) + offsets_s
    strip = image_b3hw.gather(3, columns_bs.view(b, 1, 1, side).expand(-1, channels, height, -1))
    return strip.gather(2, rows_bs.view(b, 1, side, 1).expand(-1, channels, -1, side))


def window_corner(mask_b1hw: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Position of the window in whole px: top_b and left_b."""
    hole_bhw = mask_b1hw[:, 0] > 0.5
    return _start(hole_bhw.any(2), side), _start(hole_bhw.any(1), side)


def _start(hole_bn: Tensor, side: int) -> Tensor:
    """Start of a window of `side` px that is centred on the range from the first to the last hole pixel of n pixels."""
    n = hole_bn.shape[1]
    position = torch.arange(n, device=hole_bn.device)
    first = torch.where(hole_bn, position, n).amin(1)
    last = torch.where(hole_bn, position, -1).amax(1)  # without a hole: n and -1, which centres the window
    return torch.div(first + last + 1 - side, 2, rounding_mode="floor").clamp(0, n - side)
