"""The network that corrects a fill."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.inpaint.methods.fill_refiner.config import Config
from trainables.inpaint.methods.mean_fill.network import MeanFill
from trainables.inpaint.methods.onion_peel.network import OnionPeel


class FillRefiner(nn.Module):
    """A fill without parameters, and convolutions that add a correction to it in the holes."""

    def __init__(self, config: Config, size: int) -> None:
        super().__init__()
        self.start = OnionPeel(rings=size // 2) if config.start == "onion_peel" else MeanFill()
        layers: list[nn.Module] = []
        for inputs in [4, *[config.width] * (config.depth - 2)]:
            layers += [nn.Conv2d(inputs, config.width, 3, padding=1), nn.ReLU(inplace=True)]
        last = nn.Conv2d(config.width, 3, 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.correction = nn.Sequential(*layers, last)

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw, about [0, 1]; known pixels are unchanged."""
        filled_b3hw: Tensor = self.start(damaged_b3hw, mask_b1hw)
        correction_b3hw: Tensor = self.correction(torch.cat([filled_b3hw, mask_b1hw], 1))
        return filled_b3hw + mask_b1hw * correction_b3hw


def build(config: Config, size: int) -> nn.Module:
    """Build the network; any size."""
    return FillRefiner(config, size)
