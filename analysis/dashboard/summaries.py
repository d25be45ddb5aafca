"""One line a sweep, for stores of hundreds: the best arm and the cost are worked out once and kept in the store.

`sweeps/<name>/summary.json` is a copy and no truth: it counts while the plan and the number of finished trials are
those that it was made from. What is missing is made by a thread, sweep by sweep, while the list already shows.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from analysis import answer, frame, sections, tables, wording
from analysis.dashboard.kept import Fresh
from analysis.dashboard.reading import FRESH_S, Reader, newest_plans
from analysis.frame import Study
from sweeps import ledger, progress
from sweeps.errors import SweepError
from sweeps.progress import TrialState
from sweeps.store import Store

_SOON, _WAIT_S = 8, 0.4
"""So few sweeps are waited for, so long: a small store shows whole at once."""
_PAUSE = 0.5
"""How long the thread rests after a sweep, as a share of the time it took: pages come first."""


@dataclass(frozen=True)
class Summary:
    """What reading a whole sweep told. plan: its hash; done, total: trials; over: whether nothing is left to come.

    best: '27.31 ± 0.12 dB, n = 8' of the arm `best_arm`, '' where there is none; value: its mean. ended_at: of the last
    finished trial, seconds since 1970.
    """

    plan: str
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
class Line:
    """A sweep in the list. summary: None until it is worked out, and where it cannot be: `unreadable`."""

    name: str
    question: str
    task: str
    states: Counter[str]
    searching: bool
    planned_at: float
    summary: Summary | None
    unreadable: bool = False

    @property
    def total(self) -> int:
        return sum(self.states.values())

    @property
    def state(self) -> str:
        """The one word that says how a sweep stands."""
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
    """What the list needs of a plan; the plan itself is hundreds of kilobytes."""

    hash: str
    question: str
    task: str
    targets: dict[str, tuple[int, ...]]
    searching: bool
    planned_at: float


def summarise(study: Study, verdicts: Mapping[str, int]) -> Summary:
    """verdicts: how many claims hold, of how many."""
    metric = study.metrics[0]
    group = next(group for group in study.groups if study.baseline in group)
    best = next((n for n, mark in tables.best_arms(study, metric, group).items() if mark == tables.BEST), "")
    interval = study.interval(best, metric) if best else None
    ended = [result["ended_at"] for result in study.results.values() if result.get("ended_at")]
    states = {(cell.trial, cell.epochs): cell.state for cell in study.cells}
    done = sum(state == "done" for state in states.values())
    return Summary(
        plan=str(study.plan["hash"]),
        done=done,
        total=len(states),
        over=done == len(states) and bool(states) and all(search.done for search in study.searches),
        best_arm=best,
        best=answer.figure(study, best, metric) if best else "",
        value=interval.mean if interval else None,
        metric=wording.label(metric),
        seconds=sum(sections.trial_seconds(study).values()),
        ended_at=max(ended, default=None),
        holds=verdicts["holds"],
        claims=verdicts["claims"],
    )


def of_report(report: Any) -> Summary:
    """The summary of an `analysis.report.Report`."""
    holds = sum(verdict.verdict == "holds" for verdict in report.verdicts)
    return summarise(report.study, {"holds": holds, "claims": len(report.verdicts)})


class Summaries:
    """The list of a store's sweeps. One a server."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._plans: dict[str, tuple[str, _Plan]] = {}
        self._made: dict[str, Summary] = {}
        self._lines = Fresh[list[Line]](FRESH_S)
        self._wanted: deque[str] = deque()
        self._unreadable: set[str] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def lines(self) -> list[Line]:
        """Every sweep with a plan, in the order of names; starts to work out what is missing."""
        lines = self._lines.get("", self._look)
        missing = [line.name for line in lines if line.summary is None and not line.unreadable]
        self._work(missing)
        if 0 < len(missing) <= _SOON and self._thread is not None:
            self._thread.join(_WAIT_S)
            self._lines.forget()
            lines = self._lines.get("", self._look)
        return lines

    @property
    def working(self) -> bool:
        """Whether summaries are being worked out."""
        return self._thread is not None and self._thread.is_alive()

    def _look(self) -> list[Line]:
        store = self._reader.store
        names = self._reader.names()
        self._read_plans(store, newest_plans(store, names))
        known = self._known(store, [name for name in names if name in self._plans])
        open_trials: dict[str, set[int]] = {}
        for name, (_, plan) in self._plans.items():
            if not (name in known and known[name].over):
                for trial, epochs in plan.targets.items():
                    open_trials.setdefault(trial, set()).update(epochs)
        wanted = {trial: tuple(sorted(epochs)) for trial, epochs in open_trials.items()}
        states = progress.states_of(store, wanted) if wanted else {}
        return [self._line(name, plan, known.get(name), states) for name, (_, plan) in sorted(self._plans.items())]

    def _read_plans(self, store: Store, keys: dict[str, str]) -> None:
        new = {key: name for name, key in keys.items() if self._plans.get(name, ("",))[0] != key}
        bodies = store.get_many(new)
        for key, data in bodies.items():
            with contextlib.suppress(SweepError, KeyError, TypeError):  # a damaged plan says so on its own page
                self._plans[new[key]] = (key, _small(ledger.load(key, data)))
        for name in [name for name in self._plans if name not in keys]:
            del self._plans[name]

    def _known(self, store: Store, names: list[str]) -> dict[str, Summary]:
        """The summaries that are of the newest plan."""
        missing = {ledger.summary_key(name): name for name in names if name not in self._made}
        for key, data in store.get_many(missing).items():
            with contextlib.suppress(SweepError, TypeError, KeyError):
                body = ledger.load(key, data)
                body.pop("schema")
                self._made[missing[key]] = Summary(**body)
        return {
            name: made for name in names if (made := self._made.get(name)) and made.plan == self._plans[name][1].hash
        }

    def _line(self, name: str, plan: _Plan, summary: Summary | None, states: dict[str, TrialState]) -> Line:
        cells = [(trial, epochs) for trial, many in plan.targets.items() for epochs in many]
        if summary and summary.over:
            count = Counter({"done": len(cells)})
        else:
            count = Counter(states[trial].at(epochs) if trial in states else "done" for trial, epochs in cells)
        if summary and summary.done != count["done"]:
            summary = None
        searching = plan.searching and not (summary and summary.over)
        unreadable = name in self._unreadable
        return Line(name, plan.question, plan.task, count, searching, plan.planned_at, summary, unreadable)

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _work(self, names: list[str]) -> None:
        with self._lock:
            self._wanted = deque(names)
            if names and not self.working:
                self._thread = threading.Thread(target=self._make_all, name="summaries", daemon=True)
                self._thread.start()

    def _make_all(self) -> None:
        while True:
            with self._lock:
                name = self._wanted.popleft() if self._wanted else None
            if name is None:
                return
            while self._reader.busy:
                time.sleep(0.1)
            began = time.monotonic()
            try:
                self._make(name)
            except (SweepError, KeyError, ValueError, TypeError):  # its own page says why
                self._unreadable.add(name)
            time.sleep(min(2.0, _PAUSE * (time.monotonic() - began)))

    def _make(self, name: str) -> None:
        from analysis import claims

        study = frame.read(self._reader.store, name)
        verdicts = claims.judge(study)
        counts = {"holds": sum(v.verdict == claims.HOLDS for v in verdicts), "claims": len(verdicts)}
        summary = summarise(study, counts)
        self._made[name] = summary
        if summary.over:
            with contextlib.suppress(SweepError):  # who may only read the store works it out for himself
                self._reader.store.put(ledger.summary_key(name), ledger.dump({"schema": 1, **asdict(summary)}))


def _small(plan: dict[str, Any]) -> _Plan:
    return _Plan(
        str(plan["hash"]),
        str(plan.get("question") or ""),
        str(plan.get("task") or ""),
        progress.targets(plan),
        bool(plan.get("search")),
        float(plan.get("planned_at") or 0.0),
    )
