"""Sharpness of fills relative to the original images: the variance of the Laplacian, a usual measure of focus.

    sharpness   mean over images of the variance of the Laplacian inside the hole of the composite, divided by that of
                the original images. 1: as sharp as the images; below 1: blurrier; above 1: sharper, or noisier, which
                the measure does not tell apart

Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy: a comparative study", of grey values with the
Laplacian of four neighbours, as in `trainables.forgery.composites.sharpness`. Hole pixels next to a known one, whose
Laplacian depends on it, are left out if the hole has others. The means are divided, not averaged as ratios, because an
original without any texture in its hole would make its ratio infinite.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.inpaint.evaluation.metrics import seam

NAME = "sharpness"
_GREY = (0.299, 0.587, 0.114)
_LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))


class Sharpness:
    """Accumulates the metric over a split, batch by batch."""

    def __init__(self) -> None:
        self._sums = torch.zeros(2, dtype=torch.float64)
        """Sum over images of the variance in the holes: of composites, of original images."""

    def update(self, composite_b3hw: Tensor, image_b3hw: Tensor, mask_b1hw: Tensor) -> None:
        """Add a batch; images in [0, 1], those without a hole add nothing."""
        inner_b1hw = mask_b1hw - seam(mask_b1hw)
        has_inner = inner_b1hw.flatten(1).any(1).view(-1, 1, 1, 1)
        where_b1hw = torch.where(has_inner, inner_b1hw, mask_b1hw).double()
        pair = torch.stack([_variances(images, where_b1hw).sum() for images in (composite_b3hw, image_b3hw)])
        self._sums = self._sums.to(pair.device) + pair

    def compute(self) -> float | None:
        """The metric; None if no original image has texture in a hole."""
        filled, original = self._sums.tolist()
        return filled / original if original > 0 else None


def _variances(image_b3hw: Tensor, where_b1hw: Tensor) -> Tensor:
    """The variance of the Laplacian over the pixels at which `where_b1hw` is 1, (b,); 0 without such pixels."""
    image_b3hw = image_b3hw.double().clamp(0, 1)
    grey_b1hw = (image_b3hw * image_b3hw.new_tensor(_GREY).view(3, 1, 1)).sum(1, keepdim=True)
    kernel = image_b3hw.new_tensor(_LAPLACIAN).view(1, 1, 3, 3)
    laplacian_b1hw = F.conv2d(F.pad(grey_b1hw, (1, 1, 1, 1), mode="reflect"), kernel)
    pixels = where_b1hw.sum((1, 2, 3)).clamp(min=1)
    mean = (laplacian_b1hw * where_b1hw).sum((1, 2, 3)) / pixels
    centred = (laplacian_b1hw - mean.view(-1, 1, 1, 1)) * where_b1hw
    return centred.square().sum((1, 2, 3)) / pixels
