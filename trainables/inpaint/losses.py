"""Reconstruction losses. Every public function is a term that a sweep file can weight under `loss:`.

A term returns a scalar tensor, a mean over the images of the batch, or (sum, count) if the number of elements that it
averages over depends on the masks. It takes its inputs by name: prediction_b3hw and target_b3hw in the value range of
the model, mask_b1hw (1 in the holes), known_weight, and features (`trainables.inpaint.perceptual_features`), for which
a trained classifier is loaded. All terms are averaged over elements, so a weight has the same meaning at every image
size and batch size.

`l1` and `l2` are means over all elements. known_weight multiplies the error of the known pixels and does not change the
denominator: it is the weight of the overlap ring of Pathak et al. 2016 (10 there). `l1_hole`, `l2_hole` and `l1_valid`
are means over the elements (pixels times channels) of the holes or of the known pixels of the whole batch, and 0 if
there are none.

`valid`, `hole`, `tv`, `perceptual` and `style` are the terms of Liu et al. 2018, "Image Inpainting for Irregular Holes
Using Partial Convolutions", with the denominators of that paper: `valid` and `hole` are divided by the number of all
elements, so that they add up to `l1`. The published weights 1, 6, 0.1, 0.05 and 120 can be used unchanged. Adversarial
terms are computed by the discriminators of a model: see `trainables.inpaint.adversarial`.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from trainables.inpaint.perceptual_features import Features
from trainables.training.terms import Term


def l1(prediction_b3hw: Tensor, target_b3hw: Tensor, mask_b1hw: Tensor, known_weight: float = 1.0) -> Tensor:
    """Mean absolute error over the whole image."""
    return _mean((prediction_b3hw - target_b3hw).abs(), mask_b1hw, known_weight)


def l2(prediction_b3hw: Tensor, target_b3hw: Tensor, mask_b1hw: Tensor, known_weight: float = 1.0) -> Tensor:
    """Mean squared error over the whole image."""
    return _mean((prediction_b3hw - target_b3hw).square(), mask_b1hw, known_weight)


def l1_hole(prediction_b3hw: Tensor, target_b3hw: Tensor, mask_b1hw: Tensor) -> Term:
    """Mean absolute error over the holes."""
    return _over(mask_b1hw, (prediction_b3hw - target_b3hw).abs())


def l2_hole(prediction_b3hw: Tensor, target_b3hw: Tensor, mask_b1hw: Tensor) -> Term:
    """Mean squared error over the holes."""
    return _over(mask_b1hw, (prediction_b3hw - target_b3hw).square())


def l1_valid(prediction_b3hw: Tensor, target_b3hw: Tensor, mask_b1hw: Tensor) -> Term:
    """Mean absolute error over the known pixels."""
    return _over(1 - mask_b1hw, (prediction_b3hw - target_b3hw).abs())


# --- Liu et al. 2018 --------------------------------------------------------------------------------------------------


def valid(prediction_b3hw: Tensor, target_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Absolute error of the known pixels, divided by all elements."""
    return ((prediction_b3hw - target_b3hw).abs() * (1 - mask_b1hw)).mean()


def hole(prediction_b3hw: Tensor, target_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Absolute error of the holes, divided by all elements."""
    return ((prediction_b3hw - target_b3hw).abs() * mask_b1hw).mean()


def tv(prediction_b3hw: Tensor, target_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Total variation of the composite: absolute differences of neighbouring pixels, divided by all elements.

    Counts pairs of pixels that both lie in the hole dilated by one pixel (3x3), which includes the seam.
    """
    composite_b3hw = target_b3hw + (prediction_b3hw - target_b3hw) * mask_b1hw
    region_b1hw = F.max_pool2d(mask_b1hw, 3, 1, 1)
    across = composite_b3hw.diff(dim=3).abs() * (region_b1hw[..., 1:] * region_b1hw[..., :-1])
    down = composite_b3hw.diff(dim=2).abs() * (region_b1hw[..., 1:, :] * region_b1hw[..., :-1, :])
    return (across.sum() + down.sum()) / composite_b3hw.numel()


def perceptual(features: Features) -> Tensor:
    """L1 distance of feature maps from those of the truth: output plus composite, summed over levels."""
    total = features.zero
    for output, composite, truth in features:
        total = total + (output - truth).abs().mean() + (composite - truth).abs().mean()
    return total


def style(features: Features) -> Tensor:
    """L1 distance of Gram matrices from those of the truth: output plus composite, summed over levels."""
    total = features.zero
    for level in features:
        output, composite, truth = (_gram(maps) for maps in level)
        total = total + (output - truth).abs().mean() + (composite - truth).abs().mean()
    return total


def _gram(maps_bchw: Tensor) -> Tensor:
    """Gram matrices (b, c, c) of the channels, divided by c h w; scaled before the product to avoid overflow."""
    maps_bcp: Tensor = maps_bchw.flatten(2) / math.sqrt(maps_bchw.shape[1:].numel())
    return maps_bcp @ maps_bcp.transpose(1, 2)


def _mean(error_bchw: Tensor, mask_b1hw: Tensor, known_weight: float) -> Tensor:
    if known_weight == 1:
        return error_bchw.mean()
    return (error_bchw * (known_weight + (1 - known_weight) * mask_b1hw)).mean()


def _over(region_b1hw: Tensor, error_bchw: Tensor) -> Term:
    """Sum of the errors in a region, and the number of its elements."""
    return (error_bchw * region_b1hw).sum(), region_b1hw.sum() * error_bchw.shape[1]
