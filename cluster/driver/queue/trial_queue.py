"""The queue of trials behind every runner: in-process and Ray Tune take jobs from it and give them back.

It holds planned trials and the suggestions of searches. Suggestions are requested when a process is free, and run
first, because arms may wait for the result of a search.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cluster.driver.early_stopping import EarlyStopping
from cluster.driver.queue.crashes import Crashes
from cluster.driver.queue.leases import Leases
from cluster.driver.queue.store_away import StoreAway
from cluster.worker.storage_errors import away_error, storage_error
from cluster.worker.user_code import store_code
from cluster.worker.worker import CRASHED, DONE, FAILED, HELD, STOPPED
from sweeps.errors import StorageError, StoreAwayError, StoreError
from sweeps.search.arm_search import ArmSearch, Suggestion
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store
from trainables.training.session import Row

PRUNED = "pruned"
"""State of a trial that early stopping ended. A trial whose process died is `CRASHED`."""
LOOK_AGAIN_S = 2.0
"""Seconds between two checks of what other drivers have done."""


@dataclass(frozen=True)
class Job:
    """A trial to run."""

    trial_id: str
    epochs: int
    """The target epoch."""
    label: str
    """The trial's name on the terminal."""
    missing: tuple[str, ...] = ()
    """Metrics that the finished trial lacks: its network is measured, not trained."""

    @property
    def trial(self) -> tuple[str, int]:
        """(trial id, target epoch), which identifies the trial in a plan."""
        return self.trial_id, self.epochs


class ProgressListener(Protocol):
    """Receives the driver's events; the terminal's progress display implements it."""

    def added(self, jobs: Sequence[Job]) -> None:
        """Trials were added during the run: a search's suggestions, or arms from the result of a search."""

    def started(self, job: Job) -> None:
        """A trial was given to a process."""

    def record(self, job: Job, row: Row) -> None:
        """A trial has reported an epoch."""

    def ended(self, job: Job, state: str) -> None:
        """A trial is done, pruned, failed or stopped, or has crashed and will be tried again."""


@dataclass
class SearchWork:
    """A search, with the rule that stops its trials."""

    tuning: ArmSearch
    stopping: EarlyStopping
    on_done: Callable[[], Iterable[Job]]
    """Called once, when the search is done; returns the jobs that its result adds."""
    over: bool = False
    """Whether `on_done` was called."""
    replayed: set[int] = field(default_factory=set)
    """Suggestions with an outcome whose curves the rule knows."""
    stopped: set[str] = field(default_factory=set)
    """Trials that the rule has stopped by their curves in the store."""

    def replay(self) -> dict[str, dict[int, float]]:
        """Bring the rule up to date with the curves in the store, and return those that were read."""
        settled = self.tuning.settled
        curves = self.tuning.curves(self.replayed)
        self.stopped |= self.stopping.replay(curves)
        self.replayed |= settled
        return curves


@dataclass(frozen=True)
class _SuggestedJob:
    """The suggestion that a search's job belongs to: its number, and the jobs of all its seeds.

    Two suggestions can share a trial, for example if `epochs` is searched, so
    `_suggested` maps jobs, not trial ids.
    """

    search: SearchWork
    number: int
    jobs: tuple[Job, ...]

    @property
    def is_open(self) -> bool:
        return self.search.tuning.is_open(self.number)


