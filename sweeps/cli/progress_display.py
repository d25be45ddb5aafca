"""What a terminal shows while a sweep runs: a live table on a terminal, plain lines elsewhere, nothing if quiet."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeps.results.columns import EPOCH, TIME_S, describe

PLAIN_EVERY_S = 30.0
"""Seconds between two lines of epochs where there is no terminal; ends of trials are always told."""
ROWS = 12
"""Running trials in the live table; further ones are counted."""
ENDS = ("done", "pruned", "failed")
"""How a trial ends for good: one that crashed or was stopped goes on later."""


@dataclass
class _Running:
    epochs: int
    epoch: int = 0
    value: float | None = None
    seconds: float | None = None


class Watch:
    """Told by the driver what happens, shows it. Use as a context manager.

    total: trials of the plan. cached: how many were done before. metric: the column whose best value is shown.
    """

    def __init__(self, total: int, cached: int, metric: str, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.counts: Counter[str] = Counter(cached=cached)
        self.total, self.metric, self.quiet = total, metric, quiet
        self.best: tuple[float, str] | None = None
        self._running: dict[str, _Running] = {}
        self._console = Console(file=stream or sys.stderr, highlight=False)
        self._console.soft_wrap = not self._console.is_terminal  # a log is not wrapped; a live table must be
        self._started = self._told = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Watch:
        if not self.quiet and self._console.is_terminal:
            self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def added(self, jobs: Sequence[Any]) -> None:
        self.total += len(jobs)

    def started(self, job: Any) -> None:
        self._running[job.label] = _Running(job.epochs)

    def record(self, job: Any, row: dict[str, Any]) -> None:
        running = self._running.setdefault(job.label, _Running(job.epochs))
        running.epoch, running.seconds = int(row[EPOCH]), row.get(TIME_S)
        value = row.get(self.metric)
        if value is not None:
            running.value = float(value)
            better = describe(self.metric)[1]
            if self.best is None or (value > self.best[0]) == (better == "max"):
                self.best = (float(value), job.label)
        if not self.quiet and self._live is None and time.monotonic() - self._told > PLAIN_EVERY_S:
            self._told = time.monotonic()
            self._console.print(self._line(), markup=False)

    def ended(self, job: Any, state: str) -> None:
        self._running.pop(job.label, None)
        self.counts[state] += 1
        if not self.quiet:
            self._console.print(f"{state:<8} {job.label}  ({self._over} of {self.total}, {self._left()})", markup=False)

    @property
    def _over(self) -> int:
        """Trials that need nothing more in this run, those done before included."""
        return self.counts["cached"] + sum(self.counts[state] for state in ENDS)

    def _left(self) -> str:
        """Time left, from the trials that have ended so far."""
        ended, left = self._over - self.counts["cached"], self.total - self._over
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
        """How many trials are where, and the best value so far."""
        states = [f"{count} {state}" for state, count in self.counts.items() if count]
        parts = [" · ".join([*states, f"{len(self._running)} running"])]
        if self.best:
            value = f"{self.best[0]:.4g} {describe(self.metric)[0]}".rstrip()
            parts.append(f"best {self.metric} {value} ({self.best[1]})")
        return parts

    def _table(self) -> Group:
        """The live table: what runs, how far it is, and a summary below."""
        table = Table("running", "epoch", self.metric, "s/epoch", box=box.SIMPLE_HEAD, pad_edge=False)
        for label, running in list(self._running.items())[:ROWS]:
            value = "" if running.value is None else f"{running.value:.4g}"
            seconds = "" if running.seconds is None else f"{running.seconds:.1f}"
            table.add_row(Text(label), f"{running.epoch}/{running.epochs}", value, seconds)
        more = len(self._running) - ROWS
        if more > 0:
            table.add_row(f"and {more} more")
        bar = "━" * round(30 * self._over / max(self.total, 1))
        summary = Text.assemble((bar.ljust(30, "─"), "cyan"), f"  {self._over} of {self.total}, {self._left()}")
        return Group(table, summary, Text(" · ".join(self._counts())))
