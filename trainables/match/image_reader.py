"""Small image encoder of the matching network: features of image regions and of the whole image.

It replaces DAMSM's Inception network, and is trained from scratch on images of 32 px or more (MODELS.md section 10).
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

PLACES = 8
"""Side of the feature map whose positions are matched with words."""


class ImageReader(nn.Module):
    """Convolutions of stride 2 down to 8x8 regions; two more and global average pooling for the whole image."""

    def __init__(self, size: int, features: int, width: int) -> None:
        super().__init__()
        halvings = max(1, (size // PLACES).bit_length() - 1)
        channels = [3, *(min(width * 2**level, 4 * width) for level in range(halvings))]
        self.down = nn.ModuleList(
            _Layer(inputs, outputs, stride=2 if size > PLACES else 1) for inputs, outputs in pairwise(channels)
        )
        self.again = _Layer(channels[-1], channels[-1])
        self.place = nn.Conv2d(channels[-1], features, 1)
        self.further = nn.Sequential(_Layer(channels[-1], 4 * width, 2), _Layer(4 * width, 4 * width, 2))
        self.whole = nn.Linear(4 * width, features)

    def forward(self, image_b3hw: Tensor) -> tuple[Tensor, Tensor]:
        """places_bcl and whole_bc of images in [-1, 1]."""
        x_bchw = image_b3hw
        for layer in self.down:
            x_bchw = layer(x_bchw)
        x_bchw = self.again(x_bchw)
        whole_bc: Tensor = self.whole(self.further(x_bchw).mean((2, 3)))
        return self.place(x_bchw).flatten(2), whole_bc


class _Layer(nn.Module):
    """Convolution, normalisation over each image, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm = nn.GroupNorm(1, outputs)

    def forward(self, x_bchw: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x_bchw)), 0.1)
