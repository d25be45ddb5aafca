"""Loss terms of detectors: each gives one value an image, of which the task takes the mean.

The first argument's name says over what: `logit_b` and `mask_logit_b1hw` over all images; `box_b4` over the n images
that have a box (or all, if `boxes.over` says so), the sum divided by max(1, n). Boxes come in the unit of
`boxes.units`; `beta` is `boxes.beta` in that unit. Sources: 000_0d9f1f22a9376145 and MODELS.md section 1.3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.detect import boxes


def bce(logit_b: Tensor, label_b: Tensor) -> Tensor:
    """Binary cross entropy of the label, nats."""
    return F.binary_cross_entropy_with_logits(logit_b.float(), label_b, reduction="none")


# --- boxes by their corners -------------------------------------------------------------------------------------------


def mse(box_b4: Tensor, true_b4: Tensor) -> Tensor:
    """Mean of the four squared differences; 212.5 for the second example of 000, which says 225."""
    return (box_b4.float() - true_b4).square().mean(1)


def l1(box_b4: Tensor, true_b4: Tensor) -> Tensor:
    """Mean of the four absolute differences."""
    return (box_b4.float() - true_b4).abs().mean(1)


def l2_distance(box_b4: Tensor, true_b4: Tensor) -> Tensor:
    """Euclidean length of the four differences; its gradient is 0 where they are."""
    length_b: Tensor = torch.linalg.vector_norm(box_b4.float() - true_b4, dim=1)
    return length_b


def smooth_l1(box_b4: Tensor, true_b4: Tensor, beta: float) -> Tensor:
    """As torch's: 0.5 d^2 / beta for differences d below beta, else d - 0.5 beta; the mean of four."""
    return F.smooth_l1_loss(box_b4.float(), true_b4, reduction="none", beta=beta).mean(1)


def smooth_l1_seed(box_b4: Tensor, true_b4: Tensor, beta: float) -> Tensor:
    """As 000 prints it: 0.5 d^2 below beta, else d - 0.5 beta^2. It jumps by beta - beta^2 at beta unless that is 1."""
    distance_b4 = (box_b4.float() - true_b4).abs()
    return torch.where(distance_b4 < beta, 0.5 * distance_b4.square(), distance_b4 - 0.5 * beta**2).mean(1)


# --- boxes by their overlap -------------------------------------------------------------------------------------------


def iou(box_b4: Tensor, true_b4: Tensor) -> Tensor:
    """1 - IoU. Boxes that do not meet give it no gradient: it is here to show that."""
    return 1 - boxes.iou(box_b4, true_b4)


def giou(box_b4: Tensor, true_b4: Tensor) -> Tensor:
    """1 - generalised IoU, in [0, 2]."""
    return 1 - boxes.giou(box_b4, true_b4)


def diou(box_b4: Tensor, true_b4: Tensor) -> Tensor:
    """1 - distance IoU."""
    return 1 - boxes.diou(box_b4, true_b4)


def ciou(box_b4: Tensor, true_b4: Tensor) -> Tensor:
    """1 - complete IoU."""
    return 1 - boxes.ciou(box_b4, true_b4)


# --- masks ------------------------------------------------------------------------------------------------------------


def mask_bce(mask_logit_b1hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Binary cross entropy of the pixels, nats."""
    return F.binary_cross_entropy_with_logits(mask_logit_b1hw.float(), mask_b1hw, reduction="none").mean((1, 2, 3))


def mask_dice(mask_logit_b1hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """1 - (2 sum pq + 1) / (sum p + sum q + 1) of an image's pixels, so that an image without a hole counts too."""
    p_b1hw = mask_logit_b1hw.float().sigmoid()
    both, either = (p_b1hw * mask_b1hw).sum((1, 2, 3)), (p_b1hw + mask_b1hw).sum((1, 2, 3))
    return 1 - (2 * both + 1) / (either + 1)
