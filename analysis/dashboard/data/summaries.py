"""The list of sweeps: one line per sweep, fast for stores with hundreds of them.

The best arm and the cost of a finished sweep are computed once and cached in the store as `sweeps/<name>/summary.json`.
A cached summary is valid while the sweep has as many plans as when it was written; a run that trains finished trials
again deletes it. A page reads names, plans and summaries only. A thread reads the states of trials (on S3 a listing of
all of them, which takes minutes on a slow server) and computes missing summaries while the list is already shown.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from analysis import studies, wording
from analysis.dashboard.data.cache import TTL_FACTOR, TTLCache
from analysis.dashboard.data.reader import FRESH_S, Reader
from analysis.report import answer, tables
from analysis.study import Study
from analysis.trial_times import trial_seconds
from sweeps import sizes
from sweeps.errors import StoreAwayError, SweepError
from sweeps.results import progress
from sweeps.results.progress import TrialState
from sweeps.store import layout, listing
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store

_SOON, _WAIT_S = 8, 0.4
"""A page waits this many seconds for states, and for summaries if at most `_SOON` are missing.

So the list of a small store is complete at once.
"""
_TRIALS = 1000
"""Number of trials whose states are read at a time; between two such reads, the thread yields to pages."""
_PAUSE = 0.5
"""Pause of the thread after each sweep, as a share of the time that the sweep took, so that pages come first."""


@dataclass(frozen=True)
class SweepSummary:
    """Facts about a sweep for the list of sweeps; computing them reads the whole sweep."""

    question: str
    task: str
    planned_at: float
    """Time of the newest plan, seconds since 1970."""
    plans: int
    """Number of stored plans."""
    done: int
    """Number of finished trials."""
    total: int
    """Number of trials."""
    over: bool
    """Whether all trials and searches are done."""
    best_arm: str
    """Name of the arm with the best mean; '' if there is none."""
    best: str
    """Mean of the best arm, such as '27.31 ± 0.12 dB, n = 8'; '' if there is none."""
    value: float | None
    """Mean of the best arm."""
    metric: str
    """Label of the metric."""
    seconds: float
    """Computing time of the finished trials."""
    ended_at: float | None
    """When the last finished trial ended, seconds since 1970."""
    holds: int
    """Number of claims that hold."""
    claims: int
    """Number of claims."""
    damaged: int = 0
    """Number of trials whose results cannot be read."""
    size: str = sizes.FULL
    """The size at which the sweep was run."""


_SUMMARY = TypeAdapter(SweepSummary)


@dataclass(frozen=True)
class SweepLine:
    """A sweep in the list."""

    name: str
    question: str
    task: str
    total: int
    """Number of trials."""
    states: Counter[str]
    """Number of trials by state; empty until they have been read."""
    searching: bool
    """Whether a search has not ended."""
    planned_at: float
    """Time of the newest plan, seconds since 1970."""
    summary: SweepSummary | None
    """None until it has been computed, and if the sweep is unreadable."""
    unreadable: bool = False
    """Whether computing the summary failed."""

    @property
    def known(self) -> bool:
        """Whether the states of its trials have been read."""
        return bool(self.states) or not self.total

    @property
    def state(self) -> str:
        """State of the sweep in one word; '' if it is not known yet."""
        if not self.known:
            return ""
        for state in ("running", "failed", "interrupted", progress.EXTENDED, "damaged", "queued"):
            if self.states[state]:
                return state
        return "done" if self.total and not self.searching else "queued"

    @property
    def changed_at(self) -> float:
        """When the last trial ended or the sweep was planned, whichever is later; seconds since 1970."""
        return max(self.planned_at, (self.summary.ended_at or 0.0) if self.summary else 0.0)


@dataclass(frozen=True)
class _Plan:
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


@dataclass(frozen=True)
class _SweepListing:
    """All sweeps with a plan, as read from the store at one time."""

    over: dict[str, SweepSummary]
    """Summaries of finished sweeps, by name."""
    plans: dict[str, _Plan]
    """Plans of all other sweeps, by name."""


def summarise(study: Study, verdicts: Mapping[str, int]) -> SweepSummary:
    """The summary of a sweep. verdicts: {holds: number of claims that hold, claims: number of claims}."""
    metric = study.metrics[0]
    group = next(group for group in study.groups if study.baseline in group)
    marks = tables.best_arms(study, metric, group)
    best = study.alone or next((name for name, mark in marks.items() if mark == tables.BEST), "")
    interval = study.interval(best, metric) if best else None
    ended = [result["ended_at"] for result in study.results.values() if result.get("ended_at")]
    states = {(cell.trial, cell.epochs): cell.state for cell in study.cells}
    done = sum(state == "done" for state in states.values())
    return SweepSummary(
        question=str(study.plan.get("question") or ""),
        task=str(study.plan.get("task") or ""),
        planned_at=float(study.plan.get("planned_at") or 0.0),
        plans=len(study.versions),
        done=done,
        total=len(states),
        over=done == len(states) and bool(states) and all(search.done for search in study.searches),
        best_arm=best,
        best=answer.mean_text(study, best, metric) if best else "",
        value=interval.mean if interval else None,
        metric=wording.label(metric),
        seconds=sum(trial_seconds(study).values()),
        ended_at=max(ended, default=None),
        holds=verdicts["holds"],
        claims=verdicts["claims"],
        size=study.size,
        damaged=sum(state == "damaged" for state in states.values()),
    )


class _States:
    """States of the trials of unfinished sweeps. The thread calls `update`, pages call the other methods."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._plans: dict[str, _Plan] = {}
        self._counts: dict[str, tuple[str, Counter[str]]] = {}
        self._good_until = 0.0
        self._due_at: float | None = None
        self._updated = threading.Event()
        self._error: Exception | None = None

    def of(self, name: str, plan: _Plan) -> Counter[str]:
        """Number of trials by state; empty if they have not been read since the plan was stored."""
        key, count = self._counts.get(name, ("", Counter[str]()))
        return count if key == plan.key else Counter()

    def are_due(self, plans: dict[str, _Plan]) -> bool:
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

    def _count(self, plans: dict[str, _Plan]) -> dict[str, tuple[str, Counter[str]]]:
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


