"""The blocks of the U-Net: residual blocks modulated by the time, and self-attention."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALL = 1e-3
"""Factor of the initial weights of a convolution that begins near zero."""


class TimedBlock(nn.Module):
    """A residual block of two convolutions; the time scales and shifts the features between them."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.before = nn.Sequential(group_norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.norm = group_norm(outputs)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.after = nn.Sequential(nn.SiLU(), near_zero(nn.Conv2d(outputs, outputs, 3, padding=1)))
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x_bchw: Tensor, time_be: Tensor) -> Tensor:
        """time_be: the embedded times of the images, or a single one for all images."""
        scale_bc11, shift_bc11 = self.modulation(time_be)[:, :, None, None].chunk(2, 1)
        inner_bchw = self.norm(self.before(x_bchw)) * (1 + scale_bc11) + shift_bc11
        output_bchw: Tensor = self.shortcut(x_bchw) + self.after(inner_bchw)
        return output_bchw


class GlobalAttention(nn.Module):
    """Residual self-attention with one head between all positions of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.queries_keys_values = nn.Conv2d(channels, 3 * channels, 1)
        self.output = near_zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x_bchw: Tensor) -> Tensor:
        parts_bpc = self.queries_keys_values(self.norm(x_bchw)).flatten(2).transpose(1, 2).chunk(3, 2)
        read_bpc = F.scaled_dot_product_attention(*parts_bpc)
        output_bchw: Tensor = x_bchw + self.output(read_bpc.transpose(1, 2).reshape(x_bchw.shape))
        return output_bchw


def group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(8, channels), channels)


def near_zero(conv: nn.Conv2d) -> nn.Conv2d:
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.mul_(SMALL)
    return conv
