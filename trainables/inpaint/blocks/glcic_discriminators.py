"""The discriminators of GLCIC: of the image, of a window around the hole, and of both together.

Sources: Iizuka et al. 2017 for the scalar ones (5x5 convolutions of stride 2 down to 4x4, then 1024 features, each with
ReLU, batch-normalised but for the last); Isola et al. 2017 for the PatchGAN (4x4 convolutions, leaky ReLU, no
normalisation of the first layer), with as many halvings as the scalar one. MODELS.md sections 3.1, 3.2 and 10.

Where the window lies: centred on the bounding box of the hole and moved inside the image; in the image's middle where
there is no hole. Iizuka et al. take that of the real image at another, random place. Here both images have theirs at
one place, as in mmagic's GLCIC: they then differ in the hole and in nothing else, and a window is a function of the
mask alone, so nothing is drawn, and a discriminator need not be told which of the two it sees. Of a hole that is larger
than the window, the middle is judged. Normalisations keep no running statistics: a discriminator is never evaluated.

Legend: b images, s side of the window, h = w side of the image, px.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

MAP = 4
"""Side of the map at which a discriminator stops halving."""
WIDEST = 8
"""The channels double at each halving, up to so many times those of the first."""


class View(nn.Module):
    """A discriminator of the image, or of its window.

    window: side of the window, px; None for the image. network: gives the logits, above 0 for real.
    """

    def __init__(self, window: int | None, network: nn.Module) -> None:
        super().__init__()
        self.window = window
        self.network = network

    def forward(self, image_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """Logits (b, 1), or (b, 1, 4, 4) of patches."""
        seen = image_b3hw if self.window is None else cut(image_b3hw, mask_b1hw, self.window)
        logits: Tensor = self.network(seen)
        return logits


class Joint(nn.Module):
    """The published discriminator: one logit from the features of the image and those of its window."""

    def __init__(self, size: int, window: int, width: int) -> None:
        super().__init__()
        self.window = window
        self.whole = features(size, width)
        self.part = features(window, width)
        self.score = nn.Linear(2 * 16 * width, 1)

    def forward(self, image_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """Logits (b, 1)."""
        part = self.part(cut(image_b3hw, mask_b1hw, self.window))
        logits: Tensor = self.score(torch.cat([self.whole(image_b3hw), part], 1))
        return logits


# --- networks ---------------------------------------------------------------------------------------------------------


def scalar(side: int, width: int) -> nn.Sequential:
    """One logit (b, 1) of an image (b, 3, side, side)."""
    return nn.Sequential(features(side, width), nn.Linear(16 * width, 1))


def features(side: int, width: int) -> nn.Sequential:
    """(b, 16 width) of an image (b, 3, side, side); side is a power of two, at least 4."""
    layers: list[nn.Module] = []
    channels = [3, *_widths(side, width)]
    for inputs, outputs in pairwise(channels):
        conv = nn.Conv2d(inputs, outputs, 5, stride=2, padding=2, bias=False)
        layers += [conv, nn.BatchNorm2d(outputs, track_running_stats=False), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * MAP * MAP, 16 * width), nn.ReLU(inplace=True))


def patches(side: int, width: int) -> nn.Sequential:
    """A logit for each of 4x4 overlapping patches, (b, 1, 4, 4), of an image (b, 3, side, side)."""
    layers: list[nn.Module] = []
    channels = [3, *_widths(side, width)]
    for level, (inputs, outputs) in enumerate(pairwise(channels)):
        layers.append(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=level == 0))
        if level > 0:
            layers.append(nn.BatchNorm2d(outputs, track_running_stats=False))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, 3, padding=1))


def _widths(side: int, width: int) -> list[int]:
    """Channels after each halving, until the map is 4x4."""
    halvings = (side // MAP).bit_length() - 1
    return [width * min(2**level, WIDEST) for level in range(halvings)]


# --- the window -------------------------------------------------------------------------------------------------------


def cut(image_b3hw: Tensor, mask_b1hw: Tensor, side: int) -> Tensor:
    """(b, 3, s, s): each image's window around its hole, without a synchronisation."""
    top_b, left_b = corner(mask_b1hw, side)
    offsets_s = torch.arange(side, device=image_b3hw.device)
    b, channels, height, _ = image_b3hw.shape
    rows_bs, columns_bs = top_b.unsqueeze(1) + offsets_s, left_b.unsqueeze(1) + offsets_s
    strip = image_b3hw.gather(3, columns_bs.view(b, 1, 1, side).expand(-1, channels, height, -1))
    return strip.gather(2, rows_bs.view(b, 1, side, 1).expand(-1, channels, -1, side))


def corner(mask_b1hw: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """top_b and left_b of the window, whole px."""
    hole_bhw = mask_b1hw[:, 0] > 0.5
    return _start(hole_bhw.any(2), side), _start(hole_bhw.any(1), side)


def _start(hole_bn: Tensor, side: int) -> Tensor:
    """Where a window of `side` px begins in a row of n px, to be centred on the px from the first to the last hole."""
    n = hole_bn.shape[1]
    position = torch.arange(n, device=hole_bn.device)
    first = torch.where(hole_bn, position, n).amin(1)
    last = torch.where(hole_bn, position, -1).amax(1)  # without a hole, n and -1: the middle of the row
    return torch.div(first + last + 1 - side, 2, rounding_mode="floor").clamp(0, n - side)
