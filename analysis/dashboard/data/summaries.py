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
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter

from analysis.dashboard.data.cache import TTLCache
from analysis.dashboard.data.reader import FRESH_S, Reader
from analysis.dashboard.data.sweep_line import SweepLine, SweepSummary, finished_line, summarise
from analysis.dashboard.data.trial_counts import ListedPlan, TrialCounts
from sweeps.errors import StoreAwayError, SweepError
from sweeps.store import layout, listing
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store

_SOON, _WAIT_S = 8, 0.4
"""A page waits this many seconds for states, and for summaries if at most `_SOON` are missing.

So the list of a small store is complete at once.
"""
_PAUSE = 0.5
"""Pause of the thread after each sweep, as a share of the time that the sweep took, so that pages come first."""
_SUMMARY = TypeAdapter(SweepSummary)


@dataclass(frozen=True)
class _SweepListing:
    """All sweeps with a plan, as read from the store at one time."""

    over: dict[str, SweepSummary]
    """Summaries of finished sweeps, by name."""
    plans: dict[str, ListedPlan]
    """Plans of all other sweeps, by name."""


class Summaries:
    """The list of a store's sweeps. One per server."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._listings = TTLCache[_SweepListing](FRESH_S)
        self._plans: dict[str, ListedPlan] = {}
        self._summaries: dict[str, tuple[str, SweepSummary]] = {}
        self._counts = TrialCounts(reader)
        self._wanted: deque[str] = deque()
        self._unreadable: set[str] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def lines(self) -> list[SweepLine]:
        """Every sweep with a plan, sorted by name. Starts the thread if states or summaries are missing."""
        listing = self._listings.get("", self._list)
        states_due = self._counts.are_due(listing.plans)
        lines = self._all(listing)
        missing = [line.name for line in lines if line.summary is None and not line.unreadable]
        self._start_thread(missing, states_due)
        until = time.monotonic() + _WAIT_S
        if states_due:
            self._counts.wait(_WAIT_S)
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
                plans[name] = ListedPlan.from_json(key, plan)
        self._plans = plans

    def _all(self, listing: _SweepListing) -> list[SweepLine]:
        lines = [finished_line(name, summary) for name, summary in listing.over.items()]
        lines += [self._line(name, plan) for name, plan in listing.plans.items()]
        return sorted(lines, key=lambda line: line.name)

    def _line(self, name: str, plan: ListedPlan) -> SweepLine:
        count = self._counts.of(name, plan)
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
            self._counts.update()
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
        summary = summarise(self._reader.store, name)
        self._summaries[name] = ("", summary)
        if summary.over and self._reader.writable:
            with contextlib.suppress(SweepError):  # without write access, every server computes it again
                self._reader.store.put(layout.summary_key(name), layout.dump({"schema": 1, **asdict(summary)}))
