"""The partial convolution: a convolution over the valid pixels only. In this file valid == 1 means not missing.

Source: Liu et al. 2018, "Image Inpainting for Irregular Holes Using Partial Convolutions", and NVIDIA's layer
(github.com/NVIDIA/partialconv). With X the input, M its validity and W, b the weights,

    output = W (X * M) * sum(1) / sum(M) + b   if the window has a valid element, else 0
    valid  = 1                                 if the window has a valid element, else 0

As in NVIDIA's layer, sum(1) is the size of the whole window, k * k * channels, also at the border, and padding counts
as missing, so the output at the border is scaled up for the padding. If everything is valid, the layer therefore equals
`torch.nn.functional.conv2d` wherever the window lies inside the image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PartialConv2d(nn.Module):
    """A partial convolution whose input channels form groups that share a mask channel."""

    def __init__(
        self,
        counts: tuple[int, ...],
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
    ):
        """counts: number of input channels for each mask channel: (channels,) for one common mask, (1,) * channels for
        a mask per channel, (a, b) for two concatenated feature maps with their masks. The mask path always costs a
        single channel, because validity is summed over channels before it is summed over windows.
        """
        super().__init__()
        self.counts = counts
        self.padding = padding
        self.weights_k11: Tensor
        # Only its parameters, initialisation and options are used.
        self.conv = nn.Conv2d(sum(counts), out_channels, kernel, stride, padding, dilation)
        self.register_buffer("weights_k11", torch.tensor(counts, dtype=torch.float32).view(-1, 1, 1), persistent=False)

    def forward(self, x_bchw: Tensor, valid_bkhw: Tensor) -> tuple[Tensor, Tensor]:
        """Return (output, valid_b1hw) with valid 0 or 1; `x_bchw` may have any finite value where it is not valid."""
        raw = F.conv2d(
            self._masked(x_bchw, valid_bkhw), self.conv.weight, None, self.conv.stride, self.padding, self.conv.dilation
        )
        with torch.no_grad():
            sums_b1hw = self._window_sums(valid_bkhw)
            new_b1hw = (sums_b1hw > 0).to(valid_bkhw.dtype)
            window = self.conv.weight[0].numel()
            ratio_b1hw = window / sums_b1hw.clamp(min=1)  # raw is 0 if nothing is valid
        assert self.conv.bias is not None
        # Adds the bias only where the output is valid, in one pass.
        return torch.addcmul(raw * ratio_b1hw, self.conv.bias.view(-1, 1, 1), new_b1hw), new_b1hw

    def _masked(self, x_bchw: Tensor, valid_bkhw: Tensor) -> Tensor:
        if len(self.counts) in (1, x_bchw.shape[1]):
            return x_bchw * valid_bkhw
        groups = [valid_bkhw[:, k : k + 1].expand(-1, count, -1, -1) for k, count in enumerate(self.counts)]
        return x_bchw * torch.cat(groups, 1)

    def _window_sums(self, valid_bkhw: Tensor) -> Tensor:
        """Number of valid elements in each window, over all channels; exact, because they are small integers."""
        valid_b1hw = (valid_bkhw * self.weights_k11).sum(1, keepdim=True)
        if self.conv.dilation != (1, 1):
            ones_11kk = valid_b1hw.new_ones(1, 1, *self.conv.kernel_size)
            return F.conv2d(valid_b1hw, ones_11kk, None, self.conv.stride, self.padding, self.conv.dilation)
        padded = F.pad(valid_b1hw, [self.padding] * 4)
        return F.avg_pool2d(padded, self.conv.kernel_size, self.conv.stride, divisor_override=1)