class Summaries:
    """The list of a store's sweeps. One per server."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._listings = TTLCache[_SweepListing](FRESH_S)
        self._plans: dict[str, _Plan] = {}
        self._summaries: dict[str, tuple[str, SweepSummary]] = {}
        self._states = _States(reader)
        self._wanted: deque[str] = deque()
        self._unreadable: set[str] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def lines(self) -> list[SweepLine]:
        """Every sweep with a plan, sorted by name. Starts the thread if states or summaries are missing."""
        listing = self._listings.get("", self._list)
        states_due = self._states.are_due(listing.plans)
        lines = self._all(listing)
        missing = [line.name for line in lines if line.summary is None and not line.unreadable]
        self._start_thread(missing, states_due)
        until = time.monotonic() + _WAIT_S
        if states_due:
            self._states.wait(_WAIT_S)
        if 0 < len(missing) <= _SOON and self._thread is not None:
            self._thread.join(max(0.0, until - time.monotonic()))
        return self._all(listing) if states_due or missing else lines

    @property
    def working(self) -> bool:
        """Whether the thread is reading states or computing summaries."""
        return self._thread is not None and self._thread.is_alive()

    def _list(self) -> _SweepListing:
        store, names = self._reader.store, self._reader.names()
        keys = [key for name in names for key in (f"sweeps/{name}/plans/", layout.summary_key(name))]
        found = listing.find(store, keys)
        plans: dict[str, list[str]] = {}
        for key in sorted(found):
            if "/plans/" in key:
                plans.setdefault(key.split("/")[1], []).append(key)
        over = self._read_summaries(store, {name: found.get(layout.summary_key(name), "") for name in plans})
        over = {name: summary for name, summary in over.items() if summary.plans == len(plans[name])}
        self._read_plans(store, {name: keys[-1] for name, keys in plans.items() if name not in over})
        return _SweepListing(over, dict(self._plans))

    def _read_summaries(self, store: Store, versions: dict[str, str]) -> dict[str, SweepSummary]:
        """The summaries of finished sweeps. versions: {sweep: version of its stored summary, '' if it has none}.

        Summaries that are no longer in the store are dropped, because a run has deleted them.
        """
        made = self._summaries
        for name in [name for name, (version, _) in list(made.items()) if versions.get(name) != version]:
            del made[name]
        new = {layout.summary_key(name): name for name, version in versions.items() if version and name not in made}
        for key, data in store.get_many(new).items():
            with contextlib.suppress(SweepError, ValueError, KeyError):  # written in an older format: computed again
                body = layout.load(key, data)
                body.pop("schema")
                made[new[key]] = (versions[new[key]], _SUMMARY.validate_python(body))
        return {name: summary for name, (_, summary) in list(made.items()) if summary.over}

    def _read_plans(self, store: Store, keys: dict[str, str]) -> None:
        plans = {name: plan for name, plan in self._plans.items() if keys.get(name) == plan.key}
        new = {key: name for name, key in keys.items() if name not in plans}
        for key, data in store.get_many(new).items():
            with contextlib.suppress(SweepError):  # every plan is damaged, as the sweep's own page shows
                name = new[key]
                plan = stored_plans.intact_plans({key: data}).get(key) or stored_plans.require_plan(store, name)
                plans[name] = _plan_from_json(key, plan)
        self._plans = plans

    def _all(self, listing: _SweepListing) -> list[SweepLine]:
        lines = [_finished_line(name, summary) for name, summary in listing.over.items()]
        lines += [self._line(name, plan) for name, plan in listing.plans.items()]
        return sorted(lines, key=lambda line: line.name)

    def _line(self, name: str, plan: _Plan) -> SweepLine:
        count = self._states.of(name, plan)
        _, summary = self._summaries.get(name, ("", None))
        if summary and summary.damaged:
            count = count - Counter(done=summary.damaged) + Counter(damaged=summary.damaged)
        if summary and (summary.done != count["done"] or summary.planned_at != plan.planned_at):
            summary = None
        searching = plan.searching and not (summary and summary.over)
        total = sum(map(len, plan.targets.values()))
        unreadable = name in self._unreadable
        return SweepLine(name, plan.question, plan.task, total, count, searching, plan.planned_at, summary, unreadable)

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _start_thread(self, names: list[str], states_due: bool) -> None:
        with self._lock:
            self._wanted = deque(names)
            if (names or states_due) and not self.working:
                self._thread = threading.Thread(target=self._run_thread, name="summaries", daemon=True)
                self._thread.start()

    def _run_thread(self) -> None:
        while True:
            self._states.update()
            with self._lock:
                name = self._wanted.popleft() if self._wanted else None
            if name is None:
                return
            self._reader.yield_to_pages()
            began = time.monotonic()
            try:
                self._compute(name)
            except StoreAwayError:
                return  # the page shows the error and starts the thread again
            except (SweepError, KeyError, ValueError, TypeError):  # the sweep's own page shows the error
                self._unreadable.add(name)
            time.sleep(min(2.0, _PAUSE * (time.monotonic() - began)))

    def _compute(self, name: str) -> None:
        from analysis.claims import judge as claims

        study = studies.read(self._reader.store, name)
        verdicts = claims.judge(study)
        counts = {"holds": sum(v.verdict == claims.HOLDS for v in verdicts), "claims": len(verdicts)}
        summary = summarise(study, counts)
        if not study.results and (before := _before_extension(study)):
            old = summarise(before, counts)
            best = f"{old.best} (with fewer epochs)" if old.best else ""
            summary = replace(summary, best_arm=old.best_arm, best=best, seconds=old.seconds, ended_at=old.ended_at)
        self._summaries[name] = ("", summary)
        if summary.over and self._reader.writable:
            with contextlib.suppress(SweepError):  # without write access, every server computes it again
                self._reader.store.put(layout.summary_key(name), layout.dump({"schema": 1, **asdict(summary)}))


def _before_extension(study: Study) -> Study | None:
    """The newest earlier plan of a sweep with results, as a study; None if there is none."""
    for plan in reversed(study.versions[:-1]):
        before = studies.of_plan(study.store, study.name, dict(plan))
        if before.results:
            return before
    return None


def _finished_line(name: str, summary: SweepSummary) -> SweepLine:
    states = Counter({"done": summary.total})
    return SweepLine(name, summary.question, summary.task, summary.total, states, False, summary.planned_at, summary)


def _plan_from_json(key: str, plan: dict[str, Any]) -> _Plan:
    return _Plan(
        key,
        str(plan.get("question") or ""),
        str(plan.get("task") or ""),
        progress.targets(plan),
        bool(plan.get("search")),
        float(plan.get("planned_at") or 0.0),
    )
