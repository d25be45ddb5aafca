"""Resolves a reference to trials of another sweep from the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeps.results import progress
from sweeps.results.columns import describe
from sweeps.spec.loader import Sweep, unknown_name_error
from sweeps.spec.references import Best, Reference
from sweeps.store import layout
from sweeps.store.base import Store


def resolve(sweep: Sweep, reference: Reference, stored: Mapping[str, Any], store: Store) -> Any:
    """The id of the best trial, or trial ids by seed. stored: the newest plan of the other sweep."""
    return (_best if isinstance(reference.asks, Best) else _by_seed)(sweep, reference, stored, store)


def _arms(sweep: Sweep, reference: Reference, stored: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The arm that a reference names, else all arms that train."""
    arms: dict[str, dict[str, Any]] = {arm["name"]: arm for arm in stored["arms"]}
    if reference.asks.arm is None:
        return [arm for arm in arms.values() if arm["trains"]]
    if reference.asks.arm not in arms:
        given = f"{sweep.document.origin(reference.place)}: arm {reference.asks.arm!r} of sweep {stored['name']!r}"
        raise unknown_name_error(given, reference.asks.arm, arms)
    return [arms[reference.asks.arm]]


def unfinished_reason(sweep: Sweep, reference: Reference, stored: Mapping[str, Any], store: Store) -> str | None:
    """Why a reference cannot be resolved yet, None if it can. Failed trials count as ended."""
    if searches := _searching(stored):
        return f"its search of {searches[0]!r} is not done"
    arms = _arms(sweep, reference, stored)
    targets = progress.by_trial((trial["id"], trial["epochs"]) for arm in arms for trial in arm["trials"].values())
    states = progress.states_of(store, targets)
    open_ = [id for id, epochs in targets.items() if states[id].at(epochs[-1]) not in ("done", "failed")]
    return f"{len(open_)} of its {len(targets)} trials have not ended" if open_ else None


def _searching(stored: Mapping[str, Any]) -> list[str]:
    """Arms of a stored plan with a search whose best configurations have not become arms yet."""
    search, names = stored.get("search"), {arm["name"] for arm in stored["arms"] if arm["trials"]}
    if not search or not search["report_best"]:
        return []
    found_as = {arm: arm if search["within_arms"] else "tuned #1" for arm in search["arms"]}
    return [arm for arm, name in found_as.items() if name not in names]


def _best(sweep: Sweep, reference: Reference, stored: Mapping[str, Any], store: Store) -> str:
    """The finished trial with the best value of the metric at its last epoch; ties go to the first in the plan."""
    asks = reference.asks
    assert isinstance(asks, Best)
    trials = [trial for arm in _arms(sweep, reference, stored) for trial in arm["trials"].values()]
    keys = {layout.result_key(trial["id"], trial["epochs"]): trial["id"] for trial in trials}
    bodies = layout.intact(store.get_many(keys))
    values: dict[str, float] = {}
    for key, trial_id in keys.items():
        column = bodies[key]["history"].get(asks.metric) if key in bodies else None
        if column and column[-1] is not None:
            values[trial_id] = column[-1]
    if not values:
        raise sweep.error(
            reference.place,
            f"no finished trial of sweep {stored['name']!r} has {asks.metric}",
            "a sweep whose trained arms have finished trials that report it",
            f"sweeps status {stored['name']}; or use another `metric` or `arm`",
        )
    sign = 1 if (asks.goal or describe(asks.metric)[1]) == "max" else -1
    return max(values, key=lambda trial_id: sign * values[trial_id])


def _by_seed(sweep: Sweep, reference: Reference, stored: Mapping[str, Any], store: Store) -> dict[str, str]:
    """The arm's finished trials by seed. SweepError unless there is one for each seed of the referring sweep."""
    trials = _arms(sweep, reference, stored)[0]["trials"]
    keys = {layout.result_key(trial["id"], trial["epochs"]): seed for seed, trial in trials.items()}
    finished = {keys[key] for key in store.exists_many(keys)}
    missing = [seed for seed in map(str, sweep.spec.seed_list) if seed not in finished]
    if missing:
        raise sweep.error(
            reference.place,
            f"arm {reference.asks.arm!r} of sweep {stored['name']!r} has no finished trial with seed {missing[0]}",
            f"seeds with a finished trial: {', '.join(sorted(finished, key=int)) or 'none'}",
            f"run {stored['name']!r} with more seeds, or --set 'seeds=[{', '.join(sorted(finished, key=int))}]' here",
        )
    return {seed: trial["id"] for seed, trial in trials.items() if seed in finished}
