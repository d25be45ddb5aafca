"""A search: Optuna's suggestions, with the store as their only truth.

    sweeps/<sweep>/search/<slug of arm>/search.json     what is searched for, and by which sampler; with the first ask
                                        <n>.ask.json    a suggestion: created before anyone sees it
                                        <n>.tell.json   what became of it: created once
                                        <n>.trials.json its trials by tuning seed, written by sweeps.search.arm_search

An ask is a function of the store alone: a study in memory is built from the asks and tells (those without a tell are
RUNNING, so that TPE and GP keep away from them), and a fresh sampler, seeded with hash(seed, number of the ask), draws.
No sampler lives from ask to ask, so a search that was killed and one that was not suggest the same, given that the
same tells were in the store at each ask. The arm is not part of the hash: within arms, all searches start alike.

A finite space whose every configuration was asked ends the search early (`exhausted`). What each sampler makes of a
space, and how long it takes, says `samplers.py`.
"""

from __future__ import annotations

import copy
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.errors import SweepError
from sweeps.results.columns import SCHEMA
from sweeps.search import samplers
from sweeps.search.history import MALFORMED, SAMPLERS, STATES, History, Json, SearchSpec, damaged
from sweeps.search.parameters import Overrides
from sweeps.search.space import parse
from sweeps.spec.trial import canonical, digest
from sweeps.store.base import Store
from sweeps.store.layout import dump, load

__all__ = ["SAMPLERS", "Ask", "Search", "SearchSpec", "search_prefix", "stored_searches"]

_ASK = ("asked_at", "overrides", "params", "distributions", "study_attrs", "trial_attrs")
_TELL = ("told_at", "state", "values", "intermediate")


@dataclass(frozen=True)
class Ask:
    """A suggestion and what became of it.

    overrides: by dotted key, for the arm's configuration. state: running, complete, pruned or failed.
    values: of the metrics, of a complete one.
    """

    number: int
    overrides: Overrides
    state: str = "running"
    values: tuple[float, ...] = ()


