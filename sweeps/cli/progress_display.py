"""What a terminal shows while a sweep runs: a live table on a terminal, plain lines elsewhere, nothing with --quiet.

The table is drawn with `rich.live`: `rich.progress` prints no lines in a log, and has neither a header row nor a limit
on the number of rows.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeps.cli import common, console
from sweeps.results.columns import EPOCH, TIME_S, describe

if TYPE_CHECKING:
    from cluster.driver.execution import RunResult
    from cluster.driver.pending_work import PendingWork
    from cluster.driver.queue.trial_queue import Job
    from sweeps.spec.plan import Plan
    from sweeps.store.base import Store

PLAIN_EVERY_S = 30.0
"""Seconds between two lines about running trials where there is no terminal; each end of a trial is always printed."""
MAX_ROWS = 12
"""Running trials in the live table; further ones are only counted."""
BAR_WIDTH = 30
FINAL_STATES = ("done", "pruned", "failed")
"""States in which a trial needs nothing more; one that crashed or was stopped continues later."""


class RunDisplay:
    """Prints the events of a run; see `cluster.driver.execution.RunEvents`."""

    def __init__(self, store: str, quiet: bool = False) -> None:
        self._store = store
        self.quiet = quiet

    def dependency(self, plan: Plan) -> None:
        if not self.quiet:
            print(f"first: {plan.name}", file=sys.stderr)

    def notes(self, plan: Plan) -> None:
        common.print_notes(plan)

    def planned(self, work: PendingWork) -> None:
        if not self.quiet:
            console.plan(work)

    def progress(self, total: int, cached: int, metric: str) -> ProgressDisplay:
        return ProgressDisplay(total, cached, metric, self.quiet)

    def finished(self, result: RunResult, store: Store) -> None:
        if not self.quiet:
            unmeasured = [job.trial_id for job in result.left.to_measure]
            console.outcome(result.stored, store, self._store, unmeasured)


@dataclass
class _Running:
    epochs: int
    epoch: int = 0
    value: float | None = None
    seconds: float | None = None


class ProgressDisplay:
    """Receives the events of trials from the driver and shows them. Use it as a context manager."""

    def __init__(self, total: int, cached: int, metric: str, quiet: bool = False, stream: TextIO | None = None) -> None:
        """`cached` of the `total` trials were done before; `metric` is the column whose best value is shown."""
        self.counts: Counter[str] = Counter(cached=cached)
        self.total, self.metric, self.quiet = total, metric, quiet
        self.best: tuple[float, str] | None = None
        self._running: dict[str, _Running] = {}
        self._console = Console(file=stream or sys.stderr, highlight=False)
        self._console.soft_wrap = (
            not self._console.is_terminal
        )  # do not wrap the lines of a log; a live table must wrap
        self._started = self._last_line = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> ProgressDisplay:
        if not self.quiet and self._console.is_terminal:
            self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def added(self, jobs: Sequence[Job]) -> None:
        self.total += len(jobs)

    def started(self, job: Job) -> None:
        self._running[job.label] = _Running(job.epochs)

    def record(self, job: Job, row: dict[str, Any]) -> None:
        running = self._running.setdefault(job.label, _Running(job.epochs))
        running.epoch, running.seconds = int(row[EPOCH]), row.get(TIME_S)
        value = row.get(self.metric)
        if value is not None:
            running.value = float(value)
            better = describe(self.metric)[1]
            if self.best is None or (value > self.best[0]) == (better == "max"):
                self.best = (float(value), job.label)
        if not self.quiet and self._live is None and time.monotonic() - self._last_line > PLAIN_EVERY_S:
            self._last_line = time.monotonic()
            self._console.print(self._line(), markup=False)

    def ended(self, job: Job, state: str) -> None:
        self._running.pop(job.label, None)
        self.counts[state] += 1
        if not self.quiet:
            line = f"{state:<8} {job.label}  ({self._final} of {self.total}, {self._time_left()})"
            self._console.print(line, markup=False)

    @property
    def _final(self) -> int:
        """Trials that need nothing more in this run, including those that were done before."""
        return self.counts["cached"] + sum(self.counts[state] for state in FINAL_STATES)

    def _time_left(self) -> str:
        """Estimated from the trials that have ended in this run."""
        ended, left = self._final - self.counts["cached"], self.total - self._final
        if not left:
            return "last one"
        if not ended:
            return "time left unknown"
        seconds = (time.monotonic() - self._started) / ended * left
        return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"

    def _line(self) -> str:
        first, *others = self._counts()
        if self._running:
            label, running = max(self._running.items(), key=lambda item: item[1].epoch)
            others.insert(0, f"{label} at epoch {running.epoch}")
        return " · ".join([first, *others])

    def _counts(self) -> list[str]:
        """The number of trials in each state, and the best value so far."""
        states = [f"{count} {state}" for state, count in self.counts.items() if count]
        parts = [" · ".join([*states, f"{len(self._running)} running"])]
        if self.best:
            value = f"{self.best[0]:.4g} {describe(self.metric)[0]}".rstrip()
            parts.append(f"best {self.metric} {value} ({self.best[1]})")
        return parts

    def _table(self) -> Group:
        """The live table of running trials with a summary below."""
        table = Table("running", "epoch", self.metric, "s/epoch", box=box.SIMPLE_HEAD, pad_edge=False)
        for label, running in list(self._running.items())[:MAX_ROWS]:
            value = "" if running.value is None else f"{running.value:.4g}"
            seconds = "" if running.seconds is None else f"{running.seconds:.1f}"
            table.add_row(Text(label), f"{running.epoch}/{running.epochs}", value, seconds)
        more = len(self._running) - MAX_ROWS
        if more > 0:
            table.add_row(f"and {more} more")
        summary = Table.grid(padding=(0, 2))
        summary.add_row(
            ProgressBar(max(self.total, 1), self._final, width=BAR_WIDTH),
            f"{self._final} of {self.total}, {self._time_left()}",
        )
        return Group(table, summary, Text(" · ".join(self._counts())))
