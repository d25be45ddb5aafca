"""High-pass filters. They suppress image content, so that the traces of a fill in the noise stand out.

Sources: Fridrich & Kodovsky 2012 (rich models; the three kernels used by Zhou et al. 2018), Bayar & Stamm 2018.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TRUNCATED = 3.0
"""SRM residuals are clipped to plus or minus this many grey levels, as in the rich models."""


def srm_kernels() -> Tensor:
    """Second-order, third-order (5x5, /12 and /4) and line (/2) residuals, (3, 1, 5, 5); each sums to 0."""
    square = [[0, 0, 0, 0, 0], [0, -1, 2, -1, 0], [0, 2, -4, 2, 0], [0, -1, 2, -1, 0], [0, 0, 0, 0, 0]]
    large = [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]
    line = [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, -2, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    kernels = [torch.tensor(k, dtype=torch.float32) / q for k, q in ((square, 4), (large, 12), (line, 2))]
    return torch.stack(kernels).unsqueeze(1)


class Srm(nn.Module):
    """Three fixed SRM residuals of the channel mean, scaled to [-1, 1]."""

    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernels", srm_kernels(), persistent=False)

    def forward(self, image_b3hw: Tensor) -> Tensor:
        """(b, 3, h, w)."""
        grey = F.pad(255 * image_b3hw.mean(1, keepdim=True), (2, 2, 2, 2), mode="reflect")
        return F.conv2d(grey, self.kernels).clamp(-TRUNCATED, TRUNCATED) / TRUNCATED


class Bayar(nn.Module):
    """Learned residuals: 5x5 kernels whose centre is -1 and whose other weights sum to 1 at every step.

    The free weights are projected onto that plane before use. Bayar and Stamm divide them by their sum instead, which
    diverges when the sum passes through 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.free = nn.Parameter(torch.rand(3, 3, 24) / 12)

    @property
    def kernels(self) -> Tensor:
        """(3, 3, 5, 5)."""
        around = self.free - (self.free.sum(2, keepdim=True) - 1) / 24
        centre = around.new_full((3, 3, 1), -1.0)
        return torch.cat([around[..., :12], centre, around[..., 12:]], 2).view(3, 3, 5, 5)

    def forward(self, image_b3hw: Tensor) -> Tensor:
        """(b, 3, h, w)."""
        return F.conv2d(F.pad(image_b3hw, (2, 2, 2, 2), mode="reflect"), self.kernels)


FILTERS: dict[str, type[nn.Module]] = {"srm": Srm, "bayar": Bayar}
