"""`sweeps run --log`: passes the records of a run on to TensorBoard, MLflow or Weights & Biases while trials train.

A thread of its own writes, so that a slow server does not delay the driver. A tool that fails is left out with one
line; the sweep goes on, and `sweeps export-to` writes its finished trials later.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeps.errors import SweepError
from sweeps.results.columns import EPOCH
from sweeps.run_options import RunOptions

if TYPE_CHECKING:
    from analysis.trackers import RunWriter, TrackedRun, Tracker
    from cluster.driver.execution import RunEvents, RunResult
    from cluster.driver.pending_work import PendingWork
    from cluster.driver.queue.trial_queue import Job, ProgressListener
    from sweeps.spec.plan import Plan
    from sweeps.store.base import Store

CLOSE_S = 60.0
"""Seconds that the last records may take when a run has ended."""


def tracked(events: RunEvents, store: Store, options: RunOptions) -> RunEvents:
    """The events of a run, which are also written for the tool of `--log`; unchanged without one.

    SweepError, before anything runs, if the tool cannot be used.
    """
    if options.log is None:
        if options.log_to is not None:
            raise SweepError(
                f"--log-to {options.log_to}",
                "no tool is named that would write there",
                "with --log TOOL",
                "--log tensorboard, --log mlflow or --log wandb",
            )
        return events
    from analysis import trackers

    trackers.check(options.log, "--log")
    trackers.check_place(options.log, store, options.log_to)
    return TrackedEvents(events, store, options.log, options.log_to)


class TrackedEvents:
    """Passes events on, and the records of trials to a tracker as well; see `cluster.driver.execution.RunEvents`."""

    def __init__(self, events: RunEvents, store: Store, tool: str, out: str | None) -> None:
        self._events, self._store, self._tool, self._out = events, store, tool, out
        self._plan: Plan | None = None
        self.quiet = events.quiet

    def dependency(self, plan: Plan) -> None:
        self._events.dependency(plan)

    def notes(self, plan: Plan) -> None:
        self._events.notes(plan)

    def planned(self, work: PendingWork) -> None:
        self._plan = work.plan
        self._events.planned(work)

    @contextlib.contextmanager
    def progress(self, total: int, cached: int, metric: str) -> Iterator[ProgressListener]:
        from analysis import trackers

        assert self._plan is not None, "a plan is announced before its trials run"
        with self._events.progress(total, cached, metric) as listener, trackers.quiet_package():
            tracker = trackers.live(self._tool, self._plan.name, self._store, self._out)
            if not self.quiet:
                print(f"--log {self._tool}: {tracker.place}", file=sys.stderr)
            tracking = TrackedListener(listener, tracker, self._plan, self._store)
            try:
                yield tracking
            finally:
                tracking.close()

    def finished(self, result: RunResult, store: Store) -> None:
        self._events.finished(result, store)


class TrackedListener:
    """Passes the events of trials on, and writes their records in a thread; a listener of the driver."""

    def __init__(self, listener: ProgressListener, tracker: Tracker, plan: Plan, store: Store) -> None:
        self._listener, self._tracker, self._plan, self._store = listener, tracker, plan, store
        cells = [(trial.id, arm.name, seed) for arm in plan.arms for seed, trial in arm.trials.items()]
        self._cells = {trial: (arm, seed) for trial, arm, seed in reversed(cells)}
        self._writers: dict[str, RunWriter] = {}
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._write, name="tracker", daemon=True)
        self._thread.start()

    def added(self, jobs: Sequence[Job]) -> None:
        self._listener.added(jobs)

    def started(self, job: Job) -> None:
        self._listener.started(job)

    def record(self, job: Job, row: dict[str, Any]) -> None:
        self._listener.record(job, row)
        self._work.put(lambda: self._log(job, row))

    def ended(self, job: Job, state: str) -> None:
        self._listener.ended(job, state)
        self._work.put(lambda: self._end(job, state))

    def close(self) -> None:
        """Write what is left; runs that have not ended count as stopped."""
        self._work.put(None)
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            print(f"{self._tracker.place} did not take the last records within {CLOSE_S:.0f} s", file=sys.stderr)

    def _write(self) -> None:
        try:
            while (act := self._work.get()) is not None:
                act()
            for writer in self._writers.values():
                writer.end("stopped")
        except Exception as error:  # of a library or a server: whatever it is, the sweep is worth more
            why = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            again = "`sweeps export-to` writes the finished trials later"
            print(f"--log: {self._tracker.place} failed and gets no more records ({why}); {again}", file=sys.stderr)

    def _log(self, job: Job, row: Mapping[str, Any]) -> None:
        if job.trial_id not in self._writers:
            self._writers[job.trial_id] = self._tracker.begin(self._run(job), self._earlier(job, int(row[EPOCH])))
        self._writers[job.trial_id].log(row)

    def _end(self, job: Job, state: str) -> None:
        writer = self._writers.pop(job.trial_id, None)
        if writer is not None:
            writer.end(state)

    def _run(self, job: Job) -> TrackedRun:
        from analysis.trackers import TrackedRun
        from sweeps.spec.plan import flatten
        from sweeps.store import trials as stored_trials

        trial = stored_trials.read_planned_trial(self._store, job.trial_id)
        arm, seed = self._cells.get(job.trial_id, (job.label, trial["seed"]))
        config = flatten({**trial["config"], "epochs": job.epochs})
        return TrackedRun(self._plan.name, arm, seed, job.trial_id, self._store.uri, config)

    def _earlier(self, job: Job, epoch: int) -> list[Mapping[str, float]]:
        """The records of epochs before a trial was resumed."""
        from sweeps.store import checkpoints

        if epoch <= 1:
            return []
        rows = checkpoints.checkpoint_history(self._store, job.trial_id, job.epochs)
        return [row for row in rows if row[EPOCH] < epoch]
