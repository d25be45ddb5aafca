"""What `loop.fit` needs from whoever runs it: the only way in and out of a trial.

A runner (in-process, a Ray Tune actor, a Ray Train worker) implements `Session`; `fit` calls nothing else, so the same
trial gives the same numbers wherever it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from trainables.training.distributed import Workers

Row = dict[str, float | int]
Networks = Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]
"""By trial id: its resolved configuration, and its network's weights."""


@dataclass(frozen=True)
class Goal:
    """What a trial has to deliver; no part of its identity.

    epochs: the target epoch.
    test_epochs: further epochs at which the test split is evaluated; the last one always is.
    best: a validation column and 'max' or 'min': the test split is also evaluated whenever that column improves.
    extra: what the test split is scored by besides, after the last epoch;
    `trainables.inpaint.evaluation.perceptual_metrics.NAMES`.
    """

    epochs: int
    test_epochs: tuple[int, ...] = ()
    best: tuple[str, str] | None = None
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class Restored:
    """The newest intact checkpoint: the epoch it was written after, and its files."""

    epoch: int
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Machine:
    """Where the trial runs: facts that change its speed but, on one kind of CPU with one thread count, no number.

    device: a torch device, e.g. 'cpu' or 'cuda'.
    cpus: CPU threads that torch may use.
    data_root: folder that holds the data sets; None for the user's cache and torchvision's download.
    workers: the processes that train the trial together, each with such a device and as many threads.
    forged, outputs: where the things lie that `trainables.schema.needs` names: the folder of each forged set by its
    id, and what each finished trial recorded, `outputs.npz`, by the trial's id. networks: those that it names.
    """

    device: str = "cpu"
    cpus: int = 1
    data_root: Path | None = None
    workers: Workers = field(default_factory=Workers)
    forged: Mapping[str, Path] = field(default_factory=dict)
    outputs: Mapping[str, Path] = field(default_factory=dict)
    networks: Networks = field(default_factory=dict)


class Session(Protocol):
    """One attempt at one trial, seen from inside.

    Where several workers train it, each has a session, and calls the same methods in the same order: what one is told
    (`restore`, `wants_checkpoint`, `should_stop`), all are; what is written, worker 0 gives and its session writes.
    """

    @property
    def goal(self) -> Goal:
        """What to deliver."""

    @property
    def machine(self) -> Machine:
        """Where to compute."""

    def restore(self) -> Restored | None:
        """The checkpoint to go on from, none for a fresh start."""

    def wants_checkpoint(self) -> bool:
        """Whether enough time has passed since the last checkpoint. The last epoch's is always written."""

    def save(self, epoch: int, files: Mapping[str, bytes]) -> None:
        """Keep a checkpoint: all its files become visible together or not at all."""

    def samples(self, epoch: int, files: Mapping[str, bytes]) -> None:
        """Keep the fixed evaluation images of this epoch (PNG), and what lies beside the last ones."""

    def finish(self, history: list[Row], facts: Mapping[str, Any]) -> None:
        """Create the trial's result: its whole history, and facts about it (parameters, data fingerprint)."""

    def report(self, row: Row) -> None:
        """Tell the record of an epoch. Always the last act of an epoch: a scheduler may end the trial inside."""

    def should_stop(self) -> bool:
        """Whether the trial shall end after the epoch at hand: `fit` then saves a checkpoint and raises Stopped."""

    def clock(self) -> float:
        """Seconds from an arbitrary moment, for measuring."""


class Stopped(Exception):  # noqa: N818 - not an error
    """The trial was asked to stop and has written its checkpoint; it can go on later."""


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
