"""A convolution with spectral normalisation, for discriminators and for the network of TDANet.

Source: Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks".
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.training.precision import as_given


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weight matrix is normalised to spectral norm 1 (Miyato et al. 2018).

    Each call in training mode does one power iteration, in float32 also under autocast.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding)
        self.left: Tensor
        self.register_buffer("left", F.normalize(torch.randn(outputs), dim=0))

    def forward(self, x_bchw: Tensor) -> Tensor:
        return F.conv2d(x_bchw, self.normalised(), self.bias, self.stride, self.padding)

    def normalised(self) -> Tensor:
        """The weights divided by their spectral norm, as estimated by the power iteration."""
        with as_given(self.weight.device):
            matrix = self.weight.flatten(1)
            with torch.no_grad():
                left = self.left.clone()  # a later call must not modify a tensor of this backward pass
                right = F.normalize(matrix.T @ left, dim=0)
                if self.training:
                    left = F.normalize(matrix @ right, dim=0)
                    self.left.copy_(left)
            normalised: Tensor = self.weight / (left @ (matrix @ right))
            return normalised
