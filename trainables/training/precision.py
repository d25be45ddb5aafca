"""Numeric precision of networks: float32, or bfloat16 by autocast with losses and weights in float32."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Precision:
    """The precision in which networks compute."""

    name: str | None = None
    """`bf16` for autocast; None for the precision of the tensors."""
    device: str = "cpu"
    """Device of the tensors."""

    def cast(self) -> contextlib.AbstractContextManager[object]:
        """Context for the forward passes of a network; backward passes stay outside."""
        if self.name is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.partition(":")[0], torch.bfloat16)


def full(x: Tensor) -> Tensor:
    """A bfloat16 tensor as float32; any other tensor unchanged."""
    return x.float() if x.dtype == torch.bfloat16 else x


def as_given(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Context inside `Precision.cast` for code that must keep its tensors' precision: a sharp softmax, a norm."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)
