"""The suggestions of a search and their outcomes, also as an Optuna study in memory. Does not use the store."""

from __future__ import annotations

import contextlib
import copy
import datetime
import functools
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeps.errors import SweepError
from sweeps.search.parameters import Axis, Overrides, Params
from sweeps.search.space import Space
from sweeps.spec.trial import canonical

SAMPLERS = ("tpe", "gp", "cmaes", "nsga2", "random", "qmc")
STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
"""Outcome of a suggestion -> name of Optuna's trial state."""
MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError)
"""Errors raised while reading a malformed object."""

Json = dict[str, Any]

LOST_ASK: Json = {
    "asked_at": 0.0,
    "overrides": {},
    "params": {},
    "distributions": {},
    "study_attrs": {},
    "trial_attrs": {},
}
LOST_TELL: Json = {"told_at": 0.0, "state": "failed", "values": [], "intermediate": [], "constraints": {}}
"""What stands for a suggestion that cannot be read, and for its outcome, so that later ones keep their numbers."""


@dataclass(frozen=True)
class SearchSpec:
    """The definition of a search. Later, `trials` may grow and points may be added; the rest may not change."""

    space: Space
    trials: int
    """Number of suggestions, whatever their outcome."""
    metrics: tuple[str, ...]
    goals: tuple[str, ...]
    """Whether more ("max") or less ("min") is better, for each metric."""
    sampler: str = "tpe"
    seed: int = 0
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Constraints: {column: {"most": number, "least": number}}."""
    points: tuple[Overrides, ...] = ()
    """Known good points, as overrides of some or all keys of the space; they are suggested first."""

    def __post_init__(self) -> None:
        _one_of("search.sampler", self.sampler, SAMPLERS)
        for goal in self.goals:
            _one_of("search.goal", goal, ("max", "min"))
        if isinstance(self.trials, bool) or not isinstance(self.trials, int) or self.trials < 1:
            raise SweepError(f"search.trials: {self.trials!r}", "it is not a count", "1 or more", "trials: 40")
        if not self.metrics or len(self.metrics) != len(self.goals):
            given = f"search: {len(self.metrics)} metrics with {len(self.goals)} goals"
            raise SweepError(given, "each metric needs a goal", "one goal per metric", "metric: val/psnr_db, goal: max")
        if self.sampler == "cmaes" and len(self.metrics) > 1:
            self._refuse("it supports one objective only", "tpe, gp, nsga2, random or qmc", "sampler: nsga2")
        if self.sampler == "cmaes" and self.limits:
            self._refuse("it does not learn from constraints", "tpe, gp, nsga2, random or qmc", "sampler: tpe")
        if self.sampler == "cmaes" and all(axis.labels for axis in self.space.axes(always=True)):
            why = "it needs a number that every configuration has, and this space has none"
            self._refuse(why, "any other sampler", "sampler: tpe")
        for point in self.points:
            self.space.params_of(point)

    def _refuse(self, why: str, allowed: str, fix: str) -> None:
        raise SweepError(f"search.sampler: {self.sampler}", why, allowed, fix)


def _one_of(given: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        fix = f"{given.rpartition('.')[2]}: {allowed[0]}"
        raise SweepError(f"{given}: {value!r}", "there is no such name", ", ".join(allowed), fix)


@dataclass
class History:
    """The asks and tells of a search: the objects in the store without their schema and number."""

    name: str
    spec: SearchSpec
    begun_with: int
    """The budget (number of suggestions) when the search began."""
    asks: list[Json] = field(default_factory=list)
    """Suggestions, by number."""
    tells: dict[int, Json] = field(default_factory=dict)
    """Outcomes of suggestions, by number."""
    seen: set[str] = field(default_factory=set)
    """Keys (`History.key`) of the configurations suggested so far."""
    frozen: dict[int, Any] = field(default_factory=dict)
    """Cache of Optuna trials that have an outcome."""

    @functools.cached_property
    def size(self) -> int | None:
        """The number of configurations in the space; None if it is infinite."""
        return self.spec.space.size()

    def key(self, params: Params) -> str:
        """The key of a configuration; equal for two suggestions of the same configuration."""
        return canonical(self.spec.space.overrides_of(params))

    def next_point(self) -> Overrides | None:
        """The first known good point that has not been suggested."""
        for point in self.spec.points:
            params = self.spec.space.params_of(point)
            if not any(_covers(ask["params"], params) for ask in self.asks):
                return point
        return None

    def study(self) -> Any:
        """A new Optuna study in memory with all suggestions and outcomes."""
        with silence_optuna():
            study = self._empty_study(range(len(self.spec.metrics)))
            for number in range(len(self.asks)):
                self.add_to(study, number)
            return study

    def add_to(self, study: Any, number: int) -> None:
        """Add a suggestion, and its outcome if it has one, to a study that has those before it."""
        for key, value in self.asks[number]["study_attrs"].items():
            study._storage.set_study_system_attr(study._study_id, key, value)
        study.add_trial(self.trial(number))

    def own_study(self, metric: str | None = None) -> Any:
        """`study` with the keys of the configuration as parameters, such as every weight of a simplex, for figures.

        metric: the only objective of the study; None for all
        """
        chosen = [at for at, name in enumerate(self.spec.metrics) if metric in (None, name)]
        with silence_optuna():
            study = self._empty_study(chosen)
            for number, ask in enumerate(self.asks):
                trial = copy.copy(self.trial(number))
                trial.values = [trial.values[at] for at in chosen] if trial.values else None
                values = self.spec.space.own_values(ask["overrides"])
                trial.distributions = {axis.name: _distribution(axis, value) for axis, value in values.items()}
                trial.params = {axis.name: value for axis, value in values.items()}
                study.add_trial(trial)
            return study

    def _empty_study(self, objectives: Sequence[int]) -> Any:
        import optuna

        study = optuna.create_study(
            storage=optuna.storages.InMemoryStorage(),
            pruner=optuna.pruners.NopPruner(),
            study_name=self.name,
            directions=["maximize" if self.spec.goals[at] == "max" else "minimize" for at in objectives],
        )
        study.set_metric_names([self.spec.metrics[at] for at in objectives])
        return study

    def importances(self) -> dict[str, float]:
        """The importance of each key of the configuration by PED-ANOVA (Watanabe et al. 2023)."""
        import optuna

        with silence_optuna():
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            return dict(optuna.importance.get_param_importances(self.own_study(), evaluator=evaluator))

    def trial(self, number: int) -> Any:
        """A suggestion and its outcome as an Optuna trial; a failed one if Optuna cannot read them."""
        if number in self.frozen:
            return self.frozen[number]
        try:
            trial = _frozen_trial(self.asks[number], self.tells.get(number))
        except MALFORMED:
            trial = _frozen_trial(LOST_ASK, LOST_TELL)
        if number in self.tells:
            self.frozen[number] = trial
        return trial


def _distribution(axis: Axis, value: Any) -> Any:
    """The range of a configuration key as Optuna's distribution; rounding may put a value just outside it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.labels:
        return CategoricalDistribution(axis.labels)
    if axis.integer:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(min(axis.low, value), max(axis.high, value), log=axis.log)


