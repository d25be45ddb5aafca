"""Residual blocks of TDANet and its output layer, with spectral normalisation.

Source: the released code as described in MODELS.md section 2.1. Layers with spectral normalisation keep PyTorch's
initialisation, because the released code's own one (orthogonal, gain 0.02) skips them; layers without it have that one.
All activations are LeakyReLU(0.1), except in the block inside the attention of the decoder: LeakyReLU(0.01).
"""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.inpaint.blocks.spectral_normalisation import SpectralConv2d
from trainables.training.precision import full

GAIN = 0.02
Layer = TypeVar("Layer", bound=nn.Conv2d)


def activate(x_bchw: Tensor, slope: float = 0.1) -> Tensor:
    return F.leaky_relu(x_bchw, slope)


def conv(inputs: int, outputs: int, kernel: int = 3, padding: int | None = None) -> SpectralConv2d:
    """A convolution with spectral normalisation; the default padding keeps the size."""
    return SpectralConv2d(inputs, outputs, kernel, padding=kernel // 2 if padding is None else padding)


def orthogonal(layer: Layer) -> Layer:
    nn.init.orthogonal_(layer.weight, GAIN)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class UpsamplingConv(SpectralConv2d):
    """A transposed convolution that doubles the side, with spectral normalisation of the weights.

    The weights have the layout of `nn.ConvTranspose2d`, (inputs, outputs, 3, 3). As in the released code, the rows of
    the matrix that is normalised are the inputs.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(outputs, inputs, 3)  # as a convolution in the other direction
        bound = (9 * outputs) ** -0.5
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, x_bchw: Tensor) -> Tensor:
        return F.conv_transpose2d(x_bchw, self.normalised(), self.bias, stride=2, padding=1, output_padding=1)


class ResBlock(nn.Module):
    """Two layers of activation and convolution, plus a shortcut with a 1x1 convolution."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: int | None = None,
        down: bool = False,
        first: bool = False,
        slope: float = 0.1,
    ) -> None:
        """hidden: channels between the two layers; None for `outputs`.

        down: halve the side by average pooling of the sum.
        first: leave out the activation before the first convolution, for a block whose input is an image.
        slope: slope of the activations below 0.
        """
        super().__init__()
        hidden = outputs if hidden is None else hidden
        self.one, self.two = conv(inputs, hidden), conv(hidden, outputs)
        self.beside = conv(inputs, outputs, 1)
        self.down, self.first, self.slope = down, first, slope

    def forward(self, x_bchw: Tensor) -> Tensor:
        y_bchw = self.one(x_bchw if self.first else activate(x_bchw, self.slope))
        y_bchw = self.two(activate(y_bchw, self.slope))
        z_bchw: Tensor = y_bchw + self.beside(x_bchw)
        return F.avg_pool2d(z_bchw, 2) if self.down else z_bchw


class DecoderBlock(nn.Module):
    """A `ResBlock` with instance normalisation, scale and shift; `up` doubles the side with transposed convolutions."""

    def __init__(self, inputs: int, outputs: int, up: bool) -> None:
        super().__init__()
        self.before, self.between = (nn.InstanceNorm2d(channels, affine=True) for channels in (inputs, outputs))
        self.one = conv(inputs, outputs)
        self.two, self.beside = (UpsamplingConv(i, outputs) if up else conv(i, outputs) for i in (outputs, inputs))

    def forward(self, x_bchw: Tensor) -> Tensor:
        y_bchw = self.one(activate(self.before(x_bchw)))
        z_bchw: Tensor = self.two(activate(self.between(y_bchw))) + self.beside(x_bchw)
        return z_bchw


class ImageOutput(nn.Module):
    """Output layer: an image in [-1, 1]."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv = conv(inputs, 3, padding=0)

    def forward(self, x_bchw: Tensor) -> Tensor:
        return torch.tanh(full(self.conv(F.pad(activate(x_bchw), (1, 1, 1, 1), mode="reflect"))))
