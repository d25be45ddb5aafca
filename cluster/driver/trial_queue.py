"""Which trial runs next. The queue behind every runner: in-process and Ray Tune take from it and give back to it.

Two kinds of work come together here: planned trials, and the searches' suggestions, which are asked for when a process
is free and come first, since arms may wait for what a search finds.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cluster.driver.early_stopping import EarlyStopping
from cluster.driver.leases import Leases
from cluster.worker import provenance
from cluster.worker.worker import CRASHED, DONE, FAILED, HELD, STOPPED
from sweeps.search.arm_search import Suggestion, Tuning
from sweeps.store import attempts as stored_attempts
from sweeps.store import layout
from sweeps.store.base import Store
from trainables.training.session import Row

PRUNED = "pruned"
"""How a trial ends that early stopping ended; one whose process died under it is `CRASHED`."""
CRASHES = 3
"""A trial whose process dies this often without a new epoch in between is failed: more tries would do the same."""
FALSE_STARTS = 10
"""So often may a process end before the trial was begun: mostly another trial's fault, which was slow to leave it."""
LOOK_AGAIN_S = 2.0
"""Seconds between two looks at what other drivers do."""


@dataclass(frozen=True)
class Job:
    """A trial to run: its id, its target epoch and what to call it on the terminal."""

    trial_id: str
    epochs: int
    label: str


class Watcher(Protocol):
    """Who is told what happens, in the driver: the terminal's progress display."""

    def added(self, jobs: Sequence[Job]) -> None:
        """More trials than were known at first: a search's suggestions, or arms that a search has found."""

    def started(self, job: Job) -> None:
        """A trial was given to a process."""

    def record(self, job: Job, row: Row) -> None:
        """It has reported an epoch."""

    def ended(self, job: Job, state: str) -> None:
        """It is done, pruned, failed, stopped, or crashed and tried again."""


@dataclass
class SearchWork:
    """A search with the rule that stops its trials. on_done: called once, when the search has found what it can."""

    tuning: Tuning
    stopping: EarlyStopping
    on_done: Callable[[], Iterable[Job]]
    over: bool = False


@dataclass(frozen=True)
class _Try:
    """What a search's job belongs to: a suggestion, by its number, and the jobs of all its seeds.

    Two suggestions can share a trial (where `epochs` is searched, say), so a job is known by itself, not by its trial.
    """

    search: SearchWork
    number: int
    jobs: tuple[Job, ...]

    @property
    def is_open(self) -> bool:
        return self.search.tuning.is_open(self.number)


