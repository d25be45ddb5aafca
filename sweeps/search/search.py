"""A search with Optuna whose whole state is in the store.

    sweeps/<sweep>/search/<slug of arm>/search.json     space, sampler and metrics: created with the first suggestion
                                        <n>.ask.json    a suggestion: created before it is returned
                                        <n>.tell.json   its outcome: created once
                                        <n>.trials.json its trials by tuning seed, written by sweeps.search.arm_search

A suggestion depends on the store alone: a study in memory holds the asks and tells (asks without a tell are RUNNING, so
that TPE and GP keep away from them), and a new sampler, seeded with hash(seed, number of the ask), draws.
No sampler is kept between asks, so a search that was killed and resumed makes the same suggestions as one that was not,
if the same tells were in the store at each ask. The arm is not part of the hash: with `within_arms`, the searches of
all arms start with the same suggestions.

A search ends early (`exhausted`) when every configuration of a finite space has been suggested. `samplers.py` says how
each sampler treats a space and how long it takes.
"""

from __future__ import annotations

import copy
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeps.errors import SweepError
from sweeps.results.columns import SCHEMA
from sweeps.search import samplers
from sweeps.search.history import (
    LOST_ASK,
    LOST_TELL,
    MALFORMED,
    SAMPLERS,
    STATES,
    History,
    Json,
    SearchSpec,
)
from sweeps.search.live_study import LiveStudy
from sweeps.search.parameters import Overrides
from sweeps.search.space import parse
from sweeps.spec.trial import canonical, digest
from sweeps.store import listing
from sweeps.store.base import Store
from sweeps.store.layout import create, damaged, dump, intact, join, report_damage

__all__ = ["SAMPLERS", "Ask", "Search", "SearchSpec", "search_prefix", "stored_searches"]

_ASK = ("asked_at", "overrides", "params", "distributions", "study_attrs", "trial_attrs")
_TELL = ("told_at", "state", "values", "intermediate")
_OBJECT = re.compile(r"search\.json|\d{4,}\.(ask|tell)\.json")
"""Names of the objects that are read; a suggestion's trials are for displays."""
_MOST_LOST = 1000
"""How many suggestions in sequence may be missing; objects with higher numbers are passed over."""


@dataclass(frozen=True)
class Ask:
    """A suggestion and its outcome."""

    number: int
    overrides: Overrides
    """Changes to the arm's configuration: {dotted key: value}."""
    state: str = "running"
    """running, complete, pruned or failed."""
    values: tuple[float, ...] = ()
    """The metrics of a complete suggestion."""
    constraints: Mapping[str, float] = field(default_factory=dict)
    """By how much a complete suggestion is beyond each limit of the search; zero or less where it keeps it."""

    @property
    def fits(self) -> bool:
        """Whether the suggestion is complete and keeps every limit."""
        return self.state == "complete" and all(value <= 0 for value in self.constraints.values())


