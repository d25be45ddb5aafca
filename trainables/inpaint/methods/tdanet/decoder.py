"""The decoder of TDANet, from a latent code to images of several sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.inpaint.methods.tdanet.attention import PlaceAttention
from trainables.inpaint.methods.tdanet.encoder import CODE
from trainables.inpaint.methods.tdanet.residual_blocks import DecoderBlock, ImageOutput, ResBlock


class TDANetDecoder(nn.Module):
    """Makes images of several sizes from a code and the features of the known region, with attention at one size."""

    def __init__(self, width: int, size: int, encoded: Sequence[int]) -> None:
        super().__init__()
        wide = 8 * width
        attended = 32 if size >= 128 else 16  # side of the map with attention, and of the smallest image
        self.level = (size // attended).bit_length() - 2  # index of the encoder's features with that side
        self.code, self.given = ResBlock(wide, wide), ResBlock(3 * wide, wide)
        sides = [CODE] if attended == 16 else []
        sides += [CODE << k for k in range(1, (size // CODE).bit_length())]
        blocks, outputs, channels, before = [], [], wide, CODE
        for side in sides:
            after = wide if side <= attended else max(width, channels // 2)
            blocks.append(DecoderBlock(channels + 3 * (before >= attended), after, up=side > before))
            outputs.append(ImageOutput(after) if side >= attended else None)
            channels, before = after, side
        self.blocks = nn.ModuleList(blocks)
        self.outputs = nn.ModuleList(output for output in outputs if output is not None)
        self.attention = PlaceAttention(wide, encoded[self.level])

    def forward(
        self, code_bchw: Tensor, given_bchw: Tensor, encoded: Sequence[Tensor], mask_b1hw: Tensor
    ) -> list[Tensor]:
        """Images in [-1, 1], smallest first.

        given_bchw: inferred features of the known region, the sentence and the words, concatenated.
        """
        x_bchw = self.code(code_bchw) + self.given(given_bchw)
        early = len(self.blocks) - len(self.outputs)
        for block in self.blocks[: early + 1]:
            x_bchw = block(x_bchw)
        hole_b1hw = F.adaptive_avg_pool2d(mask_b1hw, x_bchw.shape[-1])
        x_bchw = self.attention(x_bchw, encoded[self.level], hole_b1hw)
        images = [self.outputs[0](x_bchw)]
        for block, output in zip(self.blocks[early + 1 :], self.outputs[1:], strict=True):
            x_bchw = block(torch.cat([x_bchw, images[-1]], 1))
            images.append(output(x_bchw))
        return images
