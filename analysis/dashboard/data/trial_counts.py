"""How many trials of each unfinished sweep are in which state, read by a thread while pages are shown."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from analysis.dashboard.data.cache import TTL_FACTOR
from analysis.dashboard.data.reader import FRESH_S, Reader
from sweeps.errors import SweepError
from sweeps.results import progress
from sweeps.results.progress import TrialState

_TRIALS = 1000
"""Number of trials whose states are read at a time; between two such reads, the thread yields to pages."""


@dataclass(frozen=True)
class ListedPlan:
    """The parts of a plan that the list needs; a whole plan has hundreds of kilobytes."""

    key: str
    """Key of the plan in the store."""
    question: str
    task: str
    targets: dict[str, tuple[int, ...]]
    """{trial: target epochs}."""
    searching: bool
    """Whether the sweep has a search."""
    planned_at: float
    """Seconds since 1970."""

    @classmethod
    def from_json(cls, key: str, plan: dict[str, Any]) -> ListedPlan:
        """From a stored plan and its key."""
        return cls(
            key,
            str(plan.get("question") or ""),
            str(plan.get("task") or ""),
            progress.targets(plan),
            bool(plan.get("search")),
            float(plan.get("planned_at") or 0.0),
        )


class TrialCounts:
    """Number of trials by state of each unfinished sweep. The thread calls `update`, pages call the other methods."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._plans: dict[str, ListedPlan] = {}
        self._counts: dict[str, tuple[str, Counter[str]]] = {}
        self._good_until = 0.0
        self._due_at: float | None = None
        self._updated = threading.Event()
        self._error: Exception | None = None

    def of(self, name: str, plan: ListedPlan) -> Counter[str]:
        """Number of trials by state; empty if they have not been read since the plan was stored."""
        key, count = self._counts.get(name, ("", Counter[str]()))
        return count if key == plan.key else Counter()

    def are_due(self, plans: dict[str, ListedPlan]) -> bool:
        """Whether the states must be read again. Raises the error of the last update, if it had one."""
        self._plans = plans
        error, self._error = self._error, None
        if error is not None:
            raise error
        known = all(self._counts.get(name, ("",))[0] == plan.key for name, plan in plans.items())
        if known and time.monotonic() < self._good_until:
            return False
        if self._due_at is None:
            self._updated.clear()
            self._due_at = time.monotonic()
        return True

    def wait(self, seconds: float) -> None:
        """Wait for a due update, at most until so many seconds after it became due."""
        if self._due_at is not None:
            self._updated.wait(max(0.0, self._due_at + seconds - time.monotonic()))

    def update(self) -> None:
        """Read the states if that is due."""
        if self._due_at is None:
            return
        began, plans = time.monotonic(), self._plans
        try:
            self._counts = self._count(plans)
        except (SweepError, KeyError, ValueError, TypeError) as error:
            self._error = error
        now = time.monotonic()
        self._good_until = now + max(FRESH_S, TTL_FACTOR * (now - began))
        self._due_at = None
        self._updated.set()

    def _count(self, plans: dict[str, ListedPlan]) -> dict[str, tuple[str, Counter[str]]]:
        wanted: dict[str, set[int]] = {}
        for plan in plans.values():
            for trial, epochs in plan.targets.items():
                wanted.setdefault(trial, set()).update(epochs)
        trials, states = sorted(wanted), dict[str, TrialState]()
        for start in range(0, len(trials), _TRIALS):
            self._reader.yield_to_pages()
            some = {trial: tuple(sorted(wanted[trial])) for trial in trials[start : start + _TRIALS]}
            states |= progress.states_of(self._reader.store, some)
        return {
            name: (plan.key, Counter(states[trial].words(e) for trial, many in plan.targets.items() for e in many))
            for name, plan in plans.items()
        }
