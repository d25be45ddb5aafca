"""What a method of task `inpaint` is built from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from trainables.inpaint import perceptual_features
from trainables.inpaint.dataset import LAYOUT
from trainables.training import optimisers
from trainables.training.distributed import Workers
from trainables.training.precision import Precision
from trainables.training.session import Machine
from trainables.training.sync_batch_norm import synchronise


@dataclass(frozen=True)
class Setup:
    """What a method is built from."""

    config: Mapping[str, Any]
    """The resolved configuration, with the trial's seed."""
    options: Any
    """The `model` section as the `Config` of the method."""
    network: Any
    """The method's network, initialised, on the device."""
    size: int
    """Side of the images, px."""
    machine: Machine
    build: Callable[..., nn.Module] | None = None
    """The function that made the network, for errors."""

    @property
    def workers(self) -> Workers:
        return self.machine.workers

    @property
    def precision(self) -> Precision:
        return Precision(self.config.get("precision"), self.machine.device)

    def optimiser(self, parameters: Iterable[nn.Parameter], section: str = "optimiser") -> torch.optim.Optimizer:
        """The optimiser of a section of the configuration, `optimiser` if that section is not given."""
        return optimisers.build(self.config.get(section) or self.config["optimiser"], parameters)

    def place(self, module: nn.Module, twice: bool = False) -> nn.Module:
        """Move a module to where it is trained, see `place`."""
        return place(module, self.config, self.machine, twice)

    def features(self, side: int) -> perceptual_features.FeatureNetwork | None:
        """The feature network for images of `side` px; None if no loss term needs one."""
        section = self.config.get("features")
        return perceptual_features.load(section, self.machine.data_root, self.machine.device, side) if section else None


def place(module: nn.Module, config: Mapping[str, Any], machine: Machine, twice: bool = False) -> nn.Module:
    """Move a module to the device; with several workers, its batch normalisation sees the whole batch.

    twice: batch normalisation has to support second derivatives.
    """
    module = module.to(machine.device, memory_format=LAYOUT)  # type: ignore[call-overload]
    if machine.workers.size > 1 and config.get("sync_batch_norm") is not False:
        synchronise(module, twice)
    return module
