"""How the Python interface reports the progress of a run: to a function of the user's, or as printed lines."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from sweeps.errors import SweepError

if TYPE_CHECKING:
    from cluster.driver.execution import RunEvents, RunResult
    from cluster.driver.pending_work import PendingWork
    from cluster.driver.queue.trial_queue import Job
    from sweeps.spec.plan import Plan
    from sweeps.store.base import Store

_FINAL = ("done", "pruned", "failed")
"""States in which a trial needs nothing more."""


@dataclass(frozen=True)
class TrialProgress:
    """What has happened to a trial of a run."""

    sweep: str
    trial: str
    """Its id."""
    label: str
    """Its first arm and seed."""
    state: str
    """started, epoch (it has reported one), done, pruned, failed, stopped, or crashed (it will be tried again)."""
    epochs: int
    """Its target epoch."""
    finished: int
    """Trials of the sweep that need nothing more, including those that were done before."""
    total: int
    """Trials of the sweep."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """With state `epoch`: the columns that it has reported, such as `epoch`, `train/l2` and `val/psnr_db`."""


ProgressLike: TypeAlias = "bool | Callable[[TrialProgress], object]"
"""True: print a line for each trial that ends. A function: it is called with each `TrialProgress`."""


def listener(progress: ProgressLike, events: RunEvents | None) -> RunEvents:
    """The events of a run for `progress`, or the given ones. SweepError if both are given."""
    from cluster.driver.execution import NoEvents

    if progress is False:
        return events or NoEvents()
    if events is not None:
        raise SweepError("progress and events", "both are given", "one of them", "leave `events` out")
    if progress is not True and not callable(progress):
        raise SweepError(
            f"progress={progress!r}", "it is not called", "True, False, or a function of one argument", "progress=True"
        )
    return ProgressEvents(_print if progress is True else progress)


def _print(event: TrialProgress) -> None:
    if event.state not in ("started", "epoch"):
        print(f"{event.finished} of {event.total}  {event.state:<8} {event.sweep}: {event.label}", flush=True)


class ProgressEvents:
    """Calls a function with each event of a trial; see `cluster.driver.execution.RunEvents`."""

    quiet = True

    def __init__(self, report: Callable[[TrialProgress], object]) -> None:
        self._report = report
        self._sweep = ""
        self._finished = self._total = 0

    def dependency(self, plan: Plan) -> None: ...

    def notes(self, plan: Plan) -> None: ...

    def planned(self, work: PendingWork) -> None:
        self._sweep = work.plan.name

    def progress(self, total: int, cached: int, metric: str) -> contextlib.AbstractContextManager[ProgressEvents]:
        self._total, self._finished = total, cached
        return contextlib.nullcontext(self)

    def finished(self, result: RunResult, store: Store) -> None: ...

    def added(self, jobs: Sequence[Job]) -> None:
        self._total += len(jobs)

    def started(self, job: Job) -> None:
        self._tell(job, "started")

    def record(self, job: Job, row: Mapping[str, Any]) -> None:
        self._tell(job, "epoch", row)

    def ended(self, job: Job, state: str) -> None:
        self._finished += state in _FINAL
        self._tell(job, state)

    def _tell(self, job: Job, state: str, record: Mapping[str, Any] | None = None) -> None:
        counts = (job.epochs, self._finished, self._total)
        self._report(TrialProgress(self._sweep, job.trial_id, job.label, state, *counts, dict(record or {})))
