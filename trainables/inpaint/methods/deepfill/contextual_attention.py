"""Contextual attention: every position of a map is rebuilt from the similar patches outside the hole.

Source: Yu et al. 2018, "Generative Image Inpainting with Contextual Attention", in the form of DeepFill v2's code;
MODELS.md section 1.5. That code uses one mask for the whole batch and loops over the images; here every image has its
own mask, and the batch is processed at once.

Legend: b images, c channels, H = W side of the map, r rate, h = w = H / r side of the map on which positions are
compared, l = h w positions, k = 9 c elements of a compared patch, p = 4 r r c elements of a pasted patch.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from trainables.training.precision import as_given, full

SHARPNESS = 10.0
"""Factor of the scores before the softmax."""


def contextual_attention(x_bchw: Tensor, mask_b1hw: Tensor, rate: int) -> Tensor:
    """(b, c, H, W) float32: the mean of the patches outside the hole at each position, weighted by similarity.

    mask_b1hw: 1 where the map belongs to the hole. A patch that touches the hole has score 0 in the softmax, and its
    weight is then set to 0; if all patches touch it, the output is 0. Patches of 2 r x 2 r pixels are pasted every r
    pixels, so that four overlap at each pixel.
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
    """weight_bll: weight of the patch at a source position (second axis) for a target position (third axis)."""
    side = x_bchw.shape[2]
    patch_bkl = F.unfold(x_bchw, 3, padding=1)
    pattern_bkl = patch_bkl / patch_bkl.norm(dim=1, keepdim=True).clamp(min=1e-4)
    score_bll = fuse(pattern_bkl.transpose(1, 2) @ patch_bkl, side)
    known_bl1 = (F.unfold(hole_b1hw, 3, padding=1).amax(1) == 0).unsqueeze(2).to(score_bll)
    return (score_bll * known_bl1 * SHARPNESS).softmax(1) * known_bl1


def fuse(score_bll: Tensor, side: int) -> Tensor:
    """Add the scores of the pairs shifted together by one position, first along the rows, then along the columns.

    This favours rebuilding neighbours from neighbours. As published, the last position of a row and the first of the
    next row count as neighbours.
    """
    return _transposed(_diagonal(_transposed(_diagonal(score_bll), side)), side)


def _diagonal(score_bll: Tensor) -> Tensor:
    """Sum of each score and its two neighbours along the diagonal: a convolution with a 3x3 identity matrix."""
    total_bll = score_bll.clone()
    total_bll[:, 1:, 1:] += score_bll[:, :-1, :-1]
    total_bll[:, :-1, :-1] += score_bll[:, 1:, 1:]
    return total_bll


def _transposed(score_bll: Tensor, side: int) -> Tensor:
    """Reorder both position axes from row-major to column-major order, or back."""
    b, positions, _ = score_bll.shape
    return score_bll.view(b, side, side, side, side).permute(0, 2, 1, 4, 3).reshape(b, positions, positions)