def search_prefix(sweep: str, arm: str) -> str:
    """Key prefix of the search of an arm: a readable part of the arm's name and a digest that makes it unique."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", arm)[:40].strip("-")
    return join("sweeps", sweep, "search", f"{readable or 'arm'}-{digest(arm)}") + "/"


def stored_searches(store: Store, sweep: str) -> dict[str, Search]:
    """The stored searches of a sweep by arm, for reading. Does not need the sweep file."""
    prefix = join("sweeps", sweep, "search")
    keys = [f"{prefix}/{slug}/search.json" for slug in listing.children(store, prefix)]
    specs = {}
    for key, header in intact(store.get_many(keys)).items():
        try:
            specs[header["arm"]] = _spec_of(header)
        except MALFORMED as error:
            report_damage(damaged(key, str(error).partition("\n")[0]))
    return {arm: Search(store, sweep, arm, spec) for arm, spec in specs.items()}


class Search:
    """The search of one arm in a store; see the module's docstring. Not thread-safe."""

    def __init__(
        self, store: Store, sweep: str, arm: str, spec: SearchSpec, clock: Callable[[], float] = time.time
    ) -> None:
        """Read the search from the store. SweepError if the store has it with another space or sampler.

        clock: returns seconds since 1970; times are stored with asks and tells for display only
        """
        self.name, self.spec = f"{sweep}/{arm}", spec
        self._store, self._clock, self._prefix = store, clock, search_prefix(sweep, arm)
        self._header = _header(arm, spec)
        self._read: set[str] = set()
        self._history = History(self.name, spec, spec.trials)
        self._live = LiveStudy()
        self._stuck = False
        self.refresh()

    def asks(self) -> list[Ask]:
        """All suggestions so far, by number."""
        return [self._ask(number) for number in range(len(self._history.asks))]

    def open(self) -> list[Ask]:
        """Suggestions without an outcome, to be continued after a restart."""
        return [ask for ask in self.asks() if ask.state == "running"]

    @property
    def exhausted(self) -> bool:
        """Whether there is no configuration left to suggest, so that the search ends early."""
        size = self._history.size
        return self._stuck or (size is not None and len(self._history.seen) >= size)

    @property
    def done(self) -> bool:
        """Whether there are no more suggestions and all have an outcome."""
        asks, tells = len(self._history.asks), len(self._history.tells)
        return (asks >= self.spec.trials or self.exhausted) and tells == asks

    def best(self, count: int) -> list[Ask]:
        """The best distinct complete suggestions by the only metric, best first; ties go to the earlier one.

        Suggestions beyond a limit of the search are left out.
        """
        if len(self.spec.metrics) > 1:
            given, why = f"search.report_best: {count}", "several metrics have no single best configuration"
            raise SweepError(given, why, "0 with several metrics", "report_best: 0")
        sign = -1 if self.spec.goals[0] == "max" else 1
        complete = {canonical(ask.overrides): ask for ask in reversed(self.asks()) if ask.fits}
        return sorted(complete.values(), key=lambda ask: (sign * ask.values[0], ask.number))[:count]

    def front(self) -> list[Ask]:
        """The Pareto front: complete suggestions within the limits that no other one dominates."""
        return [self._ask(trial.number) for trial in self.study().best_trials]

    def study(self) -> Any:
        """An Optuna study in memory, for reading; `user_attrs["overrides"]` of a trial has its configuration."""
        return self._history.study()

    def own_study(self, metric: str | None = None) -> Any:
        """`study` with the keys of the configuration as parameters, for figures. metric: the only objective, or all."""
        return self._history.own_study(metric)

    def importances(self) -> dict[str, float]:
        """The importance of each key of the configuration, for searches with one objective."""
        return self._history.importances()

    def ask(self) -> Ask | None:
        """The next suggestion, stored before it is returned; None if the budget is spent or the space exhausted."""
        while (number := len(self._history.asks)) < self.spec.trials and not self.exhausted:
            drawn = samplers.draw(self._history, self._live)
            if drawn is None:
                self._stuck = True
                break
            if number == 0:
                create(self._store, f"{self._prefix}search.json", self._header)
            name, record = f"{number:04d}.ask.json", {"schema": SCHEMA, "number": number, "asked_at": self._clock()}
            if self._store.create(self._prefix + name, dump(record | drawn)):
                self._take(name, record | drawn)
                return self._ask(number)
            self.refresh()  # another driver has stored this number meanwhile: use the next one
        return None

    def tell(
        self,
        number: int,
        state: str,
        values: Sequence[float] = (),
        intermediate: Mapping[int, float] | None = None,
        constraints: Mapping[str, float] | None = None,
    ) -> bool:
        """Store the outcome of a suggestion. Returns False, and changes nothing, if it already has one.

        state: complete, pruned or failed
        values: the metrics, for a complete suggestion only
        intermediate: the metric by epoch; samplers rank a pruned suggestion by the last value
        constraints: by how much a complete suggestion is beyond each limit of the search; zero or less: it keeps it
        """
        assert state in STATES, state
        assert 0 <= number < len(self._history.asks), number
        wanted = len(self.spec.metrics) if state == "complete" else 0
        if len(values) != wanted or not all(math.isfinite(value) for value in values):
            given = f"search {self.name}, suggestion {number}: {list(values)!r}"
            allowed = f"{wanted} finite numbers for a {state} one"
            raise SweepError(given, "a sampler cannot use these values", allowed, "tell the suggestion as failed")
        record = {
            "schema": SCHEMA,
            "number": number,
            "told_at": self._clock(),
            "state": state,
            "values": [float(value) for value in values],
            "intermediate": [[epoch, _finite(value)] for epoch, value in sorted((intermediate or {}).items())],
            **({"constraints": dict(constraints)} if constraints else {}),
        }
        name = f"{number:04d}.tell.json"
        if create(self._store, self._prefix + name, record):
            self._take(name, record)
            return True
        self.refresh()
        return False

    def forget_failures(self) -> int:
        """Delete the failed outcomes, so that these suggestions are tried again. Returns how many there were."""
        failed = [number for number, tell in self._history.tells.items() if tell["state"] == "failed"]
        names = {f"{number:04d}.tell.json": number for number in failed}
        stored = {name: number for name, number in names.items() if name in self._read}
        self._store.delete(self._prefix + name for name in stored)
        for name, number in stored.items():
            self._read.discard(name)
            del self._history.tells[number]
            self._history.frozen.pop(number, None)
        return len(stored)

    def refresh(self) -> None:
        """Read new objects from the store, such as those of another driver."""
        listed = listing.keys(self._store, self._prefix)
        names = {key: key.removeprefix(self._prefix) for key in listed}
        bodies = self._store.get_many(
            key for key, name in names.items() if name not in self._read and _OBJECT.fullmatch(name)
        )
        records = intact(bodies)
        for key in sorted(bodies, key=_place):
            name = key.removeprefix(self._prefix)
            if _place(name)[0] > len(self._history.asks) + _MOST_LOST:
                report_damage(damaged(key, "its number is far above those before it"))
                continue
            if name != "search.json":  # an outcome whose suggestion is lost must not become that of another one
                self._fill_gap(_place(name)[0] + name.endswith(".tell.json"))
            try:
                self._take(name, records.get(key))
            except SweepError:
                raise
            except MALFORMED as error:
                report_damage(damaged(key, repr(error)))
                self._take(name, None)

    def _fill_gap(self, before: int) -> None:
        """Take the asks up to a number that a listing lacked: it may be older than they are, or they are lost."""
        for number in range(len(self._history.asks), before):
            key = f"{self._prefix}{number:04d}.ask.json"
            bodies = self._store.get_many([key])
            if not bodies:
                report_damage(damaged(key, "it is missing"))
            self._take(key.removeprefix(self._prefix), intact(bodies).get(key))

    def _take(self, name: str, record: Json | None) -> None:
        """Add an object of the store to the history. record: None for a damaged one.

        A damaged outcome is passed over until the driver has written it again. A damaged suggestion counts as failed.
        """
        history, number = self._history, _place(name)[0]
        if name == "search.json" and record is not None:
            self._check_header(record)
            history.begun_with = record["trials"]
        elif name.endswith(".ask.json"):
            if number < len(history.asks):
                return
            if record is not None:
                ask = {key: record[key] for key in _ASK}
                seen = history.key(ask["params"])
                history.seen.add(seen)
                history.asks.append(ask)
            else:
                history.asks.append(dict(LOST_ASK))
                history.tells[number] = dict(LOST_TELL)
        elif name.endswith(".tell.json"):
            if record is None:
                return
            lost = number >= len(history.asks) or history.asks[number] == LOST_ASK
            if not lost:
                tell = {key: record[key] for key in _TELL} | {"constraints": record.get("constraints", {})}
                if len(tell["values"]) != (len(self.spec.metrics) if tell["state"] == "complete" else 0):
                    raise ValueError(f"it has {len(tell['values'])} values")
                history.tells[number] = tell
        self._read.add(name)

    def _check_header(self, stored: Json) -> None:
        for key in ("space", "sampler", "metrics", "goals", "seed", "constraints"):
            if canonical(stored.get(key)) != canonical(self._header.get(key)):
                raise SweepError(
                    f"search {self.name}: {key} {self._header.get(key)!r}",
                    f"the search in the store began with {stored.get(key)!r}",
                    "the same value (trials may grow, points may be added)",
                    "restore the value, or give the sweep another name",
                )

    def _ask(self, number: int) -> Ask:
        tell = self._history.tells.get(number, {"state": "running", "values": []})
        overrides = copy.deepcopy(self._history.asks[number]["overrides"])
        return Ask(number, overrides, tell["state"], tuple(tell["values"]), dict(tell.get("constraints") or {}))


def _finite(value: float) -> float | None:
    """A value for JSON: None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None


def _header(arm: str, spec: SearchSpec) -> Json:
    """The definition of a search as stored in search.json; `trials` is the budget when it began."""
    return {
        "schema": SCHEMA,
        "arm": arm,
        "space": spec.space.raw,
        "sampler": spec.sampler,
        "metrics": list(spec.metrics),
        "goals": list(spec.goals),
        "seed": spec.seed,
        "trials": spec.trials,
        **({"constraints": {column: dict(limit) for column, limit in spec.limits.items()}} if spec.limits else {}),
    }


def _spec_of(header: Json) -> SearchSpec:
    space, metrics, goals = parse(header["space"]), tuple(header["metrics"]), tuple(header["goals"])
    limits = header.get("constraints") or {}
    return SearchSpec(space, header["trials"], metrics, goals, header["sampler"], header["seed"], limits)


def _place(key: str) -> tuple[int, str]:
    """Sort key for the objects of a search: search.json first, then by number, the ask before its tell."""
    number, _, kind = key.rsplit("/", 1)[-1].partition(".")
    return (int(number) if number.isdigit() else -1), kind
