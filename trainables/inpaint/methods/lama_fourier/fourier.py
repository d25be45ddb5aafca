"""Residual blocks: fast Fourier convolutions, aggregated dilated convolutions (AOT-GAN), and plain convolutions.

Fourier and aggregated blocks have a large receptive field; plain blocks are the baseline. All blocks keep the shape of
their input and use reflection padding.

Sources: Chi et al. 2020, "Fast Fourier Convolution", in the form of LaMa's code (Suvorov et al. 2022); Zeng et al.
2022, "Aggregated Contextual Transformations for High-Resolution Image Inpainting" (AOT-GAN), and its code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.training.precision import as_given, full

GLOBAL_SHARE = 0.75
"""Fraction of a block's channels that are global, with the whole image as receptive field. MODELS.md section 7."""
RATES = (1, 2, 4, 8)
"""Dilations of the parallel branches of an AOT-GAN block."""
EPSILON = 1e-10


# --- fast Fourier convolution -----------------------------------------------------------------------------------------


class FourierUnit(nn.Module):
    """1x1 convolution, batch normalisation and ReLU on the spectrum, with real and imaginary parts as channels.

    The transforms are computed in float32, also under autocast.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(2 * channels)

    def forward(self, x_bchw: Tensor) -> Tensor:
        with as_given(x_bchw.device):
            spectrum_bchw = torch.fft.rfft2(full(x_bchw), norm="ortho")
            # The backward pass of view_as_real does not support an empty batch, which a worker may have.
            parts_bchw = torch.stack([spectrum_bchw.real, spectrum_bchw.imag], 2).flatten(1, 2)
        parts_bchw = F.relu(self.norm(self.conv(parts_bchw)))
        with as_given(x_bchw.device):
            spectrum_bchw = torch.complex(full(parts_bchw[:, ::2]), full(parts_bchw[:, 1::2]))
            image_bchw: Tensor = torch.fft.irfft2(spectrum_bchw, x_bchw.shape[-2:], norm="ortho")
        return image_bchw


class Spectral(nn.Module):
    """A Fourier unit on half the channels, with a shortcut around it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.before = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(inplace=True)
        )
        self.unit = FourierUnit(inner)
        self.after = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x_bchw: Tensor) -> Tensor:
        x_bchw = self.before(x_bchw)
        mixed: Tensor = self.after(x_bchw + self.unit(x_bchw))
        return mixed


class FastFourierConvolution(nn.Module):
    """Maps local and global channels to the same numbers of each, followed by batch normalisation and ReLU.

    The path from global to global channels is a `Spectral` layer; the other paths are 3x3 convolutions.
    """

    def __init__(self, local: int, globals_: int) -> None:
        super().__init__()
        self.local = convolution(local + globals_, local)  # one convolution over both inputs: the sum of two
        self.local_to_global = convolution(local, globals_)
        self.global_to_global = Spectral(globals_)
        self.norms = nn.ModuleList([nn.BatchNorm2d(local), nn.BatchNorm2d(globals_)])

    def forward(self, local_bchw: Tensor, global_bchw: Tensor) -> tuple[Tensor, Tensor]:
        """(local, global)."""
        to_local = self.local(torch.cat([local_bchw, global_bchw], 1))
        to_global = self.local_to_global(local_bchw) + self.global_to_global(global_bchw)
        return F.relu(self.norms[0](to_local)), F.relu(self.norms[1](to_global))


class FourierBlock(nn.Module):
    """Two fast Fourier convolutions with a shortcut around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        globals_ = int(channels * GLOBAL_SHARE)
        self.split = [channels - globals_, globals_]
        self.first, self.second = (FastFourierConvolution(*self.split) for _ in range(2))

    def forward(self, x_bchw: Tensor) -> Tensor:
        local_bchw, global_bchw = torch.split(x_bchw, self.split, 1)
        return x_bchw + torch.cat(self.second(*self.first(local_bchw, global_bchw)), 1)


# --- alternatives -----------------------------------------------------------------------------------------------------


class PlainBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut around them: a Fourier block with local channels only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers = ([convolution(channels, channels), nn.BatchNorm2d(channels), nn.ReLU()] for _ in range(2))
        self.layers = nn.Sequential(*(module for layer in layers for module in layer))

    def forward(self, x_bchw: Tensor) -> Tensor:
        y_bchw: Tensor = self.layers(x_bchw)
        return x_bchw + y_bchw


class AggregatedBlock(nn.Module):
    """AOT-GAN's block: parallel convolutions with several dilations, joined, and mixed with the input by a gate."""

    def __init__(self, channels: int, side: int) -> None:
        """side: side of the maps, px; dilations are limited to half of it, because larger ones only reach padding."""
        super().__init__()
        rates = [min(rate, max(1, side // 2)) for rate in RATES]
        self.branches = nn.ModuleList(convolution(channels, channels // len(RATES), rate, bias=True) for rate in rates)
        self.joined = convolution(channels, channels, bias=True)
        self.gate = convolution(channels, channels, bias=True)

    def forward(self, x_bchw: Tensor) -> Tensor:
        seen_bchw = torch.cat([F.relu(branch(x_bchw)) for branch in self.branches], 1)
        gates_bchw = standardise_gates(self.gate(x_bchw)).sigmoid()
        mixed_bchw: Tensor = x_bchw * (1 - gates_bchw) + self.joined(seen_bchw) * gates_bchw
        return mixed_bchw


def standardise_gates(gates_bchw: Tensor) -> Tensor:
    """Normalise each map of gates to mean -5 and standard deviation 10, so most are open or closed; in float32."""
    gates_bchw = full(gates_bchw)
    mean = gates_bchw.mean((2, 3), keepdim=True)
    # EPSILON: the square root has no derivative at 0, the variance of an image that is all hole.
    spread_bchw: Tensor = 10 * (gates_bchw - mean) / (gates_bchw.var((2, 3), keepdim=True) + EPSILON).sqrt() - 5
    return spread_bchw


def convolution(inputs: int, outputs: int, dilation: int = 1, bias: bool = False) -> nn.Conv2d:
    """A 3x3 convolution with reflection padding."""
    return nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=bias, padding_mode="reflect")
