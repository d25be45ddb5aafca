"""Replacements for `cluster.runners.ray_tune._train`, in which trials misbehave in Ray's workers.

A test puts one of these into the driver's `cluster.runners.ray_tune`; the workers import it by its name, and it wraps
the real function. So the product needs no hook for tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from cluster.runners import ray_tune
from cluster.worker import worker
from cluster.worker.worker import WorkerOptions

TEARDOWN_S = 2.5
"""Longer than the 2 s that Tune grants."""


def ends_badly(config: dict[str, Any], options: WorkerOptions) -> None:
    """After a stop, try number 1 takes long to end, and the others raise an exception."""
    try:
        ray_tune._train(config, options)
    except SystemExit as stop:
        if " suggestion 1" not in config["label"]:
            raise RuntimeError("raised while it was being stopped") from stop
        time.sleep(TEARDOWN_S)
        raise


def fails(**faults: Callable[[], object]) -> Callable[[dict[str, Any], WorkerOptions], None]:
    """Trials of the named arms do something fatal while they train; others behave normally."""

    def train(config: dict[str, Any], options: WorkerOptions) -> None:
        original = worker.StoreSession.wants_checkpoint
        how = faults.get(config["label"].partition(" ")[0])
        if how is not None:
            worker.StoreSession.wants_checkpoint = lambda _: how()  # type: ignore[method-assign,assignment,return-value]
        try:
            ray_tune._train(config, options)
        finally:
            worker.StoreSession.wants_checkpoint = original  # type: ignore[method-assign]

    return train


def takes_all_memory() -> object:
    return torch.empty(2**50)


def dies() -> object:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("not reached")
