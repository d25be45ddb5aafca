"""Reads a store for the pages and caches what it read; listings show what has to be read again.

The stamp of a sweep is a digest of the versions of its plans, of the objects of its search, and of the claims, ends and
results of its trials. Heartbeats change every few seconds, so they are read separately. For a finished sweep, no page
reads one object per trial.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable
from functools import partial
from typing import Any

from analysis.dashboard.data.cache import TTLCache, VersionedCache
from analysis.dashboard.data.listed_store import ListedStore
from analysis.report import build as report
from analysis.report import formats
from analysis.report.content import Report
from analysis.study import Study
from sweeps.errors import SweepError
from sweeps.results import notes as stored_notes
from sweeps.results import progress
from sweeps.results.notes import Note
from sweeps.results.progress import TrialState
from sweeps.search.search import Search, stored_searches
from sweeps.spec.trial import digest
from sweeps.store import checkpoints, layout, listing
from sweeps.store import plans as stored_plans
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store

FRESH_S = 2.0
"""Seconds for which a listing of the store is valid."""
_WRITABLE_S = 60.0
_NOTES_S = 15.0
_REPORTS = 6
"""Maximum number of reports in memory."""
_ID = re.compile(r"[0-9a-f]{8,64}")

Json = dict[str, Any]


class Reader:
    """Reads one store. One per server, shared by its sessions; thread-safe."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._names = TTLCache[list[str]](FRESH_S)
        self._plan_keys = TTLCache[dict[str, str]](FRESH_S)
        self._plans = VersionedCache[Json](16)
        self._states = TTLCache[dict[str, TrialState]](FRESH_S)
        self._listed = TTLCache[ListedStore](FRESH_S, 8)
        self._building: list[str] = []
        self._damaged: dict[str, Collection[str]] = {}
        """Damaged results by sweep, when its report was last built."""
        self._reports = VersionedCache[Report](_REPORTS)
        self._pages = VersionedCache[str](3)
        self._searches = VersionedCache[dict[str, Search]](4)
        self._notes = TTLCache[dict[str, list[Note]]](_NOTES_S)
        self._writable = TTLCache[bool](_WRITABLE_S)

    def names(self) -> list[str]:
        """Names of the sweeps in the store."""
        return self._names.get("", lambda: stored_plans.sweep_names(self.store))

    def check(self, name: str) -> str:
        """Return the name. Raises SweepError if it is a path or the store has no such sweep."""
        if stored_plans.check_name(self.store, name) not in self.names():
            raise stored_plans.unknown_sweep_error(self.store, name, self.names())
        return name

    def plan(self, name: str) -> Json:
        """The newest plan of a sweep. Raises SweepError if it has none."""
        key = self._plan_keys.get(name, lambda: newest_plans(self.store, [self.check(name)])).get(name)
        if key is None:
            raise stored_plans.unknown_sweep_error(self.store, name, self.names())
        return self._plans.get(name, key, lambda: stored_plans.require_plan(self.store, name))

    def states(self, name: str) -> dict[str, TrialState]:
        """The state of each trial in a sweep's plan, at most a few seconds old."""
        return self._states.get(
            name,
            lambda: progress.trial_states(self._listing(name), self.plan(name), damaged=self._damaged.get(name, ())),
        )

    def report(self, name: str) -> Report:
        """A sweep's report, built again only when the sweep has changed."""
        return self._reports.get(name, self.stamp(name), lambda: self._build(name))

    def _build(self, name: str) -> Report:
        self._building.append(name)
        try:
            built = report.build(self._listing(name), self.check(name))
            self._damaged[name] = built.study.damaged
            return built
        finally:
            self._building.remove(name)

    def yield_to_pages(self) -> None:
        """Wait while a page is reading a sweep."""
        while self._building:
            time.sleep(0.1)

    @property
    def writable(self) -> bool:
        """Whether this process may write to the store, checked at most a minute ago."""
        return self._writable.get("", lambda: self.store.writable)

    def page(self, name: str) -> str:
        """The report as HTML."""
        return self._pages.get(name, self.stamp(name), partial(formats.html, self.report(name)))

    def study(self, name: str) -> Study:
        return self.report(name).study

    def searches(self, name: str) -> dict[str, Search]:
        """The searches of a sweep by arm, with all their suggestions."""
        return self._searches.get(name, self.stamp(name), lambda: stored_searches(self.store, self.check(name)))

    def stamp(self, name: str) -> str:
        """A digest that changes when the data behind a sweep's report change."""
        versions = self._listing(name).versions
        return digest({key: version for key, version in versions.items() if not key.endswith(".beat.json")}, 32)

    def _listing(self, name: str) -> ListedStore:
        """The store with everything of a sweep listed, at most a few seconds ago."""
        return self._listed.get(name, lambda: self._list(name))

    def _list(self, name: str) -> ListedStore:
        """Results come first: a finished trial needs no list of attempts, and S3 finds a known key at lower cost."""
        keys = {
            layout.result_key(trial, epochs): trial
            for trial, many in progress.targets(self.plan(name)).items()
            for epochs in many
        }
        found = self.store.find(keys)
        left = {trial for key, trial in keys.items() if key not in found}
        folders = [layout.join("trials", trial, "attempts") + "/" for trial in left]
        folders += [f"sweeps/{name}/{part}/" for part in ("plans", "search", "pruned", "pictures")]
        return ListedStore(self.store, [*folders, *keys], found | listing.find(self.store, folders))

    def notes(self, name: str) -> list[Note]:
        """Notes, stars and saved views of a sweep, oldest first, at most 15 s old."""
        return self._notes.get(name, lambda: stored_notes.read(self.store, [self.check(name)])).get(name, [])

    def all_notes(self) -> dict[str, list[Note]]:
        """`notes` of every sweep."""
        return self._notes.get("", lambda: stored_notes.read(self.store, self.names()))

    def forget(self) -> None:
        """Drop the cached listings and states, because the store has just been changed."""
        for cache in (self._names, self._plan_keys, self._states, self._listed, self._notes):
            cache.forget()

    # --- trials -------------------------------------------------------------------------------------------------------

    def trial(self, trial_id: str) -> Json:
        """A trial's task, configuration and seed. Raises SweepError if the id is invalid or not in the store."""
        if not _ID.fullmatch(trial_id):
            raise SweepError(
                f"trial {trial_id[:80]!r}", "it is not a trial id", "16 hexadecimal digits", "click a cell in a sweep"
            )
        return stored_trials.read_trial(self.store, trial_id)

    def results(self, trial_id: str) -> dict[int, Json]:
        """The results of a trial by target epoch, ascending."""
        keys = {n: layout.result_key(trial_id, n) for n in stored_trials.finished_epochs(self.store, trial_id)}
        found = layout.intact(self.store.get_many(keys.values()))
        return {epochs: found[key] for epochs, key in keys.items() if key in found}


def newest_plans(store: Store, names: Iterable[str]) -> dict[str, str]:
    """{sweep: key of its newest plan}, from few listings."""
    found: dict[str, str] = {}
    for key in sorted(listing.find(store, (f"sweeps/{name}/plans/" for name in names))):
        found[key.split("/")[1]] = key
    return found


def history(reader: Reader, trial_id: str, results: dict[int, Json], state: TrialState | None) -> dict[str, list[Any]]:
    """A trial's columns over epochs: from its longest result, else from checkpoint, heartbeat and error."""
    if results:
        last: dict[str, list[Any]] = results[max(results)]["history"]
        return last
    rows = checkpoints.checkpoint_history(reader.store, trial_id, 10**9)
    beat = state.record if state else {}
    if beat.get("epoch") and beat["epoch"] > max((row["epoch"] for row in rows), default=0):
        rows = [*rows, beat]
    before = ((state and state.error) or {}).get("trace", {}).get("epochs") or {}  # of a trial that diverged
    reached = max((row["epoch"] for row in rows), default=0)
    rows += [
        {name: values[at] for name, values in before.items()}
        for at, epoch in enumerate(before.get("epoch", ()))
        if epoch and epoch > reached
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}
