"""What pages read of a store, kept by what changed: one look at listings tells whether anything has to be read again.

A sweep is stamped with the versions of its plans, of what its search wrote and of its trials' claims, ends and results;
heartbeats change every few seconds and are read apart. No page reads one object a trial of a finished sweep.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

from analysis.dashboard.data.cache import TTLCache, VersionedCache
from analysis.dashboard.data.listed_store import ListedStore
from analysis.report import build as report
from analysis.report import formats
from analysis.report.content import Report
from analysis.study import Study
from sweeps.errors import SweepError
from sweeps.results import progress
from sweeps.results.progress import TrialState
from sweeps.search.search import Search, stored_searches
from sweeps.spec.trial import digest
from sweeps.store import checkpoints, layout
from sweeps.store import plans as stored_plans
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store

FRESH_S = 2.0
"""Seconds for which a look at the store counts."""
_WRITABLE_S = 60.0
_REPORTS = 6
"""Sweeps that are held in memory."""
_ID = re.compile(r"[0-9a-f]{8,64}")

Json = dict[str, Any]


class Reader:
    """One a server, shared by its sessions; thread-safe."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._names = TTLCache[list[str]](FRESH_S)
        self._plan_keys = TTLCache[dict[str, str]](FRESH_S)
        self._plans = VersionedCache[Json](16)
        self._states = TTLCache[dict[str, TrialState]](FRESH_S)
        self._listed = TTLCache[ListedStore](FRESH_S, 8)
        self._building: list[str] = []
        self._reports = VersionedCache[Report](_REPORTS)
        self._pages = VersionedCache[str](3)
        self._searches = VersionedCache[dict[str, Search]](4)
        self._writable = TTLCache[bool](_WRITABLE_S)

    def names(self) -> list[str]:
        """The sweeps of the store."""
        return self._names.get("", lambda: stored_plans.sweep_names(self.store))

    def check(self, name: str) -> str:
        """The name itself. SweepError where it is a path, or where the store has no sweep of it."""
        if stored_plans.check_name(self.store, name) not in self.names():
            raise stored_plans.unknown_sweep_error(self.store, name, self.names())
        return name

    def plan(self, name: str) -> Json:
        """The newest plan of a sweep. SweepError where it has none."""
        key = self._plan_keys.get(name, lambda: newest_plans(self.store, [self.check(name)])).get(name)
        if key is None:
            raise stored_plans.unknown_sweep_error(self.store, name, self.names())
        return self._plans.get(name, key, lambda: layout.load(key, self.store.get(key)))

    def states(self, name: str) -> dict[str, TrialState]:
        """The state of each trial of a sweep's plan, a few seconds old at most."""
        return self._states.get(name, lambda: progress.trial_states(self._look(name), self.plan(name)))

    def report(self, name: str) -> Report:
        """A sweep's report: read again only when something of the sweep has changed."""
        return self._reports.get(name, self.stamp(name), lambda: self._build(name))

    def _build(self, name: str) -> Report:
        self._building.append(name)
        try:
            return report.build(self._look(name), self.check(name))
        finally:
            self._building.remove(name)

    def yield_to_pages(self) -> None:
        """Wait while a sweep is being read for a page."""
        while self._building:
            time.sleep(0.1)

    @property
    def writable(self) -> bool:
        """Whether this process may write to the store, as it was a minute ago at most."""
        return self._writable.get("", lambda: self.store.writable)

    def page(self, name: str) -> str:
        """The report as HTML."""
        return self._pages.get(name, self.stamp(name), partial(formats.html, self.report(name)))

    def study(self, name: str) -> Study:
        return self.report(name).study

    def searches(self, name: str) -> dict[str, Search]:
        """The searches of a sweep by arm, whole."""
        return self._searches.get(name, self.stamp(name), lambda: stored_searches(self.store, self.check(name)))

    def stamp(self, name: str) -> str:
        """A text that changes with what the report of a sweep is made from."""
        found = self._look(name).found
        return digest({key: version for key, version in found.items() if not key.endswith(".beat.json")}, 32)

    def _look(self, name: str) -> ListedStore:
        """The store with all of a sweep listed, a few seconds ago at most."""
        return self._listed.get(name, lambda: self._list(name))

    def _list(self, name: str) -> ListedStore:
        """Results first: of a finished trial the attempts change nothing, and on S3 a known name costs less to find."""
        keys = {
            layout.result_key(trial, epochs): trial
            for trial, many in progress.targets(self.plan(name)).items()
            for epochs in many
        }
        found = self.store.find(keys)
        left = {trial for key, trial in keys.items() if key not in found}
        folders = [f"trials/{trial}/attempts/" for trial in left]
        folders += [f"sweeps/{name}/{part}/" for part in ("plans", "search", "pruned", "pictures")]
        return ListedStore(self.store, [*folders, *keys], found | self.store.find(folders))

    def forget(self) -> None:
        """Look at the store anew at the next question: something was just done to it."""
        for kept in (self._names, self._plan_keys, self._states, self._listed):
            kept.forget()

    # --- trials -------------------------------------------------------------------------------------------------------

    def trial(self, trial_id: str) -> Json:
        """A trial's task, configuration and seed. SweepError where its id is none or the store has no such trial."""
        if not _ID.fullmatch(trial_id):
            raise SweepError(
                f"trial {trial_id[:80]!r}", "it is no id", "16 hexadecimal digits", "choose a cell of a sweep"
            )
        return stored_trials.read_trial(self.store, trial_id)

    def results(self, trial_id: str) -> dict[int, Json]:
        """The results of a trial by target epoch, ascending."""
        keys = list(self.store.keys(f"trials/{trial_id}/result/"))
        found = self.store.get_many(keys)
        return {
            body["epochs"]: body for body in sorted(map(layout.load, found, found.values()), key=lambda b: b["epochs"])
        }


def newest_plans(store: Store, names: Iterable[str]) -> dict[str, str]:
    """The key of each sweep's newest plan, from few listings."""
    found: dict[str, str] = {}
    for key in sorted(store.find(f"sweeps/{name}/plans/" for name in names)):
        found[key.split("/")[1]] = key
    return found


def history(reader: Reader, trial_id: str, results: dict[int, Json], state: TrialState | None) -> dict[str, list[Any]]:
    """A trial's columns over epochs: of its longest result, else of its last checkpoint and newest heartbeat."""
    if results:
        last: dict[str, list[Any]] = results[max(results)]["history"]
        return last
    rows = checkpoints.checkpoint_history(reader.store, trial_id, 10**9)
    beat = state.record if state else {}
    if beat.get("epoch") and beat["epoch"] > max((row["epoch"] for row in rows), default=0):
        rows = [*rows, beat]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}
