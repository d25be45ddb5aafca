"""One line a sweep, for stores of hundreds: the best arm and the cost are worked out once and kept in the store.

`sweeps/<name>/summary.json` of a finished sweep is a copy and no truth: it counts while the sweep has as many plans as
when it was made, and a run that trains finished trials anew deletes it. A page asks for names, plans and summaries; how
trials stand (on S3 a listing of all of them, for minutes where a server is slow), and what is missing besides, is found
out by a thread while the list already shows.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from analysis import study as studies
from analysis import wording
from analysis.dashboard.data.cache import SHARE, TTLCache
from analysis.dashboard.data.reader import FRESH_S, Reader
from analysis.report import answer, tables
from analysis.report.sections import details
from analysis.study import Study
from sweeps.errors import StoreAwayError, SweepError
from sweeps.results import progress
from sweeps.results.progress import TrialState
from sweeps.store import layout
from sweeps.store.base import Store

_SOON, _WAIT_S = 8, 0.4
"""So few sweeps are waited for, so long: a small store shows whole at once. States are waited for as long."""
_TRIALS = 1000
"""Trials that are looked at in one go: pages come first."""
_PAUSE = 0.5
"""How long the thread rests after a sweep, as a share of the time it took: pages come first."""


@dataclass(frozen=True)
class SweepSummary:
    """What reading a whole sweep told. plans: how many it has; done, total: trials; over: nothing is left to come.

    best: '27.31 ± 0.12 dB, n = 8' of the arm `best_arm`, '' where there is none; value: its mean. ended_at: of the last
    finished trial, seconds since 1970.
    """

    question: str
    task: str
    planned_at: float
    plans: int
    done: int
    total: int
    over: bool
    best_arm: str
    best: str
    value: float | None
    metric: str
    seconds: float
    ended_at: float | None
    holds: int
    claims: int


@dataclass(frozen=True)
class SweepLine:
    """A sweep in the list. total: its trials; states: how many stand how, empty until somebody has looked.

    summary: None until it is worked out, and where it cannot be: `unreadable`.
    """

    name: str
    question: str
    task: str
    total: int
    states: Counter[str]
    searching: bool
    planned_at: float
    summary: SweepSummary | None
    unreadable: bool = False

    @property
    def known(self) -> bool:
        """Whether somebody has looked at its trials."""
        return bool(self.states) or not self.total

    @property
    def state(self) -> str:
        """The one word that says how a sweep stands; '' while that is not known."""
        if not self.known:
            return ""
        for state in ("running", "failed", "interrupted", "queued"):
            if self.states[state]:
                return state
        return "done" if self.total and not self.searching else "queued"

    @property
    def changed_at(self) -> float:
        """When something last ended, or the sweep was planned."""
        return max(self.planned_at, (self.summary.ended_at or 0.0) if self.summary else 0.0)


@dataclass(frozen=True)
class _Plan:
    """What the list needs of a plan; the plan itself is hundreds of kilobytes. key: under which it is stored."""

    key: str
    question: str
    task: str
    targets: dict[str, tuple[int, ...]]
    searching: bool
    planned_at: float


@dataclass(frozen=True)
class _Seen:
    """What one look at the store found of each sweep that has a plan.

    over: summaries of finished sweeps. plans: of all others.
    """

    over: dict[str, SweepSummary]
    plans: dict[str, _Plan]


def summarise(study: Study, verdicts: Mapping[str, int]) -> SweepSummary:
    """verdicts: how many claims hold, of how many."""
    metric = study.metrics[0]
    group = next(group for group in study.groups if study.baseline in group)
    best = next((n for n, mark in tables.best_arms(study, metric, group).items() if mark == tables.BEST), "")
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
        seconds=sum(details.trial_seconds(study).values()),
        ended_at=max(ended, default=None),
        holds=verdicts["holds"],
        claims=verdicts["claims"],
    )


class _States:
    """How the trials of sweeps stand that are not known to be over. `look` is the thread's, the rest is the pages'."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._plans: dict[str, _Plan] = {}
        self._counts: dict[str, tuple[str, Counter[str]]] = {}
        self._good_until = 0.0
        self._due_at: float | None = None
        self._looked = threading.Event()
        self._error: Exception | None = None

    def of(self, name: str, plan: _Plan) -> Counter[str]:
        """How many trials stand how, empty where nobody has looked since the plan was stored."""
        key, count = self._counts.get(name, ("", Counter[str]()))
        return count if key == plan.key else Counter()

    def are_due(self, plans: dict[str, _Plan]) -> bool:
        """Whether somebody has to look. Raises what the last look has raised."""
        self._plans = plans
        error, self._error = self._error, None
        if error is not None:
            raise error
        known = all(self._counts.get(name, ("",))[0] == plan.key for name, plan in plans.items())
        if known and time.monotonic() < self._good_until:
            return False
        if self._due_at is None:
            self._looked.clear()
            self._due_at = time.monotonic()
        return True

    def wait(self, seconds: float) -> None:
        """For a look that is due, until so long after it was due."""
        if self._due_at is not None:
            self._looked.wait(max(0.0, self._due_at + seconds - time.monotonic()))

    def update(self) -> None:
        if self._due_at is None:
            return
        began, plans = time.monotonic(), self._plans
        try:
            self._counts = self._count(plans)
        except (SweepError, KeyError, ValueError, TypeError) as error:
            self._error = error
        now = time.monotonic()
        self._good_until = now + max(FRESH_S, SHARE * (now - began))
        self._due_at = None
        self._looked.set()

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
            name: (plan.key, Counter(states[trial].at(e) for trial, many in plan.targets.items() for e in many))
            for name, plan in plans.items()
        }


