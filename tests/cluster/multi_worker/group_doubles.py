"""Replacements for `cluster.multi_worker.group.serve`, in which one worker of a group fails.

A test puts one of these into the driver's `cluster.multi_worker.groups`; the workers import it by its name. The trial
to disturb is recognised by its learning rate.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster.multi_worker import group
from trainables.training import loop
from trainables.training.distributed import Workers

RAISES_LR, KILLED_LR = 0.011, 0.012


def serve_with_faults(config: dict[str, Any]) -> None:
    """In epoch 2, the last worker raises in every attempt at one trial and is killed in the first one at another."""
    original = loop._train

    def train(task: Any, learner: Any, trial: Any, data: Any, epoch: int, workers: Workers) -> Any:
        rate = trial["optimiser"]["lr"]
        if epoch == 2 and workers.rank == workers.size - 1:
            if rate == RAISES_LR:
                raise RuntimeError("raised in one worker alone")
            if rate == KILLED_LR and first(Path(config["options"].store) / "killed"):
                os.kill(os.getpid(), signal.SIGKILL)
        return original(task, learner, trial, data, epoch, workers)

    patched(train, lambda: group.serve(config))


def patched(train: Callable[..., Any], act: Callable[[], None]) -> None:
    original = loop._train
    loop._train = train
    try:
        act()
    finally:
        loop._train = original


def first(mark: Path) -> bool:
    """Whether this is the first call with this file."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
