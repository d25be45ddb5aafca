"""Contextual attention: every place of a map is rebuilt from the patches outside the hole that look like it.

Source: Yu et al. 2018, "Generative Image Inpainting with Contextual Attention", in the form of DeepFill v2's code;
MODELS.md section 1.5. There one mask serves the whole batch and images are taken one by one; here each has its own.

Legend: b images, c channels, H = W side of the map, r rate, h = w = H / r side of the map on which places are compared,
l = h w places, k = 9 c numbers of a compared patch, p = 4 r r c numbers of a pasted one.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from trainables.training.precision import as_given, full

SHARPNESS = 10.0
"""What scores are multiplied with before the softmax."""


def contextual_attention(x_bchw: Tensor, mask_b1hw: Tensor, rate: int) -> Tensor:
    """(b, c, H, W) in float32: at each place the mean of the patches outside the hole, weighted by how alike they are.

    mask_b1hw: 1 where the map belongs to the hole. Patches that touch it weigh nothing, as if they scored 0; where all
    do, the output is 0. Patches of 2 r x 2 r are pasted every r pixels, so that four lie over each.
    """
    with as_given(x_bchw.device):
        x_bchw = full(x_bchw)
        small_bchw, hole_b1hw = x_bchw[..., ::rate, ::rate], mask_b1hw[..., ::rate, ::rate].to(x_bchw)
        weight_bll = attention(small_bchw, hole_b1hw)
        side, before, after = x_bchw.shape[2], rate // 2, rate - rate // 2
        padded_bchw = F.pad(x_bchw, (before, after, before, after))
        pasted_bpl = F.unfold(padded_bchw, 2 * rate, stride=rate) @ weight_bll
        summed_bchw = F.fold(pasted_bpl, (side + rate, side + rate), 2 * rate, stride=rate)
        return summed_bchw[..., before : before + side, before : before + side] / 4


def attention(x_bchw: Tensor, hole_b1hw: Tensor) -> Tensor:
    """weight_bll: how much of the patch at a place (second axis) goes to a place (third axis)."""
    side = x_bchw.shape[2]
    patch_bkl = F.unfold(x_bchw, 3, padding=1)
    pattern_bkl = patch_bkl / patch_bkl.norm(dim=1, keepdim=True).clamp(min=1e-4)
    score_bll = fuse(pattern_bkl.transpose(1, 2) @ patch_bkl, side)
    known_bl1 = (F.unfold(hole_b1hw, 3, padding=1).amax(1) == 0).unsqueeze(2).to(score_bll)
    return (score_bll * known_bl1 * SHARPNESS).softmax(1) * known_bl1


def fuse(score_bll: Tensor, side: int) -> Tensor:
    """Scores plus those of both places moved together, by one along the rows and then by one down the columns.

    So neighbours that are rebuilt from neighbours score higher. As published, the end of a row neighbours the beginning
    of the next one.
    """
    return _transposed(_diagonal(_transposed(_diagonal(score_bll), side)), side)


def _diagonal(score_bll: Tensor) -> Tensor:
    """The sum of each score and its two neighbours along the diagonal: a convolution with a 3x3 identity."""
    total_bll = score_bll.clone()
    total_bll[:, 1:, 1:] += score_bll[:, :-1, :-1]
    total_bll[:, :-1, :-1] += score_bll[:, 1:, 1:]
    return total_bll


def _transposed(score_bll: Tensor, side: int) -> Tensor:
    """Both axes of places counted down the columns instead of along the rows, or back."""
    b, places, _ = score_bll.shape
    return score_bll.view(b, side, side, side, side).permute(0, 2, 1, 4, 3).reshape(b, places, places)
