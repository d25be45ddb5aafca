"""Reconstruction losses. Every public function is a term that a sweep file may weigh under `loss:`.

A term takes (prediction_b3hw, target_b3hw, mask_b1hw) in the model's own value range, with mask == 1 in the holes, and
returns a scalar tensor. The plain terms are means over every element, the `_hole` terms means over the hole elements
(hole pixels times channels) of the whole batch, 0 for a batch without a hole. All are size-averaged: a weight means the
same at every image size, batch size and hole fraction. `known_weight` multiplies the error of the known pixels in the
plain terms, which are not divided by it: the overlap ring of Pathak et al. 2016 (`known_weight` 10 there). The
adversarial terms come from a model's discriminators: `trainables.adversarial`.
"""

from __future__ import annotations

from torch import Tensor


def l1(prediction_b3hw: Tensor, target_b3hw: Tensor, mask_b1hw: Tensor, known_weight: float = 1.0) -> Tensor:
    """Mean absolute error over the whole image."""
    return _mean((prediction_b3hw - target_b3hw).abs(), mask_b1hw, known_weight)


def l2(prediction_b3hw: Tensor, target_b3hw: Tensor, mask_b1hw: Tensor, known_weight: float = 1.0) -> Tensor:
    """Mean squared error over the whole image."""
    return _mean((prediction_b3hw - target_b3hw).square(), mask_b1hw, known_weight)


def l1_hole(prediction_b3hw: Tensor, target_b3hw: Tensor, mask_b1hw: Tensor, known_weight: float = 1.0) -> Tensor:  # noqa: ARG001 - one signature
    """Mean absolute error over the holes."""
    return _hole_mean((prediction_b3hw - target_b3hw).abs(), mask_b1hw)


def l2_hole(prediction_b3hw: Tensor, target_b3hw: Tensor, mask_b1hw: Tensor, known_weight: float = 1.0) -> Tensor:  # noqa: ARG001 - one signature
    """Mean squared error over the holes."""
    return _hole_mean((prediction_b3hw - target_b3hw).square(), mask_b1hw)


def _mean(error_bchw: Tensor, mask_b1hw: Tensor, known_weight: float) -> Tensor:
    if known_weight == 1:
        return error_bchw.mean()
    return (error_bchw * (known_weight + (1 - known_weight) * mask_b1hw)).mean()


def _hole_mean(error_bchw: Tensor, mask_b1hw: Tensor) -> Tensor:
    elements = mask_b1hw.sum() * error_bchw.shape[1]
    return (error_bchw * mask_b1hw).sum() / elements.clamp(min=1)  # no hole: 0 / 1, without asking the device
