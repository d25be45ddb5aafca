"""SN-PatchGAN: a discriminator on image and mask that consists of convolutions with spectral normalisation.

Source: Yu et al. 2019 and its code; the activation after the last layer is confirmed by the author in issue 62 of that
repository; MODELS.md sections 1.5 and 10.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.inpaint.blocks.spectral_normalisation import SpectralConv2d

MAP = 4
"""Side of the last map."""


class SNPatchGAN(nn.Module):
    """5x5 convolutions of stride 2 down to 4x4, all followed by leaky ReLU; every value of the last map is a score.

    At 256 px: 64, 128, 256, 256, 256, 256 channels, 5.95 M parameters.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        halvings = (size // MAP).bit_length() - 1
        channels = [4, *(width * min(2**level, 4) for level in range(halvings))]
        self.layers = nn.ModuleList(SpectralConv2d(*pair, 5, stride=2, padding=2) for pair in pairwise(channels))

    def forward(self, image_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """Scores (b, 16 c) of images in [0, 1]."""
        x_bchw = torch.cat([image_b3hw * 2 - 1, mask_b1hw], 1)
        for layer in self.layers:
            x_bchw = F.leaky_relu(layer(x_bchw), 0.2)
        return x_bchw.flatten(1)
