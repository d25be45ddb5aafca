"""The search of an arm: turns Optuna's suggestions into trials, reports their results, and makes arms of the best ones.

One `ArmSearch` is the search of one arm. A suggestion is trained once for each of `tune_seeds` and reported as complete
with the mean of the metric over them; if one of its trials is pruned or fails, so is the suggestion. All state is in
the store (`sweeps.search.search`), so a new `ArmSearch` continues where the last one stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Any

from sweeps.errors import SweepError
from sweeps.results.columns import SYSTEM
from sweeps.search.search import Ask, Search, SearchSpec, search_prefix
from sweeps.search.space import parse
from sweeps.spec.expand import trials_of
from sweeps.spec.loader import Sweep
from sweeps.spec.plan import DEFAULT, Arm, Plan, Schema, deep_copy, flatten
from sweeps.spec.sections.search import SearchFileSpec
from sweeps.spec.trial import Trial
from sweeps.store import checkpoints, layout
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"


@dataclass(frozen=True)
class Suggestion:
    """A suggestion as trials, one for each tuning seed."""

    number: int
    trials: tuple[Trial, ...]


def search_spec(sweep: Sweep) -> SearchSpec:
    """The search of a sweep file. SweepError if its space, sampler or points are invalid."""
    search = sweep.spec.search
    assert search is not None
    try:
        return SearchSpec(
            space=parse(search.space),
            trials=search.trials,
            metrics=search.metrics,
            goals=search.goals,
            sampler=search.sampler,
            limits=search.limits,
            points=tuple(search.points),
        )
    except SweepError as error:
        place = sweep.document.origin(("search",))
        raise SweepError(f"{place}: {error.given}", error.why, error.allowed, error.fix) from None


def check_space(sweep: Sweep, arm: Arm, schema: Schema) -> None:
    """Resolve configurations across the space, so that an impossible value is an error before anything runs."""
    space = search_spec(sweep).space
    for unit in (0.0, 0.3, 0.5, 0.7, 1.0):
        overrides = space.overrides_of({axis.name: axis.from_unit(unit) for axis in space.axes()})
        try:
            resolve_with(arm, overrides, schema)
        except ValueError as error:
            if not hasattr(error, "given"):
                raise
            place = sweep.document.origin(("search", "space"))
            raise SweepError(
                f"{place}: {error.given}, in the search space of {arm.name!r}",
                error.why,  # type: ignore[attr-defined]
                error.allowed,  # type: ignore[attr-defined]
                "narrow search.space",
            ) from None


class ArmSearch:
    """The search of one arm; see the module's docstring."""

    def __init__(self, store: Store, plan: Plan, arm: Arm, schema: Schema, clock: Callable[[], float]) -> None:
        """clock: returns seconds since 1970; times are stored for display only."""
        search = plan.sweep.spec.search
        assert search is not None
        self.spec: SearchFileSpec = search
        self.arm = arm
        self.sweep = plan.name
        self.search = Search(store, plan.name, arm.name, search_spec(plan.sweep), clock)
        self._store, self._schema = store, schema
        self._open: dict[int, Suggestion] = {}

    def unfinished(self) -> list[Suggestion]:
        """Suggestions without a stored outcome that this object has not begun: to continue after a restart."""
        begun = [self._begin(ask) for ask in self.search.open() if ask.number not in self._open]
        return [suggestion for suggestion in begun if not self._tell_if_marked(suggestion)]

    def catch_up(self) -> list[Suggestion]:
        """Read the suggestions and outcomes that other drivers have stored. Returns new ones without an outcome."""
        self.search.refresh()
        running = {ask.number for ask in self.search.open()}
        self._open = {number: suggestion for number, suggestion in self._open.items() if number in running}
        return self.unfinished()

    def _tell_if_marked(self, suggestion: Suggestion) -> bool:
        """Tell a suggestion as pruned if a driver marked one of its trials but was killed before telling it."""
        for trial in suggestion.trials:
            mark = layout.get_intact(self._store, pruned_key(self.sweep, trial.id))
            if mark is not None and mark.get("suggestion") == suggestion.number:
                self._tell(suggestion, PRUNED, intermediate={int(epoch): value for epoch, value in mark["curve"]})
                return True
        return False

    def ask(self) -> Suggestion | None:
        """The next suggestion, stored before it is returned; None if there are no more."""
        ask = self.search.ask()
        return None if ask is None else self._begin(ask)

    def _begin(self, ask: Ask) -> Suggestion:
        resolved = resolve_with(self.arm, ask.overrides, self._schema)
        task = self.arm.task
        trials = tuple(
            Trial(task, resolved, seed, self._schema.identity(task, resolved, seed)) for seed in self.spec.tune_seeds
        )
        suggestion = Suggestion(ask.number, trials)
        stored_trials.write_trials(self._store, trials)
        stored_trials.restore_trials(self._store, trials)
        ids = {str(trial.seed): trial.id for trial in trials}
        layout.create(self._store, suggestion_key(self.sweep, self.arm.name, ask.number), ids)
        self._open[ask.number] = suggestion
        return suggestion

    def is_open(self, number: int) -> bool:
        """Whether this object knows the suggestion and no outcome of it."""
        return number in self._open

    def done(self, number: int) -> bool:
        """A trial of the suggestion has a result: tell the suggestion if all have one. Returns whether it was told."""
        suggestion = self._open.get(number)
        if suggestion is None:
            return False
        keys = [layout.result_key(trial.id, trial.epochs) for trial in suggestion.trials]
        results = [layout.get_intact(self._store, key) for key in keys]
        if not all(results):
            return False
        values = [[final_value(result, metric) for result in results if result] for metric in self.spec.metrics]
        if any(value is None for column in values for value in column):
            self._tell(suggestion, FAILED)
        else:
            means = [fmean(v for v in column if v is not None) for column in values]
            beyond = self._beyond_limits([result for result in results if result])
            if beyond is None:
                self._tell(suggestion, FAILED)
            else:
                self._tell(suggestion, COMPLETE, means, constraints=beyond)
        return True

    def _beyond_limits(self, results: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
        """By how much the mean over seeds is beyond each limit; None if a result lacks a column."""
        beyond: dict[str, float] = {}
        for column, limits in self.spec.limits.items():
            values = [final_value(result, column) for result in results]
            known = [value for value in values if value is not None]
            if len(known) < len(values):
                return None
            for side, limit in limits.items():
                distance = fmean(known) - limit
                beyond[f"{column} {side}"] = distance if side == "most" else -distance
        return beyond

    def pruned(self, number: int, trial_id: str, curve: Mapping[int, float]) -> None:
        """A trial was stopped early: mark it in the store and tell its suggestion as pruned.

        curve: the metric by epoch
        """
        body = {
            "trial": trial_id,
            "arm": self.arm.name,
            "suggestion": number,
            "metric": self.spec.metrics[0],
            "curve": sorted(curve.items()),
        }
        layout.create(self._store, pruned_key(self.sweep, trial_id), body)
        if number in self._open:
            self._tell(self._open[number], PRUNED, intermediate=curve)

    @property
    def settled(self) -> set[int]:
        """Suggestions with an outcome."""
        return {ask.number for ask in self.search.asks() if ask.state != "running"}

    def failed(self, number: int) -> None:
        if number in self._open:
            self._tell(self._open[number], FAILED)

    def _tell(
        self,
        suggestion: Suggestion,
        state: str,
        values: list[float] | None = None,
        intermediate: Mapping[int, float] | None = None,
        constraints: Mapping[str, float] | None = None,
    ) -> None:
        self.search.tell(suggestion.number, state, values or [], intermediate, constraints)
        del self._open[suggestion.number]

    def best(self) -> list[dict[str, Any]]:
        """Overrides of the configurations that become arms, best first; empty until the search is done."""
        if not self.search.done or not self.spec.report_best:
            return []
        return [ask.overrides for ask in self.search.best(self.spec.report_best)]

    def curves(self, known: Collection[int] = ()) -> dict[str, dict[int, float]]:
        """The metric by epoch of every trial of this search so far, to restore the early stopping rule of a driver.

        Trials of suggestions with an outcome come first. known: suggestions to leave out.
        """
        curves: dict[str, dict[int, float]] = {}
        metric = self.spec.metrics[0]
        for ask in sorted(self.search.asks(), key=lambda ask: ask.state == "running"):
            if ask.number in known or not ask.overrides:  # a suggestion that cannot be read has no overrides
                continue
            resolved = resolve_with(self.arm, ask.overrides, self._schema)
            for seed in self.spec.tune_seeds:
                trial = Trial(self.arm.task, resolved, seed, self._schema.identity(self.arm.task, resolved, seed))
                curves[trial.id] = _curve(self._store, self.sweep, trial, metric)
        return {trial_id: curve for trial_id, curve in curves.items() if curve}


def suggestion_key(sweep: str, arm: str, number: int) -> str:
    """Key of the object that maps tuning seeds to the trial ids of a suggestion. Read by displays and reports only."""
    return f"{search_prefix(sweep, arm)}{number:04d}.trials.json"


def pruned_key(sweep: str, trial_id: str) -> str:
    return layout.join("sweeps", sweep, "pruned", f"{trial_id}.json")


def final_value(result: Mapping[str, Any], metric: str) -> float | None:
    """A metric of a result at its target epoch.

    `parameters` is the number of trained parameters; columns under `sys/` give their median over the epochs.
    """
    if metric == "parameters":
        value = result.get("facts", {}).get("parameters")
    elif metric.startswith(f"{SYSTEM}/"):
        values = [one for one in result["history"].get(metric, []) if one is not None]
        value = median(values) if values else None
    else:
        value = result["history"].get(metric, [None])[-1]
    return None if value is None else float(value)


def _curve(store: Store, sweep: str, trial: Trial, metric: str) -> dict[int, float]:
    """The metric by epoch from a trial's result, else from its pruned mark, else from its newest checkpoint."""
    result = layout.get_intact(store, layout.result_key(trial.id, trial.epochs))
    if result is not None:
        history = result["history"]
        pairs = zip(history["epoch"], history.get(metric, []), strict=False)
        return {int(epoch): value for epoch, value in pairs if value is not None}
    pruned = layout.get_intact(store, pruned_key(sweep, trial.id))
    if pruned is not None:
        return {int(epoch): value for epoch, value in pruned["curve"]}
    rows = checkpoints.checkpoint_history(store, trial.id, trial.epochs)
    return {int(row["epoch"]): row[metric] for row in rows if metric in row}


# --- arms -------------------------------------------------------------------------------------------------------------


def resolve_with(arm: Arm, overrides: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Set a suggestion's values in an arm's configuration and resolve it. Raises the errors of the schema."""
    config = deep_copy(arm.given)
    for key, value in overrides.items():
        inner = config
        *path, last = key.split(".")
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = deep_copy(value)
    return schema.resolve(arm.task, config, arm.folder)


def with_tuned_arms(plan: Plan, best: Mapping[str, Sequence[Mapping[str, Any]]], schema: Schema) -> Plan:
    """The plan with the best configurations of its searches as arms.

    With `within_arms`, the best configuration of an arm replaces the arm, and the next ones follow it as `NAME #2`,
    `NAME #3`, ... Otherwise the best configurations of the base become the arms `tuned #1`, `tuned #2`, ...

    best: {arm: overrides, best first}
    """
    arms: list[Arm] = []
    for arm in plan.arms:
        ranked = best.get(arm.name, ())
        if not plan.sweep.spec.search or not plan.sweep.spec.search.within_arms:
            arms.append(arm)
            arms += [_tuned(plan, arm, f"tuned #{rank}", values, schema) for rank, values in enumerate(ranked, 1)]
        elif ranked:
            names = [arm.name, *(f"{arm.name} #{rank}" for rank in range(2, len(ranked) + 1))]
            arms += [_tuned(plan, arm, name, values, schema) for name, values in zip(names, ranked, strict=True)]
        else:
            arms.append(arm)
    return replace(plan, arms=tuple(arms))


def _tuned(plan: Plan, arm: Arm, name: str, overrides: Mapping[str, Any], schema: Schema) -> Arm:
    resolved = resolve_with(arm, overrides, schema)

    def trace() -> dict[str, str]:
        origins = {key: arm.origins.get(key, DEFAULT) for key in flatten(resolved)}
        return origins | {key: "search" for key in origins if any(f"{key}.".startswith(f"{k}.") for k in overrides)}

    return replace(
        arm,
        name=name,
        changes={**arm.changes, **overrides},
        config=resolved,
        trace=trace,
        published=arm.published if name == arm.name else None,
        trials=trials_of(arm.task, resolved, plan.sweep.spec.seed_list, schema),
    )
