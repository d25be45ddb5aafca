"""A small network that corrects the fill of `onion_peel`: it starts as that fill and learns what is missing."""

import torch
from torch import nn

from trainables.inpaint.methods.onion_peel.network import OnionPeel


class ResidualNetwork(nn.Module):
    def __init__(self, width: int = 32, depth: int = 4):
        super().__init__()
        self.fill = OnionPeel()
        layers = [nn.Conv2d(4, width, 3, padding=1), nn.ReLU()]
        for level in range(depth):
            dilation = 2 ** (level % 3)
            layers += [nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
        last = nn.Conv2d(width, 3, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.correction = nn.Sequential(*layers, last)

    def forward(self, image, mask):
        filled = self.fill(image, mask)
        return filled + mask * self.correction(torch.cat([filled, mask], 1))
