"""In which precision networks compute: float32, or bfloat16 by autocast with losses and weights in float32."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Precision:
    """name: `bf16`, or None for that of the tensors. device: where they lie."""

    name: str | None = None
    device: str = "cpu"

    def cast(self) -> contextlib.AbstractContextManager[object]:
        """What the calls of a network are wrapped in; not their backward passes, which follow them."""
        if self.name is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.partition(":")[0], torch.bfloat16)


def full(x: Tensor) -> Tensor:
    """bfloat16 as float32; any other as it is."""
    return x.float() if x.dtype == torch.bfloat16 else x


def as_given(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Within `Precision.cast`, what must keep the precision of its tensors: a sharp softmax, a norm."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)