class TrialQueue:
    """Hands out jobs. A job that another driver holds is checked again until it is done there or free.

    failures: halt after this many failed trials; None: a failed trial never stops the others. on_stopped: called when a
    trial has ended because it was asked to stop.
    """

    def __init__(
        self,
        store: Store,
        jobs: Iterable[Job],
        watcher: ProgressListener,
        searches: Sequence[SearchWork] = (),
        leases: Leases | None = None,
        failures: int | None = None,
        on_stopped: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._watcher, self._searches = store, watcher, list(searches)
        self._leases = leases or Leases(store)
        self._waiting = deque(jobs)
        self._held: list[Job] = []
        self._looked = time.monotonic()
        self._crashes = Crashes(store, self._leases)
        self._suggested: dict[Job, _SuggestedJob] = {}
        self._curves: dict[str, dict[int, float]] = {}
        self._cut: set[Job] = set()
        self._failures, self._on_stopped = failures, on_stopped
        self._reporting: set[Job] = set()
        self.live: dict[Job, int] = {}
        """Jobs that are handed out, each with the number of the attempt before."""
        self.halted = False
        self._away = StoreAway()
        self.storage_error: StoreError | None = None
        """Why a trial could not use the store: the run ends, and the trial goes on in the next one."""
        for search in self._searches:
            self._curves.update(search.replay())
            self._adopt(search, search.tuning.unfinished())

    # --- handing out --------------------------------------------------------------------------------------------------

    def take(self) -> tuple[Job, int] | None:
        """The next job that may run, and its newest attempt's number (0: none); None if no job may run at present."""
        taken = None
        with self.storage():
            self.recheck_held()
            taken = self._take()
        return taken

    def _take(self) -> tuple[Job, int] | None:
        while not self.halted:
            if not self._waiting or self._waiting[0] not in self._suggested:
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
            elif after and self._is_done(job):  # another driver has finished it between the two looks
                self._conclude(job, DONE)
            elif not (after and (self._is_settled_elsewhere(job) or self._is_stopped(job))):
                self.live[job] = after
                self._watcher.started(job)
                return job, after
        return None

    def _ask(self) -> None:
        """Request a suggestion from the search that has made the fewest; its trials go to the front."""
        for search in sorted((s for s in self._searches if not s.over), key=lambda s: len(s.tuning.search.asks())):
            suggestion = search.tuning.ask()
            if suggestion is not None:
                self._suggest(search, suggestion)
                return
            self._finish_search(search)

    def _suggest(self, search: SearchWork, suggestion: Suggestion) -> None:
        store_code(self._store, search.tuning.arm.task, (trial.config for trial in suggestion.trials))
        label = f"{search.tuning.arm.name} · suggestion {suggestion.number}"
        jobs = [Job(trial.id, trial.epochs, f"{label} · seed {trial.seed}") for trial in suggestion.trials]
        self._suggested.update(dict.fromkeys(jobs, _SuggestedJob(search, suggestion.number, tuple(jobs))))
        self._watcher.added(jobs)
        self._waiting.extendleft(reversed(jobs))

    def _adopt(self, search: SearchWork, suggestions: Sequence[Suggestion]) -> None:
        """Add suggestions that another driver requested, since it may have died; the oldest comes first."""
        for suggestion in reversed(suggestions):
            self._suggest(search, suggestion)
        self._finish_search(search)

    @contextlib.contextmanager
    def storage(self) -> Iterator[None]:
        """Halt at an error of the storage: Tune would take an error in its callbacks for one of a trial."""
        try:
            yield
        except (StorageError, StoreAwayError) as error:
            self.storage_error = self.storage_error or error
            self.halt()

    def recheck_held(self) -> None:
        """Take in what other drivers have done to suggestions of searches and to the trials that they held."""
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
            elif self._crashes.record(job.trial_id):
                self._conclude(job, FAILED)
            else:
                self._waiting.append(job)

    def _is_done(self, job: Job) -> bool:
        return stored_trials.is_finished(self._store, job.trial_id, job.epochs, job.missing)

    def _is_settled(self, job: Job) -> bool:
        """Whether a search no longer needs a trial: another seed or another driver has settled its suggestion."""
        owner = self._suggested.get(job)
        if owner is None or owner.is_open:
            return False
        self._watcher.ended(job, DONE if self._is_done(job) else PRUNED)
        return True

    def _is_settled_elsewhere(self, job: Job) -> bool:
        """As `_is_settled`, after reading the store: a driver that prunes a trial stores this before the trial ends."""
        owner = self._suggested.get(job)
        if owner is None:
            return False
        self._adopt(owner.search, owner.search.tuning.catch_up())
        return self._is_settled(job)

    def _is_stopped(self, job: Job) -> bool:
        """Whether early stopping ends a trial that is taken over, by its curve and those of others in the store."""
        owner = self._suggested.get(job)
        if owner is None:
            return False
        self._curves.update(owner.search.replay())
        if job.trial_id not in owner.search.stopped:
            return False
        self._cut.add(job)
        self._conclude(job, PRUNED)
        return True

    # --- taking back --------------------------------------------------------------------------------------------------

    def record(self, job: Job, row: Row) -> bool:
        """Take in a record. Returns whether the trial must end now: stopped early, or its suggestion is settled."""
        self._watcher.record(job, row)
        self._reporting.add(job)
        self._away.reached()
        self._crashes.progress(job.trial_id, int(row["epoch"]))
        owner = self._suggested.get(job)
        if owner is None or int(row["epoch"]) >= job.epochs:
            return False
        metric = owner.search.tuning.spec.metrics[0]
        if metric in row:
            self._curves.setdefault(job.trial_id, {})[int(row["epoch"])] = float(row[metric])
        if owner.search.stopping.stops(job.trial_id, row):
            self._cut.add(job)
            with self.storage():
                self._settle(owner, job, PRUNED)  # stored before the trial ends, in case this driver dies
        return job in self._cut

    def give_back(self, job: Job, state: str) -> None:
        """Return a job with its state, which `run_trial` returned."""
        after = self.live.pop(job)
        self._reporting.discard(job)
        with self.storage():
            if error := storage_error(state):
                self._watcher.ended(job, STOPPED)
                raise error
            self._take_back(job, after, state)

    def _take_back(self, job: Job, after: int, state: str) -> None:
        if job in self._cut and state not in (DONE, HELD):
            state = PRUNED
        elif state == STOPPED:
            self._on_stopped()
        elif away := away_error(state):
            self._watcher.ended(job, CRASHED)
            self._waiting.append(job)
            self._away.tell(away)
            return
        if state == CRASHED and self.storage_error is None:
            state = self._crashes.died(job.trial_id, after)
        if state == HELD:
            self._held.append(job)
            return
        if state == CRASHED:
            self._waiting.append(job)
            self._watcher.ended(job, CRASHED)
            return
        self._conclude(job, state)

    def _conclude(self, job: Job, state: str) -> None:
        """A job is over: report it to its search, which may then be done and add arms."""
        self._watcher.ended(job, state)
        if state == FAILED and self._failures is not None:
            self._failures -= 1
            if self._failures <= 0:
                self.halt()
        owner = self._suggested.get(job)
        if owner is not None and state != STOPPED:
            self._settle(owner, job, state)
            self._finish_search(owner.search)

    def _settle(self, owner: _SuggestedJob, job: Job, state: str) -> None:
        """Report to a search how one of its trials ended."""
        tuning = owner.search.tuning
        if owner.is_open and state in (PRUNED, FAILED):
            self._cut.update(owner.jobs)  # the other seeds are no longer needed
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
        """Hand out no more jobs."""
        self.halted = True

    @property
    def wanted(self) -> int:
        """How many trials could run at once: running and waiting ones, and the budgets of unfinished searches."""
        if self.halted:
            return 0
        asking = sum(search.tuning.spec.trials for search in self._searches if not search.over)
        return len(self.live) + len(self._waiting) + asking

    @property
    def training(self) -> bool:
        """Whether trials run and each of them has reported: their heartbeats look for requests to stop."""
        return bool(self.live) and self.live.keys() <= self._reporting

    @property
    def held(self) -> list[str]:
        """Labels of the trials that another driver has."""
        return [job.label for job in self._held]

    @property
    def finished(self) -> bool:
        """Whether no job runs and, unless halted, none is left."""
        left = self._waiting or self._held or not all(search.over for search in self._searches)
        return not self.live and (self.halted or not left)
