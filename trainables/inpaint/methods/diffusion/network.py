"""The U-Net that predicts velocities, and the sampler."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.inpaint.method import Method, Setup
from trainables.inpaint.methods.diffusion.blocks import GlobalAttention, TimedBlock, group_norm, near_zero
from trainables.inpaint.methods.diffusion.config import Config
from trainables.inpaint.methods.diffusion.flow_matching import FlowMatching
from trainables.training.precision import full

BLOCKS = 2
"""Residual blocks of each level, in the encoder and in the decoder."""
FREQUENCIES = 32
"""Frequencies of the time embedding, each as a sine and a cosine."""


class DiffusionUNet(nn.Module):
    """A U-Net that predicts velocities, and the sampler that fills holes with it.

    Levels from the image down to 8x8, `BLOCKS` residual blocks each, with attention on the smallest map.
    """

    def __init__(self, config: Config, size: int) -> None:
        super().__init__()
        self.steps = config.steps
        levels = max(2, size.bit_length() - 3)
        widths = [config.width * min(2**level, 4) for level in range(levels)]
        embedding = 4 * config.width
        self.time = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.first = nn.Conv2d(7, widths[0], 3, padding=1)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            self.encoder.append(nn.ModuleList(TimedBlock(width, width, embedding) for _ in range(BLOCKS)))
            inputs = [2 * width, *[width] * (BLOCKS - 1)]
            self.decoder.append(nn.ModuleList(TimedBlock(n, width, embedding) for n in inputs))
            if level + 1 < levels:
                self.down.append(nn.Conv2d(width, widths[level + 1], 3, stride=2, padding=1))
                self.up.append(nn.Conv2d(widths[level + 1], width, 3, padding=1))
        self.middle = nn.ModuleList(TimedBlock(widths[-1], widths[-1], embedding) for _ in range(2))
        self.attention = GlobalAttention(widths[-1])
        self.last = nn.Sequential(group_norm(widths[0]), nn.SiLU(), near_zero(nn.Conv2d(widths[0], 3, 3, padding=1)))

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """image_b3hw in [0, 1] from `steps` Euler steps; known pixels are returned as given.

        generator: a CPU generator, whatever the device of the network, that draws the noise; None begins at zero.
        """
        noisy_b3hw = torch.zeros_like(damaged_b3hw)
        if generator is not None:
            noisy_b3hw = torch.randn(damaged_b3hw.shape, generator=generator).to(damaged_b3hw)
        for step in range(self.steps):
            time_1 = damaged_b3hw.new_full((1,), step / self.steps)
            velocity_b3hw = full(self.velocity(noisy_b3hw, damaged_b3hw, mask_b1hw, time_1))
            noisy_b3hw = noisy_b3hw + velocity_b3hw / self.steps
        return torch.where(mask_b1hw > 0.5, (noisy_b3hw * 0.5 + 0.5).clamp(0, 1), damaged_b3hw)

    def velocity(self, noisy_b3hw: Tensor, damaged_b3hw: Tensor, mask_b1hw: Tensor, time_b: Tensor) -> Tensor:
        """The predicted velocity (b, 3, h, w), which has a meaning inside the holes.

        noisy_b3hw: the state of the holes in [-1, 1] plus noise; known pixels are ignored. damaged_b3hw: in [0, 1].
        time_b: in [0, 1), one for each image or a single one for all.
        """
        time_be = self.time(_sinusoids(time_b))
        known_b3hw = (damaged_b3hw * 2 - 1) * (1 - mask_b1hw)
        x_bchw = self.first(torch.cat([noisy_b3hw * mask_b1hw, known_b3hw, mask_b1hw], 1))
        skips = []
        for level, blocks in enumerate(self.encoder):
            x_bchw = _through(blocks, self.down[level - 1](x_bchw) if level else x_bchw, time_be)
            skips.append(x_bchw)
        x_bchw = self.middle[1](self.attention(self.middle[0](x_bchw, time_be)), time_be)
        for level in reversed(range(len(skips))):
            x_bchw = _through(self.decoder[level], torch.cat([x_bchw, skips[level]], 1), time_be)
            if level:
                x_bchw = self.up[level - 1](F.interpolate(x_bchw, scale_factor=2, mode="nearest"))
        velocity_b3hw: Tensor = self.last(x_bchw)
        return velocity_b3hw


def _through(blocks: Any, x_bchw: Tensor, time_be: Tensor) -> Tensor:
    for block in blocks:
        x_bchw = block(x_bchw, time_be)
    return x_bchw


def _sinusoids(time_b: Tensor) -> Tensor:
    """Sines and cosines (b, 2 FREQUENCIES) of the times in thousandths, as for the steps of Ho et al. 2020."""
    exponent_f = torch.arange(FREQUENCIES, dtype=time_b.dtype, device=time_b.device) / FREQUENCIES
    angle_bf = 1000 * time_b[:, None] * torch.exp(-math.log(10_000) * exponent_f)
    return torch.cat([angle_bf.sin(), angle_bf.cos()], 1)


def build(config: Config, size: int) -> nn.Module:
    """Build the network for images of size x size px. Raises TrialError like `Config.check_size`."""
    config.check_size(size)
    return DiffusionUNet(config, size)


def method(setup: Setup) -> Method:
    return FlowMatching(setup)
