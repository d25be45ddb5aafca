"""What a search was asked and told, also as an Optuna study in memory; knows no store."""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sweeps.errors import StoreError, SweepError
from sweeps.search.parameters import Overrides, Params
from sweeps.search.space import Space
from sweeps.spec.trial import canonical

SAMPLERS = ("tpe", "gp", "cmaes", "nsga2", "random", "qmc")
STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}  # what is told, and Optuna's word for it
MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError)  # of an object that is not as written

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
        _one_of("search.sampler", self.sampler, SAMPLERS)
        for goal in self.goals:
            _one_of("search.goal", goal, ("max", "min"))
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


def _one_of(given: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SweepError(f"{given}: {value!r}", "there is none of this name", ", ".join(allowed), allowed[0])


@dataclass
class History:
    """What was asked and told: the objects of the store, without their schema and number.

    begun_with: the budget when the search began. seen: the configurations asked. frozen: a cache of told trials.
    """

    name: str
    spec: SearchSpec
    begun_with: int
    asks: list[Json] = field(default_factory=list)
    tells: dict[int, Json] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    frozen: dict[int, Any] = field(default_factory=dict)

    @functools.cached_property
    def size(self) -> int | None:
        """How many configurations there are; None where they are endless."""
        return self.spec.space.size()

    def key(self, params: Params) -> str:
        """What makes two suggestions the same."""
        return canonical(self.spec.space.overrides_of(params))

    def next_point(self) -> Overrides | None:
        """The first known good point that no suggestion has covered."""
        for point in self.spec.points:
            params = self.spec.space.params_of(point)
            if not any(_covers(ask["params"], params) for ask in self.asks):
                return point
        return None

    def study(self, sampler: Any = None) -> Any:
        """An Optuna study in memory of all that was asked and told."""
        import optuna

        with quiet():
            study = optuna.create_study(
                storage=optuna.storages.InMemoryStorage(),
                sampler=sampler,
                pruner=optuna.pruners.NopPruner(),
                study_name=self.name,
                directions=["maximize" if goal == "max" else "minimize" for goal in self.spec.goals],
            )
            study.set_metric_names(list(self.spec.metrics))
            for number, ask in enumerate(self.asks):
                for key, value in ask["study_attrs"].items():
                    study._storage.set_study_system_attr(study._study_id, key, value)
                study.add_trial(self._trial(number))
            return study

    def importances(self) -> dict[str, float]:
        """The share of each parameter in what makes good tries good, by PED-ANOVA (Watanabe et al. 2023)."""
        import optuna

        with quiet():
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            return dict(optuna.importance.get_param_importances(self.study(), evaluator=evaluator))

    def _trial(self, number: int) -> Any:
        """An ask and its tell as Optuna has them; a StoreError where Optuna cannot have written them."""
        if number in self.frozen:
            return self.frozen[number]
        try:
            trial = _frozen_trial(self.asks[number], self.tells.get(number))
        except MALFORMED as error:
            raise damaged(f"of search {self.name}, {number:04d}.ask.json or .tell.json", repr(error)) from error
        if number in self.tells:
            self.frozen[number] = trial
        return trial


def _covers(asked: Params, params: Params) -> bool:
    """Whether an ask has these parameters, to the last digits of a float."""
    return all(name in asked and (asked[name] == value or _close(asked[name], value)) for name, value in params.items())


def _close(one: Any, other: Any) -> bool:
    return isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-12)


def _frozen_trial(ask: Json, tell: Json | None) -> Any:
    """Optuna's trial; a pruned one has its curve and no value."""
    from optuna.distributions import json_to_distribution
    from optuna.trial import TrialState, create_trial

    told = tell or {"state": "running", "values": [], "intermediate": []}
    trial = create_trial(
        state=TrialState[STATES.get(told["state"], "RUNNING")],
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


def damaged(key: str, why: str) -> StoreError:
    fix = "restore it from a copy, or give the sweep another name"
    return StoreError(f"object {key!r}", f"it is damaged ({why})", "JSON as this system wrote it", fix)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
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
