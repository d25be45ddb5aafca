"""The plain autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.inpaint.methods.vanilla_autoencoder.config import Config


class VanillaAutoencoder(nn.Module):
    """log2(size) levels of convolution, 2x2 max pooling and ReLU down to 1x1, and as many transposed convolutions."""

    def __init__(self, config: Config, levels: int) -> None:
        super().__init__()
        self.see_mask = config.see_mask
        widths = [config.width * min(2**level, 16) for level in range(levels)]
        down: list[nn.Module] = []
        for inputs, outputs in zip([4 if config.see_mask else 3, *widths], widths, strict=False):
            down += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(inplace=True)]
        up: list[nn.Module] = []
        for inputs, outputs in zip(widths[::-1], [*widths[-2::-1], 3], strict=True):
            up += [nn.ConvTranspose2d(inputs, outputs, 2, stride=2), nn.ReLU(inplace=True)]
        up[-1] = nn.Sigmoid()
        self.encoder = nn.Sequential(*down)
        self.decoder = nn.Sequential(*up)

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw in [0, 1]."""
        seen = torch.cat([damaged_b3hw, mask_b1hw], 1) if self.see_mask else damaged_b3hw
        image: Tensor = self.decoder(self.encoder(seen))
        return image


def build(config: Config, size: int) -> nn.Module:
    """Build the network for images of size x size px. Raises TrialError like `Config.check_size`."""
    config.check_size(size)
    return VanillaAutoencoder(config, levels=size.bit_length() - 1)
