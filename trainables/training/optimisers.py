"""Optimisers and learning rate schedules."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

Kind = TypeVar("Kind", bound=torch.optim.Optimizer)


def _without_compiler(optimiser: type[Kind]) -> type[Kind]:
    """A subclass that computes the same but does not prepare for `torch.compile`.

    torch wraps these methods so that a compiler can trace around them. The wrappers import the compiler on the first
    call, which takes over a second in every process that trains.
    """
    wrapped = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
    methods: dict[str, Any] = {name: inspect.unwrap(getattr(optimiser, name)) for name in wrapped}
    methods["step"] = torch.no_grad()(inspect.unwrap(optimiser.step))
    load = methods["load_state_dict"]

    def load_for_this_device(self: Kind, state: Mapping[str, Any]) -> None:
        """Load a state that may come from another device: whether the steps are fused is no part of it."""
        groups = [{**group, "fused": self.defaults["fused"]} for group in state["param_groups"]]
        load(self, {**state, "param_groups": groups})

    methods["load_state_dict"] = load_for_this_device
    return type(optimiser.__name__, (optimiser,), methods)


_Adam = _without_compiler(torch.optim.Adam)
_SGD = _without_compiler(torch.optim.SGD)


def build(section: Mapping[str, Any], parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of a resolved `optimiser` section.

    A step on a GPU is one fused kernel for many parameters. On a CPU, where that is no faster (0.98 to 1.03 of the
    time), the steps are torch's default.
    """
    parameters = list(parameters)
    fused = True if parameters and all(parameter.is_cuda for parameter in parameters) else None
    common = {"lr": section["lr"], "weight_decay": section["weight_decay"], "fused": fused}
    if section["name"] == "sgd":
        return _SGD(parameters, momentum=section["momentum"], **common)
    return _Adam(parameters, betas=tuple(section["betas"]), **common)


def decay(schedule: Mapping[str, Any] | None, epoch: int, epochs: int) -> float:
    """Factor of the learning rates in an epoch (1, 2, ...) of `epochs` in total.

    Like torch's StepLR, but a function of the epoch alone, so a checkpoint needs no schedule state.
    """
    if schedule is None:
        return 1.0
    every = schedule["every"]
    period = every if isinstance(every, int) else max(1, round(every * epochs))
    return float(schedule["gamma"] ** ((epoch - 1) // period))


def scale_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Set the learning rate to `factor` times the initial one."""
    for group in optimiser.param_groups:
        group["lr"] = optimiser.defaults["lr"] * factor
