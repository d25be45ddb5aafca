"""The partial convolution: a convolution over the pixels that are there. Here valid == 1 means not missing.

Source: Liu et al. 2018, "Image Inpainting for Irregular Holes Using Partial Convolutions", and NVIDIA's layer
(github.com/NVIDIA/partialconv). With X the input, M its validity and W, b the weights,

    output = W (X * M) * sum(1) / sum(M) + b   where the window has a valid element, else 0
    valid  = 1                                 where the window has a valid element, else 0

As in NVIDIA's layer sum(1) is the whole window, k * k * channels, at borders too, and padding counts as missing: there
the output is scaled up for the padding. So with everything valid the layer equals `torch.nn.functional.conv2d` where
the window lies inside the image, hence everywhere without padding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PartialConv2d(nn.Module):
    """A partial convolution whose input comes in groups of channels, each with one mask.

    counts: how many input channels each mask channel stands for; (channels,) is one mask for all, (1,) * channels one a
        channel, (a, b) the concatenation of two feature maps with their masks. The mask path costs one channel in
        every case: validity is summed over channels first and over windows then.
    """

    def __init__(
        self,
        counts: tuple[int, ...],
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
    ):
        super().__init__()
        self.counts = counts
        self.padding = padding
        self.weights_k11: Tensor
        # For its parameters and their start.
        self.conv = nn.Conv2d(sum(counts), out_channels, kernel, stride, padding, dilation)
        self.register_buffer("weights_k11", torch.tensor(counts, dtype=torch.float32).view(-1, 1, 1), persistent=False)

    def forward(self, x_bchw: Tensor, valid_bkhw: Tensor) -> tuple[Tensor, Tensor]:
        """(output, valid_b1hw); valid holds 0 and 1. Under `x_bchw` where it is 0 any finite value may stand."""
        raw = F.conv2d(
            self._masked(x_bchw, valid_bkhw), self.conv.weight, None, self.conv.stride, self.padding, self.conv.dilation
        )
        with torch.no_grad():
            sums_b1hw = self._window_sums(valid_bkhw)
            new_b1hw = (sums_b1hw > 0).to(valid_bkhw.dtype)
            window = self.conv.weight[0].numel()
            ratio_b1hw = window / sums_b1hw.clamp(min=1)  # where nothing is valid, raw is 0 already
        assert self.conv.bias is not None
        # One pass over the output for the bias: it is added only where there is something to add it to.
        return torch.addcmul(raw * ratio_b1hw, self.conv.bias.view(-1, 1, 1), new_b1hw), new_b1hw

    def _masked(self, x_bchw: Tensor, valid_bkhw: Tensor) -> Tensor:
        if len(self.counts) in (1, x_bchw.shape[1]):
            return x_bchw * valid_bkhw
        groups = [valid_bkhw[:, k : k + 1].expand(-1, count, -1, -1) for k, count in enumerate(self.counts)]
        return x_bchw * torch.cat(groups, 1)

    def _window_sums(self, valid_bkhw: Tensor) -> Tensor:
        """Valid elements in each window, over all channels; exact, they are small whole numbers."""
        valid_b1hw = (valid_bkhw * self.weights_k11).sum(1, keepdim=True)
        if self.conv.dilation != (1, 1):
            ones_11kk = valid_b1hw.new_ones(1, 1, *self.conv.kernel_size)
            return F.conv2d(valid_b1hw, ones_11kk, None, self.conv.stride, self.padding, self.conv.dilation)
        padded = F.pad(valid_b1hw, [self.padding] * 4)
        return F.avg_pool2d(padded, self.conv.kernel_size, self.conv.stride, divisor_override=1)
