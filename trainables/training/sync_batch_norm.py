"""Batch normalisation over the whole batch when each worker holds a part of it.

torch's SyncBatchNorm works on GPUs only; this one works on any device and with parts of any size, including empty ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn

from trainables.training.precision import full


def synchronise(module: nn.Module, twice: bool = False) -> None:
    """Make every batch normalisation in a module normalise over the whole batch; parameters and state are unchanged.

    twice: support second derivatives as well, which needs more memory.
    """
    for layer in module.modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = TwiceWholeBatchNorm2d if twice else WholeBatchNorm2d


class WholeBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d over the parts of all workers in training. All workers must call forward and backward."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        output, mean_c, variance_c, count = _Normalise.apply(full(input), self.weight, self.bias, self.eps)
        if self.track_running_stats:
            self._track(mean_c, variance_c * (count / (count - 1)))
        normalised: Tensor = output.to(input.dtype)
        return normalised

    def _track(self, mean_c: Tensor, variance_c: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None, "momentum=None (a plain mean over batches) is not supported"
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean_c, self.momentum)
        self.running_var.lerp_(variance_c, self.momentum)


class TwiceWholeBatchNorm2d(WholeBatchNorm2d):
    """WholeBatchNorm2d that supports derivatives of any order, taken by all workers together."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        assert self.weight is not None
        assert self.bias is not None
        x_bchw = full(input)
        count = _everywhere(x_bchw.new_full((), x_bchw.numel() // x_bchw.shape[1]))
        mean_c = _everywhere(x_bchw.sum((0, 2, 3))) / count
        centred_bchw = x_bchw - _wide(mean_c)
        variance_c = _everywhere(centred_bchw.square().sum((0, 2, 3))) / count
        if self.track_running_stats:
            with torch.no_grad():
                self._track(mean_c, variance_c * (count / (count - 1)))
        scale_c = (variance_c + self.eps).rsqrt() * self.weight
        return (centred_bchw * _wide(scale_c) + _wide(self.bias)).to(input.dtype)


def _everywhere(values: Tensor) -> Tensor:
    """The sum over the workers; gradients are summed over the workers too."""
    summed: Tensor = _Everywhere.apply(values)
    return summed


class _Everywhere(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        summed = values.clone()
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _everywhere(gradients[0])


class _Normalise(torch.autograd.Function):
    """Normalises over batch and pixels of all workers. Also returns mean, biased variance and number of elements."""

    @staticmethod
    def forward(
        ctx: Any, x_bchw: Tensor, weight_c: Tensor | None, bias_c: Tensor | None, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean_c, variance_c, count = _moments(x_bchw)
        scale_c = (variance_c + epsilon).rsqrt()
        ctx.save_for_backward(x_bchw, weight_c, mean_c, scale_c, count)
        output = (x_bchw - _wide(mean_c)) * _wide(scale_c if weight_c is None else scale_c * weight_c)
        output = output if bias_c is None else output + _wide(bias_c)
        ctx.mark_non_differentiable(mean_c, variance_c, count)
        return output, mean_c, variance_c, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        gradient_bchw = gradients[0]
        x_bchw, weight_c, mean_c, scale_c, count = ctx.saved_tensors
        normal_bchw = (x_bchw - _wide(mean_c)) * _wide(scale_c)
        bias_c, direction_c = gradient_bchw.sum((0, 2, 3)), (gradient_bchw * normal_bchw).sum((0, 2, 3))
        whole_2c = torch.stack([bias_c, direction_c])
        distributed.all_reduce(whole_2c)
        mean_bias_c, mean_direction_c = (whole_2c / count).unbind()
        outer_c = scale_c if weight_c is None else scale_c * weight_c
        inner_bchw = gradient_bchw - _wide(mean_bias_c) - normal_bchw * _wide(mean_direction_c)
        return (
            inner_bchw * _wide(outer_c),
            direction_c if ctx.needs_input_grad[1] else None,  # of this worker's part: averaged later with the others
            bias_c if ctx.needs_input_grad[2] else None,
            None,
        )


def _moments(x_bchw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance of each channel over all workers, and the number of elements per channel.

    Combines the mean and the squared deviations of each part, which is more accurate than sums of squares.
    """
    elements = x_bchw.numel() // x_bchw.shape[1]
    part_c = x_bchw.sum((0, 2, 3)) / max(1, elements)
    squares_c = (x_bchw - _wide(part_c)).square().sum((0, 2, 3))
    mine = torch.cat([part_c, squares_c, part_c.new_full((1,), elements)])
    parts = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, mine)
    parts_wn = torch.stack(parts)
    counts_w1 = parts_wn[:, -1:]
    means_wc, squares_wc = parts_wn[:, :-1].chunk(2, dim=1)
    count = counts_w1.sum()
    mean_c = (means_wc * counts_w1).sum(0) / count
    variance_c = (squares_wc + counts_w1 * (means_wc - mean_c).square()).sum(0) / count
    return mean_c, variance_c, count


def _wide(values_c: Tensor) -> Tensor:
    return values_c.view(1, -1, 1, 1)
