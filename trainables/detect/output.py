"""What a detector says of a batch of images."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Found(NamedTuple):
    """logit_b: above 0 where it says inpainted. The others are None where its head does not give them."""

    logit_b: Tensor
    box_b4: Tensor | None = None
    """x1 y1 x2 y2 in [0, 1] of the image's sides, as the network gives them: corners may be swapped or outside."""
    mask_logit_b1hw: Tensor | None = None
    """Above 0 in the pixels that it says were filled; of the size of its input."""
    feature_bf: Tensor | None = None
    """What its last layer sees; of a mask, the mean over the pixels."""