def search_prefix(sweep: str, arm: str) -> str:
    """Where the objects of an arm's search lie: a readable part of its name, and a digest that tells names apart."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", arm)[:40].strip("-")
    return f"sweeps/{sweep}/search/{readable or 'arm'}-{digest(arm)}/"


def stored_searches(store: Store, sweep: str) -> dict[str, Search]:
    """The searches that a store has of a sweep, by arm, for reading: rebuilt without the sweep file."""
    prefix = f"sweeps/{sweep}/search"
    keys = [f"{prefix}/{slug}/search.json" for slug in store.children(prefix)]
    headers = [load(key, data) for key, data in store.get_many(keys).items()]
    return {header["arm"]: Search(store, sweep, header["arm"], _spec_of(header)) for header in headers}


class Search:
    """One arm's search in a store; see the module's text. Not for several threads at once."""

    def __init__(
        self, store: Store, sweep: str, arm: str, spec: SearchSpec, clock: Callable[[], float] = time.time
    ) -> None:
        """Read the search as far as it got. A SweepError where the store has it with another space or sampler.

        clock: seconds since 1970; stored with asks and tells, for the eye.
        """
        self.name, self.spec = f"{sweep}/{arm}", spec
        self._store, self._clock, self._prefix = store, clock, search_prefix(sweep, arm)
        self._header = _header(arm, spec)
        self._read: set[str] = set()
        self._history = History(self.name, spec, spec.trials)
        self._stuck = False
        self.refresh()

    def asks(self) -> list[Ask]:
        """All suggestions so far, in their order."""
        return [self._ask(number) for number in range(len(self._history.asks))]

    def open(self) -> list[Ask]:
        """Suggestions that were not told: to go on with, after a restart."""
        return [ask for ask in self.asks() if ask.state == "running"]

    @property
    def exhausted(self) -> bool:
        """Whether every configuration of a finite space was suggested, so that the search ends early."""
        size = self._history.size
        return self._stuck or (size is not None and len(self._history.seen) >= size)

    @property
    def done(self) -> bool:
        """Whether nothing is left to ask or to tell."""
        asked, told = len(self._history.asks), len(self._history.tells)
        return (asked >= self.spec.trials or self.exhausted) and told == asked

    def best(self, count: int) -> list[Ask]:
        """The best complete suggestions by the one metric, best first; of equals the earlier. No two are the same."""
        if len(self.spec.metrics) > 1:
            given = f"search.report_best: {count}"
            raise SweepError(given, "with several metrics there is no best one", "one metric", "the Pareto front")
        sign = -1 if self.spec.goals[0] == "max" else 1
        complete = {canonical(ask.overrides): ask for ask in reversed(self.asks()) if ask.state == "complete"}
        return sorted(complete.values(), key=lambda ask: (sign * ask.values[0], ask.number))[:count]

    def front(self) -> list[Ask]:
        """The complete suggestions that no other beats in every metric, in their order."""
        return [self._ask(trial.number) for trial in self.study().best_trials]

    def study(self) -> Any:
        """An Optuna study in memory, for reading; a trial's `user_attrs["overrides"]` has its configuration."""
        return self._history.study()

    def importances(self) -> dict[str, float]:
        """See `History.importances`; of searches with one objective."""
        return self._history.importances()

    def ask(self) -> Ask | None:
        """The next suggestion, stored before it is returned; None when the budget is spent or the space exhausted."""
        while (number := len(self._history.asks)) < self.spec.trials and not self.exhausted:
            drawn = samplers.draw(self._history)
            if drawn is None:
                self._stuck = True
                break
            if number == 0:
                self._store.create(f"{self._prefix}search.json", dump(self._header))
            name, record = f"{number:04d}.ask.json", {"schema": SCHEMA, "number": number, "asked_at": self._clock()}
            if self._store.create(self._prefix + name, dump(record | drawn)):
                self._take(name, record | drawn)
                return self._ask(number)
            self.refresh()  # another driver asked in the same moment: take the next number
        return None

    def tell(
        self, number: int, state: str, values: Sequence[float] = (), intermediate: Mapping[int, float] | None = None
    ) -> bool:
        """Store what became of a suggestion. False where that was told before: the first word stands.

        state: complete, pruned or failed. values: of the metrics, of a complete one only. intermediate: the metric by
        epoch; a pruned one is judged by the last of them.
        """
        assert state in STATES, state
        assert 0 <= number < len(self._history.asks), number
        wanted = len(self.spec.metrics) if state == "complete" else 0
        if len(values) != wanted or not all(math.isfinite(value) for value in values):
            given = f"search {self.name}, suggestion {number}: {list(values)!r}"
            allowed = f"{wanted} finite numbers for a {state} one"
            raise SweepError(given, "no sampler can judge that", allowed, "tell it as failed")
        record = {
            "schema": SCHEMA,
            "number": number,
            "told_at": self._clock(),
            "state": state,
            "values": [float(value) for value in values],
            "intermediate": [[epoch, _finite(value)] for epoch, value in sorted((intermediate or {}).items())],
        }
        name = f"{number:04d}.tell.json"
        if self._store.create(self._prefix + name, dump(record)):
            self._take(name, record)
            return True
        self.refresh()
        return False

    def refresh(self) -> None:
        """Read what was written since: before a restart, or by another driver."""
        new = [key for key in self._store.keys(self._prefix) if key.removeprefix(self._prefix) not in self._read]
        found = self._store.get_many(new)
        for key in sorted(found, key=_place):
            record = load(key, found[key])
            try:
                self._take(key.removeprefix(self._prefix), record)
            except SweepError:
                raise
            except MALFORMED as error:
                raise damaged(key, repr(error)) from error

    def _take(self, name: str, record: Json) -> None:
        """Take in an object of the store."""
        history = self._history
        if name == "search.json":
            self._check_header(record)
            history.begun_with = record["trials"]
        elif name.endswith(".ask.json"):
            if record["number"] != len(history.asks):
                raise damaged(self._prefix + name, f"it follows ask {len(history.asks) - 1}")
            history.seen.add(history.key(record["params"]))
            history.asks.append({key: record[key] for key in _ASK})
        elif name.endswith(".tell.json"):
            if record["number"] >= len(history.asks) or record["state"] not in STATES:
                raise damaged(self._prefix + name, "its ask or its state is unknown")
            history.tells[record["number"]] = {key: record[key] for key in _TELL}
        self._read.add(name)

    def _check_header(self, stored: Json) -> None:
        for key in ("space", "sampler", "metrics", "goals", "seed"):
            if canonical(stored[key]) != canonical(self._header[key]):
                raise SweepError(
                    f"search {self.name}: {key} {self._header[key]!r}",
                    f"the search in the store was begun with {stored[key]!r}",
                    "the same again (trials may grow, points may be added)",
                    "put it back, or give the sweep another name",
                )

    def _ask(self, number: int) -> Ask:
        tell = self._history.tells.get(number, {"state": "running", "values": []})
        return Ask(number, copy.deepcopy(self._history.asks[number]["overrides"]), tell["state"], tuple(tell["values"]))


def _finite(value: float) -> float | None:
    """A value as JSON has it: None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None


def _header(arm: str, spec: SearchSpec) -> Json:
    """What makes a search that search; `trials` as they were at its beginning."""
    return {
        "schema": SCHEMA,
        "arm": arm,
        "space": spec.space.raw,
        "sampler": spec.sampler,
        "metrics": list(spec.metrics),
        "goals": list(spec.goals),
        "seed": spec.seed,
        "trials": spec.trials,
    }


def _spec_of(header: Json) -> SearchSpec:
    """The inverse of `_header`."""
    space, metrics, goals = parse(header["space"]), tuple(header["metrics"]), tuple(header["goals"])
    return SearchSpec(space, header["trials"], metrics, goals, header["sampler"], header["seed"])


def _place(key: str) -> tuple[int, str]:
    """Sorts a search's keys: by number, the ask before its tell, search.json first."""
    number, _, kind = key.rsplit("/", 1)[-1].partition(".")
    return (int(number) if number.isdigit() else -1), kind