def _covers(suggested: Params, params: Params) -> bool:
    """Whether a suggestion has these parameters, up to rounding of floats."""
    return all(
        name in suggested and (suggested[name] == value or _close(suggested[name], value))
        for name, value in params.items()
    )


def _close(one: Any, other: Any) -> bool:
    return isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-12)


def _frozen_trial(ask: Json, tell: Json | None) -> Any:
    """Optuna's trial; a pruned one has intermediate values and no final value."""
    from optuna.distributions import json_to_distribution
    from optuna.trial import TrialState, create_trial

    outcome = tell or {"state": "running", "values": [], "intermediate": []}
    trial = create_trial(
        state=TrialState[STATES.get(outcome["state"], "RUNNING")],
        values=outcome["values"] or None,
        params=ask["params"],
        distributions={name: json_to_distribution(json.dumps(d)) for name, d in ask["distributions"].items()},
        user_attrs={"overrides": ask["overrides"]},
        system_attrs=dict(ask["trial_attrs"]),  # Optuna adds the constraints to it
        constraints=outcome.get("constraints") or None,
        intermediate_values={epoch: math.nan if v is None else v for epoch, v in outcome["intermediate"]},
    )
    trial.datetime_start = datetime.datetime.fromtimestamp(ask["asked_at"])
    trial.datetime_complete = datetime.datetime.fromtimestamp(tell["told_at"]) if tell else None
    return trial


@contextlib.contextmanager
def silence_optuna() -> Iterator[None]:
    """Suppress Optuna's log lines and its warnings about experimental interfaces."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
