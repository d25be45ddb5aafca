"""Output of a detector for a batch of images."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class DetectorOutput(NamedTuple):
    """Predictions for b images; fields that the detector's head does not predict are None."""

    logit_b: Tensor
    """Logit of "inpainted"; above 0 means inpainted."""
    box_b4: Tensor | None = None
    """x1 y1 x2 y2 as fractions of the image's sides, unprocessed: corners may be swapped or outside the image."""
    mask_logit_b1hw: Tensor | None = None
    """Logit of each pixel being inpainted, at the size of the input."""
    feature_bf: Tensor | None = None
    """Input of the last layer; for a mask head, its mean over the pixels."""
