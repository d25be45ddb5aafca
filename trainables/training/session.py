"""The interface between `loop.fit` and the runner of a trial.

A runner (in-process, a Ray Tune actor, a Ray Train worker) implements `Session`. `fit` calls nothing else of the
runner, so a trial gives the same numbers with every runner.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from trainables.training.distributed import Workers

Row = dict[str, float | int]
Networks = Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]
"""By trial id: the resolved configuration and the weights of the network."""


@dataclass(frozen=True)
class Goal:
    """How far a trial is trained and when it is tested; not part of the trial's identity."""

    epochs: int
    """The target epoch; 0 for a model without parameters."""
    test_epochs: tuple[int, ...] = ()
    """Additional epochs after which the test split is evaluated; it is always evaluated after the last."""
    best: tuple[str, str] | None = None
    """A validation column and 'max' or 'min': the test split is also evaluated whenever the column improves."""
    extra: tuple[str, ...] = ()
    """Additional test metrics after the last epoch, from `trainables.inpaint.evaluation.perceptual_metrics.NAMES`."""


@dataclass(frozen=True)
class Restored:
    """The newest intact checkpoint."""

    epoch: int
    """The epoch after which it was written."""
    files: Mapping[str, bytes]
    """Its files by name."""


def _no_log(words: str) -> None:
    """Discards an entry."""


def _never() -> bool:
    return False


@contextmanager
def _temporary_folder(purpose: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"sweeps-{purpose}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@dataclass(frozen=True)
class Machine:
    """Where the trial runs. These facts change its speed but, for one kind of CPU and thread count, no result."""

    device: str = "cpu"
    """A torch device, e.g. 'cpu' or 'cuda'."""
    cpus: int = 1
    """CPU threads that torch may use."""
    data_root: Path | None = None
    """Folder that holds the data sets; None for the user's cache and torchvision's download."""
    workers: Workers = field(default_factory=Workers)
    """The processes that train the trial together, each with such a device and this number of threads."""
    forged: Mapping[str, Path] = field(default_factory=dict)
    """Folders of the forged sets that `trainables.schema.needs` lists, by id."""
    outputs: Mapping[str, Path] = field(default_factory=dict)
    """Recorded outputs (`outputs.npz`) of the finished trials that it lists, by trial id."""
    networks: Networks = field(default_factory=dict)
    """Trained networks of the trials that it lists."""
    scratch: Callable[[str], AbstractContextManager[Path]] = _temporary_folder
    """Makes a temporary folder for a purpose, for a `with` statement. Runners pass one whose folders a later run
    removes if the process was killed."""
    log: Callable[[str], None] = _no_log
    """Adds an entry to the log of the attempt."""
    stopping: Callable[[], bool] = _never
    """Whether the trial is asked to stop, for a task that can stop within an epoch or its last rating; set by `fit`.
    All workers have to call it equally often."""
    resources: ExitStack = field(default_factory=ExitStack, compare=False)
    """What is released when the trial ends, however it ends; set by `fit`."""


def available_device() -> str:
    """`cuda` if this machine has a GPU that torch can use, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


class Session(Protocol):
    """One attempt at one trial, as `fit` sees it.

    With several workers, each has a session and calls the same methods in the same order. `restore`,
    `wants_checkpoint` and `should_stop` return the same on all workers; only worker 0's session writes.
    """

    @property
    def goal(self) -> Goal:
        """How far to train and when to test."""

    @property
    def machine(self) -> Machine:
        """Where to compute."""

    def restore(self) -> Restored | None:
        """The checkpoint to continue from; None for a fresh start."""

    def wants_checkpoint(self) -> bool:
        """Whether enough time has passed since the last checkpoint. The last epoch is always saved."""

    def save(self, epoch: int, files: Mapping[str, bytes]) -> None:
        """Store a checkpoint: all its files become visible together or not at all."""

    def samples(self, epoch: int, files: Mapping[str, bytes]) -> None:
        """Store the fixed evaluation images of this epoch (PNG) and, after the last epoch, the task's final files."""

    def finish(self, history: list[Row], facts: Mapping[str, Any]) -> None:
        """Create the trial's result: its whole history and facts such as parameters and data fingerprint."""

    def report(self, row: Row) -> None:
        """Report the record of an epoch. Always the last call in an epoch: a scheduler may end the trial inside."""

    def should_stop(self) -> bool:
        """Whether to stop after the current epoch: `fit` then saves a checkpoint and raises Stopped."""

    def clock(self) -> float:
        """Seconds from an arbitrary moment, for measuring."""


class Stopped(Exception):  # noqa: N818 - not an error
    """The trial was asked to stop and has written its checkpoint; it can be resumed later."""


@dataclass
class MemorySession:
    """A session that keeps everything in memory: for tests, benchmarks and notebooks."""

    goal: Goal
    machine: Machine = field(default_factory=Machine)
    restored: Restored | None = None
    rows: list[Row] = field(default_factory=list)
    saved: dict[int, Mapping[str, bytes]] = field(default_factory=dict)
    images: dict[int, Mapping[str, bytes]] = field(default_factory=dict)
    result: dict[str, Any] | None = None

    def restore(self) -> Restored | None:
        return self.restored

    def wants_checkpoint(self) -> bool:
        return True

    def save(self, epoch: int, files: Mapping[str, bytes]) -> None:
        self.saved[epoch] = files

    def samples(self, epoch: int, files: Mapping[str, bytes]) -> None:
        self.images[epoch] = files

    def finish(self, history: list[Row], facts: Mapping[str, Any]) -> None:
        self.result = {"history": history, **facts}

    def report(self, row: Row) -> None:
        self.rows.append(row)

    def should_stop(self) -> bool:
        return False

    def clock(self) -> float:
        import time

        return time.perf_counter()
