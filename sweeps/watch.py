"""What a terminal shows while a sweep runs: a live line on a terminal, plain lines elsewhere, nothing if quiet."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sweeps.record import EPOCH, describe

PLAIN_EVERY_S = 30.0
"""Seconds between two lines of epochs where there is no terminal; ends of trials are always told."""


class Watch:
    """Told by the driver what happens, shows it. Use as a context manager.

    total: trials of the plan. cached: how many were done before. metric: the column whose best value is shown.
    """

    def __init__(self, total: int, cached: int, metric: str, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.counts: Counter[str] = Counter(cached=cached)
        self.total, self.metric, self.quiet = total, metric, quiet
        self.best: tuple[float, str] | None = None
        self._running: dict[str, int] = {}
        self._console = Console(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self._started = self._told = time.monotonic()
        self._progress: Progress | None = None

    def __enter__(self) -> Watch:
        if not self.quiet and self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn())
            self._progress = Progress(*columns, console=self._console, transient=True)
            self._progress.start()
            self._bar = self._progress.add_task(self._line(), total=self.total, completed=self.counts["cached"])
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    def added(self, jobs: Sequence[Any]) -> None:
        self.total += len(jobs)
        if self._progress:
            self._progress.update(self._bar, total=self.total)

    def started(self, job: Any) -> None:
        self._running[job.label] = 0
        self._show()

    def record(self, job: Any, row: dict[str, Any]) -> None:
        self._running[job.label] = int(row[EPOCH])
        value = row.get(self.metric)
        if value is not None:
            better = describe(self.metric)[1]
            if self.best is None or (value > self.best[0]) == (better == "max"):
                self.best = (float(value), job.label)
        self._show()
        if self._plain and time.monotonic() - self._told > PLAIN_EVERY_S:
            self._told = time.monotonic()
            self._console.print(self._line())

    def ended(self, job: Any, state: str) -> None:
        self._running.pop(job.label, None)
        self.counts[state] += 1
        if not self.quiet:
            done = self.counts["done"] + self.counts["cached"]
            self._console.print(f"{state:<8} {job.label}  ({done} of {self.total}, {self._left()})", markup=False)
        self._show()

    @property
    def _plain(self) -> bool:
        return not self.quiet and self._progress is None

    def _show(self) -> None:
        if self._progress:
            done = self.counts["done"] + self.counts["cached"] + self.counts["failed"]
            self._progress.update(self._bar, description=self._line(), completed=done)

    def _line(self) -> str:
        parts = [f"{count} {state}" for state, count in self.counts.items() if count]
        parts.append(f"{len(self._running)} running")
        if self._running:
            label, epoch = max(self._running.items(), key=lambda item: item[1])
            parts.append(f"{label} at epoch {epoch}")
        if self.best:
            value = f"{self.best[0]:.4g} {describe(self.metric)[0]}".rstrip()
            parts.append(f"best {self.metric} {value} ({self.best[1]})")
        return " · ".join(parts).replace("[", "(").replace("]", ")")

    def _left(self) -> str:
        """Time left, from the trials that have ended so far."""
        ended = self.counts["done"] + self.counts["failed"]
        left = self.total - self.counts["cached"] - ended
        if not left or not ended:
            return "last one" if not left else "time left unknown"
        seconds = (time.monotonic() - self._started) / ended * left
        return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"