class Feed:
    """Hands out jobs. A job that another driver holds is looked at again until it is done there or free.

    failures: halt after so many failed trials; None: a failing trial never stops the others.
    """

    def __init__(
        self,
        store: Store,
        jobs: Iterable[Job],
        watcher: Watcher,
        searches: Sequence[SearchWork] = (),
        leases: Leases | None = None,
        failures: int | None = None,
    ) -> None:
        self._store, self._watcher, self._searches = store, watcher, list(searches)
        self._leases = leases or Leases(store)
        self._waiting = deque(jobs)
        self._held: list[Job] = []
        self._looked = time.monotonic()
        self._crashes: Counter[tuple[str, bool]] = Counter()
        self._reached: Counter[str] = Counter()
        self._tries: dict[Job, _Try] = {}
        self._curves: dict[str, dict[int, float]] = {}
        self._cut: set[Job] = set()
        self._failures = failures
        self.live: dict[Job, int] = {}
        """Jobs that were handed out, each with the number of the attempt before."""
        self.halted = False
        for search in self._searches:
            curves = search.tuning.curves()
            search.stopping.replay(curves)
            self._curves.update(curves)
            self._adopt(search, search.tuning.unfinished())

    # --- handing out --------------------------------------------------------------------------------------------------

    def take(self) -> tuple[Job, int] | None:
        """The next job that may run, and its newest attempt's number (0: none); None when there is none just now."""
        self.look_again()
        while not self.halted:
            if not self._waiting or self._waiting[0] not in self._tries:
                self._ask()
            if not self._waiting:
                return None
            job = self._waiting.popleft()
            if self._is_settled(job):
                continue
            if self._is_done(job):
                self._conclude(job, DONE)
                continue
            after = self._leases.free_after(job.trial_id)
            if after is None:
                self._held.append(job)
            elif not (after and self._is_settled_elsewhere(job)):
                self.live[job] = after
                self._watcher.started(job)
                return job, after
        return None

    def _ask(self) -> None:
        """Ask the search with the fewest suggestions for another one; its trials go to the front."""
        for search in sorted((s for s in self._searches if not s.over), key=lambda s: len(s.tuning.search.asks())):
            suggestion = search.tuning.ask()
            if suggestion is not None:
                self._suggest(search, suggestion)
                return
            self._finish_search(search)

    def _suggest(self, search: SearchWork, suggestion: Suggestion) -> None:
        label = f"{search.tuning.arm.name} · try {suggestion.number}"
        jobs = [Job(trial.id, trial.epochs, f"{label} · seed {trial.seed}") for trial in suggestion.trials]
        self._tries.update(dict.fromkeys(jobs, _Try(search, suggestion.number, tuple(jobs))))
        self._watcher.added(jobs)
        self._waiting.extendleft(reversed(jobs))

    def _adopt(self, search: SearchWork, suggestions: Sequence[Suggestion]) -> None:
        """Take on suggestions that another driver has asked for, which may have died; the oldest comes first."""
        for suggestion in reversed(suggestions):
            self._suggest(search, suggestion)
        self._finish_search(search)

    def look_again(self) -> None:
        """Take in what other drivers have done: asked and told, finished or left trials that are held here."""
        if time.monotonic() - self._looked < LOOK_AGAIN_S or (self._waiting and not self._held):
            return
        self._looked = time.monotonic()
        for search in self._searches:
            if not search.over:
                self._adopt(search, search.tuning.catch_up())
        held, self._held = self._held, []
        for job in held:
            if self._is_settled(job):
                continue
            if self._is_done(job):
                self._conclude(job, DONE)
            elif self._leases.free_after(job.trial_id) is None:
                self._held.append(job)
            elif self._has_failed(job):
                self._conclude(job, FAILED)
            else:
                self._waiting.append(job)

    def _is_done(self, job: Job) -> bool:
        return bool(self._store.exists_many([layout.result_key(job.trial_id, job.epochs)]))

    def _is_settled(self, job: Job) -> bool:
        """Whether a search needs a trial no more: another of its seeds, or another driver, has told the suggestion."""
        owner = self._tries.get(job)
        if owner is None or owner.is_open:
            return False
        self._watcher.ended(job, DONE if self._is_done(job) else PRUNED)
        return True

    def _is_settled_elsewhere(self, job: Job) -> bool:
        """The same by a fresh look, for a trial that was tried before: who prunes one tells before it ends."""
        owner = self._tries.get(job)
        if owner is None:
            return False
        self._adopt(owner.search, owner.search.tuning.catch_up())
        return self._is_settled(job)

    # --- taking back --------------------------------------------------------------------------------------------------

    def record(self, job: Job, row: Row) -> bool:
        """Take in a record. Whether the trial shall end now: early stopping, or its suggestion is told already."""
        self._watcher.record(job, row)
        if int(row["epoch"]) > self._reached[job.trial_id]:  # it gets on, so that it will end however often nodes go
            self._reached[job.trial_id] = int(row["epoch"])
            self._crashes.pop((job.trial_id, True), None)
        owner = self._tries.get(job)
        if owner is None or int(row["epoch"]) >= job.epochs:
            return False
        metric = owner.search.tuning.spec.metrics[0]
        if metric in row:
            self._curves.setdefault(job.trial_id, {})[int(row["epoch"])] = float(row[metric])
        if owner.search.stopping.stops(job.trial_id, row):
            self._cut.add(job)
            self._settle(owner, job, PRUNED)  # at once: a driver that dies before the trial has ended loses nothing
        return job in self._cut

    def give_back(self, job: Job, state: str) -> None:
        """Tell how a job went: done, failed, stopped, held, crashed."""
        after = self.live.pop(job)
        if job in self._cut and state not in (DONE, HELD):
            state = PRUNED
        if state == CRASHED:
            state = self._crashed(job, after)
        if state == HELD:
            self._held.append(job)
            return
        if state == CRASHED:
            self._waiting.append(job)
            self._watcher.ended(job, CRASHED)
            return
        self._conclude(job, state)

    def _conclude(self, job: Job, state: str) -> None:
        """A job is over: tell its search, which may then be over as well and add arms."""
        self._watcher.ended(job, state)
        if state == FAILED and self._failures is not None:
            self._failures -= 1
            if self._failures <= 0:
                self.halt()
        owner = self._tries.get(job)
        if owner is not None and state != STOPPED:
            self._settle(owner, job, state)
            self._finish_search(owner.search)

    def _settle(self, owner: _Try, job: Job, state: str) -> None:
        """Tell a search how one of its trials ended."""
        tuning = owner.search.tuning
        if owner.is_open and state in (PRUNED, FAILED):
            self._cut.update(owner.jobs)  # its other seeds have nothing to add
        if state == DONE:
            tuning.done(owner.number)
        elif state == PRUNED:
            tuning.pruned(owner.number, job.trial_id, self._curves.get(job.trial_id, {}))
        else:
            tuning.failed(owner.number)

    def _finish_search(self, search: SearchWork) -> None:
        if not search.over and search.tuning.search.done:
            search.over = True
            jobs = list(search.on_done())
            self._watcher.added(jobs)
            self._waiting.extend(jobs)

    def halt(self) -> None:
        """Hand out nothing more."""
        self.halted = True

    @property
    def wanted(self) -> int:
        """How many trials could run at once: those that run and those that wait; more while a search asks."""
        if self.halted:
            return 0
        asking = sum(search.tuning.spec.trials for search in self._searches if not search.over)
        return len(self.live) + len(self._waiting) + asking

    @property
    def finished(self) -> bool:
        """Whether nothing runs and nothing is left."""
        left = self._waiting or self._held or not all(search.over for search in self._searches)
        return not self.live and (self.halted or not left)

    def _crashed(self, job: Job, after: int) -> str:
        """What a trial is whose process has ended under it: failed if it could say so, or if it happened too often."""
        attempt = stored_attempts.newest_attempt(self._store, job.trial_id)
        begun = attempt is not None and attempt.number > after
        end = layout.get_json(self._store, attempt.end_key) if attempt is not None and begun else None
        if end is not None and end["state"] == FAILED:
            return FAILED
        self._crashes[job.trial_id, begun] += 1
        if not self._too_often(job.trial_id, begun):
            return CRASHED
        return FAILED if self._has_failed(job) else HELD  # held: its process has not quite gone, or lies elsewhere

    def _too_often(self, trial_id: str, begun: bool) -> bool:
        return self._crashes[trial_id, begun] >= (CRASHES if begun else FALSE_STARTS)

    def _has_failed(self, job: Job) -> bool:
        """Whether the trial's process died too often and the store says so now, in an attempt of this process.

        The dead process could not say how it ended. False also while its last attempt still counts as alive.
        """
        begun = self._too_often(job.trial_id, True)
        if not begun and not self._too_often(job.trial_id, False):
            return False
        after = self._leases.free_after(job.trial_id)
        claim = {"claimed_at": time.time(), "process": provenance.process(), "provenance": {}}
        attempt = None if after is None else stored_attempts.claim(self._store, job.trial_id, after, claim)
        if attempt is not None:
            often = self._crashes[job.trial_id, begun]
            message = (
                f"the trial's process died {often} times in this run{'' if begun else ' before it began'}; often the "
                "machine ran out of memory: run fewer trials at once (--max-concurrent) or a smaller batch"
            )
            error = {"type": "process died", "message": message, "traceback": ""}
            stored_attempts.end(self._store, attempt, FAILED, time.time(), error)
        return attempt is not None
