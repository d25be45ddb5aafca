"""Which trial runs next. The queue behind every runner: in-process and Ray Tune take from it and give back to it."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from cluster import provenance
from cluster.leases import Leases
from cluster.worker import DONE, FAILED, HELD
from sweeps import ledger
from sweeps.store import Store
from trainables.session import Row

CRASHED = "crashed"
"""How a trial ends whose process died under it: no end was written."""
CRASHES = 3
"""A trial whose process dies this often in one run is failed: more tries would do the same."""
LOOK_AGAIN_S = 2.0
"""Seconds between two looks at a trial that somebody else holds."""


@dataclass(frozen=True)
class Job:
    """A trial to run: its id, its target epoch and what to call it on the terminal."""

    trial_id: str
    epochs: int
    label: str


class Watcher(Protocol):
    """Who is told what happens, in the driver: the terminal's progress display."""

    def started(self, job: Job) -> None:
        """A trial was given to a process."""

    def record(self, job: Job, row: Row) -> None:
        """It has reported an epoch."""

    def ended(self, job: Job, state: str) -> None:
        """It is done, failed, stopped, or crashed and tried again."""


class Feed:
    """Hands out jobs. A job that another driver holds is looked at again until it is done there or free."""

    def __init__(self, store: Store, jobs: Iterable[Job], watcher: Watcher, leases: Leases | None = None) -> None:
        self._store, self._watcher = store, watcher
        self._leases = leases or Leases(store)
        self._waiting = deque(jobs)
        self._held: dict[Job, float] = {}
        self._crashes: Counter[str] = Counter()
        self.live: set[Job] = set()
        self.halted = False

    def take(self) -> tuple[Job, int] | None:
        """The next job that may run, and its newest attempt's number (0: none); None when there is none just now."""
        if self.halted:
            return None
        while self._waiting:
            job = self._waiting.popleft()
            after = self._leases.free_after(job.trial_id)
            if after is not None:
                self.live.add(job)
                self._watcher.started(job)
                return job, after
            self._held[job] = time.monotonic()
        self._look_again()
        return self.take() if self._waiting else None

    def _look_again(self) -> None:
        """Put held jobs back that are due for a look; drop those that their holder has finished."""
        due = [job for job, since in self._held.items() if time.monotonic() - since >= LOOK_AGAIN_S]
        for job in due:
            del self._held[job]
            if self._store.exists_many([ledger.result_key(job.trial_id, job.epochs)]):
                self._watcher.ended(job, DONE)
            elif self._leases.free_after(job.trial_id) is None:
                self._held[job] = time.monotonic()
            else:
                self._waiting.append(job)

    def give_back(self, job: Job, state: str) -> None:
        """Tell how a job went: done, failed, stopped, held, crashed."""
        self.live.discard(job)
        if state == HELD:
            self._held[job] = time.monotonic()
            return
        if state == CRASHED:
            self._crashes[job.trial_id] += 1
            if self._crashes[job.trial_id] < CRASHES:
                self._waiting.append(job)
            else:
                state = FAILED
                self._record_crashes(job)
        self._watcher.ended(job, state)

    def record(self, job: Job, row: Row) -> None:
        self._watcher.record(job, row)

    def halt(self) -> None:
        """Hand out nothing more."""
        self.halted = True

    @property
    def finished(self) -> bool:
        """Whether nothing runs and nothing is left."""
        return not self.live and (self.halted or not (self._waiting or self._held))

    def _record_crashes(self, job: Job) -> None:
        """The dead process could not say how it ended: an attempt of this process says it."""
        after = self._leases.free_after(job.trial_id)
        claim = {"claimed_at": time.time(), "process": provenance.process(), "provenance": {}}
        attempt = None if after is None else ledger.claim(self._store, job.trial_id, after, claim)
        if attempt is not None:
            message = (
                f"the trial's process died {CRASHES} times in this run; often the machine ran out of memory: "
                "run fewer trials at once (--max-concurrent) or a smaller batch"
            )
            error = {"type": "process died", "message": message, "traceback": ""}
            ledger.end(self._store, attempt, FAILED, time.time(), error)
