"""Optimisers, and how their learning rate falls with the epochs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn


def build(section: Mapping[str, Any], parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of a resolved `optimiser` section."""
    if section["name"] == "sgd":
        return torch.optim.SGD(
            parameters, section["lr"], momentum=section["momentum"], weight_decay=section["weight_decay"]
        )
    return torch.optim.Adam(
        parameters, section["lr"], betas=tuple(section["betas"]), weight_decay=section["weight_decay"]
    )


def decay(schedule: Mapping[str, Any] | None, epoch: int, epochs: int) -> float:
    """What the learning rates are multiplied with in an epoch (1, 2, ...) of so many in all.

    As torch's StepLR, but a function of the epoch alone: there is nothing to keep in a checkpoint.
    """
    if schedule is None:
        return 1.0
    every = schedule["every"]
    period = every if isinstance(every, int) else max(1, round(every * epochs))
    return float(schedule["gamma"] ** ((epoch - 1) // period))


def scale_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Set the learning rate to `factor` times the one that the optimiser was built with."""
    for group in optimiser.param_groups:
        group["lr"] = optimiser.defaults["lr"] * factor