class Summaries:
    """The list of a store's sweeps. One a server."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._seen = TTLCache[_Seen](FRESH_S)
        self._plans: dict[str, _Plan] = {}
        self._made: dict[str, tuple[str, SweepSummary]] = {}
        self._states = _States(reader)
        self._wanted: deque[str] = deque()
        self._unreadable: set[str] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def lines(self) -> list[SweepLine]:
        """Every sweep with a plan, in the order of names; starts to find out what is missing."""
        seen = self._seen.get("", self._look)
        looks = self._states.are_due(seen.plans)
        lines = self._all(seen)
        missing = [line.name for line in lines if line.summary is None and not line.unreadable]
        self._work(missing, looks)
        until = time.monotonic() + _WAIT_S
        if looks:
            self._states.wait(_WAIT_S)
        if 0 < len(missing) <= _SOON and self._thread is not None:
            self._thread.join(max(0.0, until - time.monotonic()))
        return self._all(seen) if looks or missing else lines

    @property
    def working(self) -> bool:
        """Whether something is being found out."""
        return self._thread is not None and self._thread.is_alive()

    def _look(self) -> _Seen:
        store, names = self._reader.store, self._reader.names()
        keys = [key for name in names for key in (f"sweeps/{name}/plans/", layout.summary_key(name))]
        found = store.find(keys)
        plans: dict[str, list[str]] = {}
        for key in sorted(found):
            if "/plans/" in key:
                plans.setdefault(key.split("/")[1], []).append(key)
        over = self._read_summaries(store, {name: found.get(layout.summary_key(name), "") for name in plans})
        over = {name: summary for name, summary in over.items() if summary.plans == len(plans[name])}
        self._read_plans(store, {name: keys[-1] for name, keys in plans.items() if name not in over})
        return _Seen(over, dict(self._plans))

    def _read_summaries(self, store: Store, versions: dict[str, str]) -> dict[str, SweepSummary]:
        """The summaries of finished sweeps. versions: of those in the store, '' where there is none.

        One that was in the store and is no longer has been deleted by a run.
        """
        made = self._made
        for name in [name for name, (version, _) in list(made.items()) if versions.get(name) != version]:
            del made[name]
        new = {layout.summary_key(name): name for name, version in versions.items() if version and name not in made}
        for key, data in store.get_many(new).items():
            with contextlib.suppress(SweepError, TypeError, KeyError):  # of an older form: it is made anew
                body = layout.load(key, data)
                body.pop("schema")
                made[new[key]] = (versions[new[key]], SweepSummary(**body))
        return {name: summary for name, (_, summary) in list(made.items()) if summary.over}

    def _read_plans(self, store: Store, keys: dict[str, str]) -> None:
        plans = {name: plan for name, plan in self._plans.items() if keys.get(name) == plan.key}
        new = {key: name for name, key in keys.items() if name not in plans}
        for key, data in store.get_many(new).items():
            with contextlib.suppress(SweepError, KeyError, TypeError):  # a damaged plan says so on its own page
                plans[new[key]] = _small(key, layout.load(key, data))
        self._plans = plans

    def _all(self, seen: _Seen) -> list[SweepLine]:
        lines = [_over(name, summary) for name, summary in seen.over.items()]
        lines += [self._line(name, plan) for name, plan in seen.plans.items()]
        return sorted(lines, key=lambda line: line.name)

    def _line(self, name: str, plan: _Plan) -> SweepLine:
        count = self._states.of(name, plan)
        _, summary = self._made.get(name, ("", None))
        if summary and (summary.done != count["done"] or summary.planned_at != plan.planned_at):
            summary = None
        searching = plan.searching and not (summary and summary.over)
        total = sum(map(len, plan.targets.values()))
        unreadable = name in self._unreadable
        return SweepLine(name, plan.question, plan.task, total, count, searching, plan.planned_at, summary, unreadable)

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _work(self, names: list[str], looks: bool) -> None:
        with self._lock:
            self._wanted = deque(names)
            if (names or looks) and not self.working:
                self._thread = threading.Thread(target=self._make_all, name="summaries", daemon=True)
                self._thread.start()

    def _make_all(self) -> None:
        while True:
            self._states.update()
            with self._lock:
                name = self._wanted.popleft() if self._wanted else None
            if name is None:
                return
            self._reader.yield_to_pages()
            began = time.monotonic()
            try:
                self._make(name)
            except StoreAwayError:
                return  # the list says so, and asks again
            except (SweepError, KeyError, ValueError, TypeError):  # its own page says why
                self._unreadable.add(name)
            time.sleep(min(2.0, _PAUSE * (time.monotonic() - began)))

    def _make(self, name: str) -> None:
        from analysis.claims import judge as claims

        study = studies.read(self._reader.store, name)
        verdicts = claims.judge(study)
        counts = {"holds": sum(v.verdict == claims.HOLDS for v in verdicts), "claims": len(verdicts)}
        summary = summarise(study, counts)
        self._made[name] = ("", summary)
        if summary.over and self._reader.writable:
            with contextlib.suppress(SweepError):  # who may only read the store works it out for himself
                self._reader.store.put(layout.summary_key(name), layout.dump({"schema": 1, **asdict(summary)}))


def _over(name: str, summary: SweepSummary) -> SweepLine:
    states = Counter({"done": summary.total})
    return SweepLine(name, summary.question, summary.task, summary.total, states, False, summary.planned_at, summary)


def _small(key: str, plan: dict[str, Any]) -> _Plan:
    return _Plan(
        key,
        str(plan.get("question") or ""),
        str(plan.get("task") or ""),
        progress.targets(plan),
        bool(plan.get("search")),
        float(plan.get("planned_at") or 0.0),
    )
