"""The fill with the mean of the known pixels."""

from __future__ import annotations

from torch import Tensor, nn

from trainables.inpaint.methods.mean_fill.config import Config


class MeanFill(nn.Module):
    """The fill; it has no parameters."""

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw in [0, 1]; known pixels are unchanged."""
        valid = 1 - mask_b1hw
        known = valid.sum((2, 3), keepdim=True)
        mean = (damaged_b3hw * valid).sum((2, 3), keepdim=True) / known.clamp(min=1)
        return damaged_b3hw.where(mask_b1hw < 0.5, mean.where(known > 0, 0.5))


def build(config: Config, size: int) -> nn.Module:  # noqa: ARG001 - signature shared by all models
    """Build the fill; any size."""
    return MeanFill()
