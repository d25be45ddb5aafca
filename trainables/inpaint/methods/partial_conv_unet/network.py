"""The U-Net of partial convolutions."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.inpaint.blocks.partial_convolution import PartialConv2d
from trainables.inpaint.methods.partial_conv_unet.config import Config


class PartialConvUNet(nn.Module):
    """log2(size) encoder levels down to 1x1 (stride 2), and as many decoder levels (upsampling, skip, convolution).

    With plain convolutions the mask is a fourth input channel, and all pixels count as valid, so that the layers differ
    from `Conv2d` at the border alone.
    """

    def __init__(self, config: Config, levels: int) -> None:
        super().__init__()
        self.plain = config.convolution == "plain"
        widths = [3 + self.plain, *(config.width * min(2**level, 16) for level in range(levels))]
        self.down = nn.ModuleList(
            PartialConv2d((inputs,), outputs, 3, stride=2, padding=1) for inputs, outputs in pairwise(widths)
        )
        self.down_norm = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        # A decoder level takes the upsampled features and the encoder's features of the same size, each with its mask.
        self.up = nn.ModuleList(
            PartialConv2d((below, skip), outputs, 3, padding=1)
            for below, skip, outputs in zip(widths[:0:-1], widths[-2::-1], [*widths[-2:0:-1], 3], strict=True)
        )
        self.up_norm = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[-2:0:-1])

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw, unbounded; 0 for an image that is all hole, unless convolutions are plain."""
        x, valid = damaged_b3hw, 1 - mask_b1hw  # 1 means valid from here on
        if self.plain:
            x, valid = torch.cat([x, mask_b1hw], 1), torch.ones_like(valid)
        skips = []
        for conv, norm in zip(self.down, self.down_norm, strict=True):
            skips.append((x, valid))
            x, valid = conv(x, valid)
            x = F.relu(norm(x), inplace=True)
        for level, conv in enumerate(self.up):
            skip, skip_valid = skips.pop()
            x, valid = (F.interpolate(t, scale_factor=2, mode="nearest") for t in (x, valid))
            x, valid = conv(torch.cat([x, skip], 1), torch.cat([valid, skip_valid], 1))
            if level < len(self.up_norm):
                x = F.leaky_relu(self.up_norm[level](x), 0.2, inplace=True)
        return x


def build(config: Config, size: int) -> nn.Module:
    """Build the network for images of size x size px. Raises TrialError like `Config.check_size`."""
    config.check_size(size)
    return PartialConvUNet(config, levels=size.bit_length() - 1)
