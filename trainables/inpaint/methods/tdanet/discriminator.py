"""The discriminator of TDANet."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.inpaint.methods.tdanet.attention import PlaceAttention
from trainables.inpaint.methods.tdanet.encoder import CODE
from trainables.inpaint.methods.tdanet.residual_blocks import ResBlock, conv


class TDANetDiscriminator(nn.Module):
    """Residual blocks down to 8x8 with one self-attention layer, and a map of 6x6 scores."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        halvings = (size // CODE).bit_length() - 1
        channels = [width * min(2**level, 4) for level in range(halvings)]
        blocks: list[nn.Module] = [ResBlock(3, width, down=True, first=True)]
        for level in range(1, halvings):
            blocks.append(ResBlock(channels[level - 1], channels[level], channels[level - 1], down=True))
            if level == min(2, halvings - 1):
                blocks.append(PlaceAttention(channels[level]))
        self.blocks = nn.Sequential(*blocks, ResBlock(channels[-1], 4 * width, channels[-1]))
        self.last = conv(4 * width, 1, padding=0)

    def forward(self, image_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """Scores (b, 1, 6, 6) of images in [0, 1]."""
        scores: Tensor = self.last(F.leaky_relu(self.blocks(image_b3hw * 2 - 1), 0.1))
        return scores
