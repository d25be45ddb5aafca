"""The fill from the border inwards."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.inpaint.methods.onion_peel.config import Config


class OnionPeel(nn.Module):
    """The fill; it has no parameters.

    rings: the most rings to fill; pixels further inside become grey (0.5). None: until no hole is left, so each pass
    needs one device synchronisation. With a number, none does, as the training step of a network requires.
    """

    def __init__(self, rings: int | None = None) -> None:
        super().__init__()
        self.rings = rings

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw in [0, 1]; known pixels are unchanged."""
        hole = mask_b1hw > 0.5
        empty_b111 = hole.all(dim=3, keepdim=True).all(dim=2, keepdim=True)
        known = (~hole | empty_b111).to(damaged_b3hw.dtype)
        image = damaged_b3hw.where(~empty_b111, 0.5) * known
        may_ask = self.rings is None or known.device.type == "cpu"  # a CPU answers without waiting
        # Without a limit, this ends because every remaining hole touches a known pixel.
        for _ in itertools.count() if self.rings is None else range(self.rings):
            if may_ask and known.all():
                break
            # Weighted sums of the three colours and of the weights; the hole pixel itself is 0 in all four.
            around = _neighbours(torch.cat([image, known], 1))
            colour, weight = around[:, :3], around[:, 3:]
            ring = (known == 0) & (weight > 0)
            image = (colour / weight.clamp(min=1)).where(ring, image)
            known = known.masked_fill(ring, 1)
        return image if self.rings is None else image.where(known > 0, 0.5)


def _neighbours(x_bchw: Tensor) -> Tensor:
    """Sums with weights 1-2-1 along rows and columns, with zero padding."""
    x = F.pad(x_bchw, (1, 1, 1, 1))
    x = x[:, :, :-2] + 2 * x[:, :, 1:-1] + x[:, :, 2:]
    return x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]


def build(config: Config, size: int) -> nn.Module:  # noqa: ARG001 - signature shared by all models
    """Build the fill; any size."""
    return OnionPeel()
