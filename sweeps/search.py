"""A search: Optuna's suggestions, with the store as their only truth.

    sweeps/<sweep>/search/<slug of arm>/search.json     what is searched for, and by which sampler; with the first ask
                                        <n>.ask.json    a suggestion: created before anyone sees it
                                        <n>.tell.json   what became of it: created once

An ask is a function of the store alone: a study in memory is built from the asks and tells (those without a tell are
RUNNING, so that TPE and GP keep away from them), and a fresh sampler, seeded with hash(seed, number of the ask), draws.
No sampler lives from ask to ask, so a search that was killed and one that was not suggest the same, given that the
same tells were in the store at each ask. The arm is not part of the hash: within arms, all searches start alike.

What each sampler makes of a space:

- tpe: jointly, in groups where keys are conditional; random for its first 10 results. Pruned trials count as bad ones.
- gp: on the keys that every configuration has; TPE draws conditional ones. Does not learn from pruned trials.
- cmaes: CMA-ES on the numbers that every configuration has; TPE draws choices and conditional keys. Driven here and not
  by Optuna, whose wrapper keeps pickles among a trial's attributes. Pruned trials rank below complete ones.
- nsga2: its population is a quarter of the first budget, from 4 to 50. Random in the first generation and for
  conditional keys. Does not learn from pruned trials.
- qmc: a scrambled Sobol' sequence over all keys, of which the inactive ones are dropped; driven here, because Optuna's
  takes its space from the first trial.
- random: independent draws.

A suggestion that was made before is drawn again, a few times (`_TRIES`), then replaced by one that is new. A finite
space whose every configuration was asked ends the search early (`exhausted`).

Time of an ask on two cores, after 500 others of four keys: 0.06 s, most of it to build the study (0.1 ms an earlier
ask); gp 0.7 to 1.1 s (0.4 s after 100; several seconds for several metrics). The first after a restart takes 0.2 s
more to read and build, and 3 s where gp has to import torch.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import itertools
import json
import math
import random
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeps.errors import StoreError, SweepError
from sweeps.ledger import dump, load
from sweeps.record import SCHEMA
from sweeps.space import Overrides, Params, Space, parse
from sweeps.store import Store
from sweeps.trial import canonical, digest

SAMPLERS = ("tpe", "gp", "cmaes", "nsga2", "random", "qmc")
_TRIES, _GP_TRIES = 8, 2  # draws of the sampler itself before a repeated suggestion is replaced; gp takes a second each
_RANDOM_TRIES = 10_000  # random draws (20 us each) before a space counts as exhausted
_ENUMERABLE = 100_000  # configurations of a space that is enumerated to find those not asked
_GENERATION, _SOBOL = "sweeps:generation", "sweeps:sobol"  # attributes of our own, stored with an ask
_OPTUNA = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}  # our states, Optuna's

_ASK = ("asked_at", "overrides", "params", "distributions", "study_attrs", "trial_attrs")
_TELL = ("told_at", "state", "values", "intermediate")

_MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError)  # of an object that is not as written

Json = dict[str, Any]


@dataclass(frozen=True)
class SearchSpec:
    """What a sweep file asks of a search.

    trials: the number of suggestions, whatever becomes of them; may grow later, the rest may not change.
    metrics, goals: what is told, in this order, and whether more is better ("max") or less ("min").
    points: known good points, as overrides of all keys of the space or of some; they are asked first.
    """

    space: Space
    trials: int
    metrics: tuple[str, ...]
    goals: tuple[str, ...]
    sampler: str = "tpe"
    seed: int = 0
    points: tuple[Overrides, ...] = ()

    def __post_init__(self) -> None:
        for given, value, allowed in (
            ("search.sampler", self.sampler, SAMPLERS),
            *(("search.goal", goal, ("max", "min")) for goal in self.goals),
        ):
            if value not in allowed:
                raise SweepError(f"{given}: {value!r}", "there is none of this name", ", ".join(allowed), allowed[0])
        if isinstance(self.trials, bool) or not isinstance(self.trials, int) or self.trials < 1:
            raise SweepError(f"search.trials: {self.trials!r}", "it is no count", "1 or more", "trials: 40")
        if not self.metrics or len(self.metrics) != len(self.goals):
            given = f"search: {len(self.metrics)} metrics with {len(self.goals)} goals"
            raise SweepError(given, "each metric needs a goal", "one goal a metric", "metric: val/psnr_db, goal: max")
        if self.sampler == "cmaes" and len(self.metrics) > 1:
            self._refuse("it has one objective only", "tpe, gp, nsga2, random or qmc for several", "sampler: nsga2")
        if self.sampler == "cmaes" and all(axis.labels for axis in self.space.axes(always=True)):
            self._refuse("no number of this space is in every configuration", "any other sampler", "sampler: tpe")
        for point in self.points:
            self.space.params_of(point)

    def _refuse(self, why: str, allowed: str, fix: str) -> None:
        raise SweepError(f"search.sampler: {self.sampler}", why, allowed, fix)


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
        self._history = _History(self.name, spec, spec.trials)
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
        with _quiet():
            study = self._history.study()
            study.set_metric_names(list(self.spec.metrics))
            return study

    def ask(self) -> Ask | None:
        """The next suggestion, stored before it is returned; None when the budget is spent or the space exhausted."""
        while (number := len(self._history.asks)) < self.spec.trials and not self.exhausted:
            drawn = self._history.draw()
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
        assert state in _OPTUNA, state
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
            except StoreError:
                raise
            except _MALFORMED as error:
                raise _damaged(key, repr(error)) from error

    def _take(self, name: str, record: Json) -> None:
        """Take in an object of the store."""
        history = self._history
        if name == "search.json":
            self._check_header(record)
            history.begun_with = record["trials"]
        elif name.endswith(".ask.json"):
            if record["number"] != len(history.asks):
                raise _damaged(self._prefix + name, f"it follows ask {len(history.asks) - 1}")
            history.seen.add(history.key(record["params"]))
            history.asks.append({key: record[key] for key in _ASK})
        elif name.endswith(".tell.json"):
            if record["number"] >= len(history.asks) or record["state"] not in _OPTUNA:
                raise _damaged(self._prefix + name, "its ask or its state is unknown")
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


# --- the Optuna half, which knows no store ----------------------------------------------------------------------------


@dataclass
class _History:
    """What was asked and told, and how the next suggestion follows from it.

    begun_with: the budget when the search began. seen: the configurations asked. frozen: a cache of told trials.
    """

    name: str
    spec: SearchSpec
    begun_with: int
    asks: list[Json] = field(default_factory=list)
    tells: dict[int, Json] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    frozen: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.size = self.spec.space.size()

    def key(self, params: Params) -> str:
        """What makes two suggestions the same."""
        return canonical(self.spec.space.overrides_of(params))

    def draw(self) -> Json | None:
        """The next ask, but for its number and time; None where no new configuration is found."""
        seed = int(digest([self.spec.seed, len(self.asks)], 8), 16)
        with _quiet():
            study = self.study(self._sampler(seed))
            before = _study_attrs(study)
            for fixed, attrs in self._draws(seed):
                if fixed:
                    study.enqueue_trial(fixed)
                overrides = self.spec.space.suggest(study.ask())
                if canonical(overrides) not in self.seen:
                    changed = {key: value for key, value in _study_attrs(study).items() if before.get(key) != value}
                    return self._record(overrides, study.get_trials(deepcopy=False)[-1], changed, attrs)
        return None

    def _record(self, overrides: Overrides, trial: Any, study_attrs: Json, trial_attrs: Json) -> Json:
        from optuna.distributions import distribution_to_json

        return {
            # A point is trained exactly as it was given: 0.1, not 0.09999999999999999, or it would be another trial.
            "overrides": overrides | (self._next_point() or {}),
            "params": trial.params,
            "distributions": {name: json.loads(distribution_to_json(d)) for name, d in trial.distributions.items()},
            "study_attrs": study_attrs,
            "trial_attrs": trial.system_attrs | trial_attrs,
        }

    def study(self, sampler: Any = None) -> Any:
        """A study in memory of all that was asked and told."""
        import optuna

        study = optuna.create_study(
            storage=optuna.storages.InMemoryStorage(),
            sampler=sampler,
            pruner=optuna.pruners.NopPruner(),
            study_name=self.name,
            directions=["maximize" if goal == "max" else "minimize" for goal in self.spec.goals],
        )
        for number, ask in enumerate(self.asks):
            for key, value in ask["study_attrs"].items():
                study._storage.set_study_system_attr(study._study_id, key, value)
            study.add_trial(self._trial(number))
        return study

    def _trial(self, number: int) -> Any:
        """An ask and its tell as Optuna has them; a StoreError where Optuna cannot have written them."""
        if number in self.frozen:
            return self.frozen[number]
        try:
            trial = _frozen_trial(self.asks[number], self.tells.get(number))
        except _MALFORMED as error:
            raise _damaged(f"of search {self.name}, {number:04d}.ask.json or .tell.json", repr(error)) from error
        if number in self.tells:
            self.frozen[number] = trial
        return trial

    def _next_point(self) -> Overrides | None:
        """The first known good point that no suggestion has covered."""
        for point in self.spec.points:
            params = self.spec.space.params_of(point)
            if not any(_covers(ask["params"], params) for ask in self.asks):
                return point
        return None

    def _draws(self, seed: int) -> Iterator[tuple[Params, Json]]:
        """(parameters that are fixed before the sampler draws the rest, attributes to keep), until one is new."""
        if point := self._next_point():
            yield self.spec.space.params_of(point), {}
        elif self.spec.sampler == "qmc":
            yield from itertools.islice(self._sobol(), _TRIES)
        elif self.spec.sampler == "cmaes":
            yield from itertools.islice(self._evolve(seed), _TRIES)
        else:
            yield from itertools.repeat(({}, {}), _GP_TRIES if self.spec.sampler == "gp" else _TRIES)
        yield from ((params, {}) for params in self._unseen(seed))

    def _unseen(self, seed: int) -> Iterator[Params]:
        """At most one configuration that was not asked: uniform over those of a small space, else drawn at random."""
        space, chance = self.spec.space, random.Random(seed)
        if self.size is not None and self.size <= _ENUMERABLE:
            left = [params for params in space.points() if self.key(params) not in self.seen]
            yield from chance.sample(left, min(1, len(left)))
            return
        for _ in range(_RANDOM_TRIES):
            params = {axis.name: axis.from_unit(chance.random()) for axis in space.axes()}
            if self.key(params) not in self.seen:
                yield params
                return

    def _sobol(self) -> Iterator[tuple[Params, Json]]:
        """The scrambled Sobol' sequence, from the first position that no ask has used."""
        from scipy.stats import qmc

        axes = self.spec.space.axes()
        start = 1 + max((ask["trial_attrs"].get(_SOBOL, -1) for ask in self.asks), default=-1)
        engine = qmc.Sobol(len(axes), scramble=True, seed=int(digest([self.spec.seed, "sobol"], 8), 16))
        if start:
            engine.fast_forward(start)
        for index in itertools.count(start):
            units = engine.random(1)[0]
            yield {axis.name: axis.from_unit(float(u)) for axis, u in zip(axes, units, strict=True)}, {_SOBOL: index}

    def _evolve(self, seed: int) -> Iterator[tuple[Params, Json]]:
        """CMA-ES (Hansen, arXiv:1604.00772; package cmaes) over the unit cube of the numbers, from the first point.

        Its state is recomputed from the store: a generation is complete with its first `population_size` told asks.
        Only their order counts: complete ones by value, then pruned ones, those that lived longer first.
        """
        import cmaes
        import numpy as np

        axes = [axis for axis in self.spec.space.axes(always=True) if not axis.labels]
        start = self.spec.space.params_of(self.spec.points[0]) if self.spec.points else {}
        mean = np.array([axis.to_unit(start[axis.name]) if axis.name in start else 0.5 for axis in axes])
        bounds = np.array([[0.0, 1.0]] * len(axes))
        optimiser = cmaes.CMA(mean, sigma=1 / 6, bounds=bounds, n_max_resampling=10 * len(axes), seed=seed)
        while True:
            told = [
                number
                for number, ask in enumerate(self.asks)
                if ask["trial_attrs"].get(_GENERATION) == optimiser.generation and self._rank(number)
            ][: optimiser.population_size]
            if len(told) < optimiser.population_size:
                break
            ranked = sorted(told, key=self._rank)
            units = [np.array([axis.to_unit(self.asks[n]["params"][axis.name]) for axis in axes]) for n in ranked]
            optimiser.tell([(unit, float(rank)) for rank, unit in enumerate(units)])
        while True:
            units = optimiser.ask()
            params = {axis.name: axis.from_unit(float(u)) for axis, u in zip(axes, units, strict=True)}
            yield params, {_GENERATION: optimiser.generation}

    def _rank(self, number: int) -> tuple[float, ...]:
        """Sorts what was told, the best first; empty for what no sampler can judge."""
        tell = self.tells.get(number)
        if tell is None or tell["state"] == "failed":
            return ()
        sign = -1 if self.spec.goals[0] == "max" else 1
        if tell["state"] == "complete":
            return (0, 0, sign * tell["values"][0])
        epoch, value = tell["intermediate"][-1] if tell["intermediate"] else (0, None)
        return (1, -epoch, math.inf if value is None else sign * value)

    def _sampler(self, seed: int) -> Any:
        """A fresh Optuna sampler; it draws what `_draws` has not fixed."""
        from optuna import samplers

        several, conditional = len(self.spec.metrics) > 1, self.spec.space.conditional
        tpe = samplers.TPESampler(
            seed=seed, multivariate=conditional or not several, group=conditional, constant_liar=True
        )
        if self.spec.sampler == "gp":
            return samplers.GPSampler(seed=seed, independent_sampler=tpe, warn_independent_sampling=False)
        if self.spec.sampler == "nsga2":
            return samplers.NSGAIISampler(seed=seed, population_size=max(4, min(50, self.begun_with // 4)))
        return tpe if self.spec.sampler in ("tpe", "cmaes") else samplers.RandomSampler(seed=seed)


def _frozen_trial(ask: Json, tell: Json | None) -> Any:
    """Optuna's trial; a pruned one has its curve and no value."""
    from optuna.distributions import json_to_distribution
    from optuna.trial import TrialState, create_trial

    told = tell or {"state": "running", "values": [], "intermediate": []}
    trial = create_trial(
        state=TrialState[_OPTUNA.get(told["state"], "RUNNING")],
        values=told["values"] or None,
        params=ask["params"],
        distributions={name: json_to_distribution(json.dumps(d)) for name, d in ask["distributions"].items()},
        user_attrs={"overrides": ask["overrides"]},
        system_attrs=ask["trial_attrs"],
        intermediate_values={epoch: math.nan if v is None else v for epoch, v in told["intermediate"]},
    )
    trial.datetime_start = datetime.datetime.fromtimestamp(ask["asked_at"])
    trial.datetime_complete = datetime.datetime.fromtimestamp(tell["told_at"]) if tell else None
    return trial


def _covers(asked: Params, params: Params) -> bool:
    """Whether an ask has these parameters, to the last digits of a float."""
    return all(name in asked and (asked[name] == value or _close(asked[name], value)) for name, value in params.items())


def _close(one: Any, other: Any) -> bool:
    return isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-12)


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


def _damaged(key: str, why: str) -> StoreError:
    fix = "restore it from a copy, or give the sweep another name"
    return StoreError(f"object {key!r}", f"it is damaged ({why})", "JSON as this system wrote it", fix)


def _study_attrs(study: Any) -> Json:
    """Attributes that samplers keep with a study (nsga2: the parents of each generation)."""
    return dict(study._storage.get_study_system_attrs(study._study_id))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Optuna without its log lines and its warnings that an interface is experimental."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
