"""Attention of TDANet: between the positions of a map, and from the positions of a region to words.

Source: the released code as described in MODELS.md section 2.1. `residual_blocks.py` describes the initialisation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.inpaint.methods.tdanet.residual_blocks import ResBlock, orthogonal
from trainables.training.precision import as_given, full


class PlaceAttention(nn.Module):
    """Self-attention over positions ("short-term"), optionally also over the features of an encoder ("long-term")."""

    def __init__(self, channels: int, encoded: int = 0) -> None:
        """encoded: channels of the encoder's features; 0 for short-term attention only, without a block after it."""
        super().__init__()
        self.query = orthogonal(nn.Conv2d(channels, max(1, channels // 4), 1))
        self.gamma = nn.Parameter(torch.zeros(1))
        if encoded:
            self.alpha = nn.Parameter(torch.zeros(1))
            self.joined = ResBlock(channels + encoded, channels, channels, slope=0.01)

    def forward(self, x_bchw: Tensor, encoded_bchw: Tensor | None = None, mask_b1hw: Tensor | None = None) -> Tensor:
        """mask_b1hw: fraction of hole at each position; the encoder has not seen the holes."""
        with as_given(x_bchw.device):
            query_bcl = full(self.query(full(x_bchw))).flatten(2)
            weight_bll = (query_bcl.transpose(1, 2) @ query_bcl).softmax(2)  # target position, source position
            attended_bchw = _attend(x_bchw, weight_bll)
            x_bchw = full(x_bchw) + self.gamma * attended_bchw
            if encoded_bchw is None:
                return x_bchw
            assert mask_b1hw is not None
            filled_bchw = self.alpha * _attend(encoded_bchw, weight_bll)
            context_bchw = mask_b1hw * filled_bchw + (1 - mask_b1hw) * full(encoded_bchw)
        joined_bchw: Tensor = self.joined(torch.cat([x_bchw, context_bchw], 1))
        return joined_bchw


def _attend(x_bchw: Tensor, weight_bll: Tensor) -> Tensor:
    """The weighted mean of the features of all positions, at each position."""
    return (full(x_bchw).flatten(2) @ weight_bll.transpose(1, 2)).view_as(x_bchw)


class WordAttention(nn.Module):
    """Attention of the positions of an image region to words, by similarity or, with `inverse`, by dissimilarity.

    Inverse attention is for the known region: the words that it does not explain describe the hole.
    """

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.project = orthogonal(nn.Conv2d(channels, features, 1, bias=False))

    def forward(
        self, x_bchw: Tensor, words_bct: Tensor, there_bt: Tensor, region_b1hw: Tensor, inverse: bool
    ) -> Tensor:
        """Word features attended to by the positions of the region, max-pooled over the region: (b, features).

        there_bt: True for tokens that are words.
        region_b1hw: 1 inside the region.

        The result is 0 for an image without words or with an empty region.
        """
        with as_given(x_bchw.device):
            score_blt = self.project(full(x_bchw)).flatten(2).transpose(1, 2) @ words_bct
            if inverse:
                score_blt = -score_blt
            share_blt = score_blt.masked_fill(~there_bt.unsqueeze(1), -1e9).softmax(2)
            attended_bcl = words_bct @ share_blt.transpose(1, 2)
            outside_b1l = region_b1hw.flatten(2) == 0
            pooled_bc = attended_bcl.masked_fill(outside_b1l, -1e9).amax(2)
            word_features_bc: Tensor = pooled_bc * (there_bt.any(1, keepdim=True) & ~outside_b1l.all(2))
            return word_features_bc
