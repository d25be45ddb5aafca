"""Loss terms of detectors. Each returns one value per image; the task takes the mean.

The name of the first argument determines the images of the mean: all images for `logit_b` and `mask_logit_b1hw`; the n
images with a box (all images with `boxes.over: all`) for `box_b4`, as the sum divided by max(1, n). Boxes are in the
unit of `boxes.units`; `beta` is `boxes.beta` in that unit. Sources: 000_0d9f1f22a9376145 and MODELS.md section 1.3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.detect import boxes


def bce(logit_b: Tensor, label_b: Tensor) -> Tensor:
    """Binary cross-entropy of the label, nats."""
    return F.binary_cross_entropy_with_logits(logit_b.float(), label_b, reduction="none")


# --- boxes by their corners -------------------------------------------------------------------------------------------


def mse(box_b4: Tensor, true_b4: Tensor) -> Tensor:
    """Mean of the four squared differences. It is 212.5 for the second example of document 000, which states 225."""
    return (box_b4.float() - true_b4).square().mean(1)


def l1(box_b4: Tensor, true_b4: Tensor) -> Tensor:
    """Mean of the four absolute differences."""
    return (box_b4.float() - true_b4).abs().mean(1)


def l2_distance(box_b4: Tensor, true_b4: Tensor) -> Tensor:
    """Euclidean norm of the four differences; its gradient is 0 where all differences are 0."""
    length_b: Tensor = torch.linalg.vector_norm(box_b4.float() - true_b4, dim=1)
    return length_b


def smooth_l1(box_b4: Tensor, true_b4: Tensor, beta: float) -> Tensor:
    """PyTorch's smooth L1, mean of four: 0.5 d^2 / beta for differences d below beta, else d - 0.5 beta."""
    return F.smooth_l1_loss(box_b4.float(), true_b4, reduction="none", beta=beta).mean(1)


def smooth_l1_seed(box_b4: Tensor, true_b4: Tensor, beta: float) -> Tensor:
    """Smooth L1 as printed in document 000: 0.5 d^2 below beta, else d - 0.5 beta^2.

    It is discontinuous at beta, by beta - beta^2, unless beta is 1.
    """
    distance_b4 = (box_b4.float() - true_b4).abs()
    return torch.where(distance_b4 < beta, 0.5 * distance_b4.square(), distance_b4 - 0.5 * beta**2).mean(1)


# --- boxes by their overlap -------------------------------------------------------------------------------------------


def iou(box_b4: Tensor, true_b4: Tensor) -> Tensor:
    """1 - IoU. Its gradient is 0 for disjoint boxes; it is included to show this."""
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
    """Binary cross-entropy of the pixels, nats."""
    return F.binary_cross_entropy_with_logits(mask_logit_b1hw.float(), mask_b1hw, reduction="none").mean((1, 2, 3))


def mask_dice(mask_logit_b1hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """1 - (2 sum pq + 1) / (sum p + sum q + 1) over an image's pixels; the 1s define it for images without a hole."""
    p_b1hw = mask_logit_b1hw.float().sigmoid()
    both, either = (p_b1hw * mask_b1hw).sum((1, 2, 3)), (p_b1hw + mask_b1hw).sum((1, 2, 3))
    return 1 - (2 * both + 1) / (either + 1)
