"""The progress and best results of a sweep's searches, derived from the store alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.results import progress
from sweeps.search.arm_search import pruned_key, suggestion_key
from sweeps.search.search import Ask, Search, stored_searches
from sweeps.store import layout
from sweeps.store.base import Store

_ENDS = {"failed": "failed", "pruned": "were stopped early"}


@dataclass(frozen=True)
class SearchState:
    """The state of the search of one arm."""

    arm: str
    budget: int
    """Number of suggestions in the plan."""
    seeds: tuple[int, ...]
    """Tuning seeds."""
    counts: Counter[str]
    """Number of suggestions by state: complete, pruned, failed, running."""
    done: bool
    """Whether there are no more suggestions and all have an outcome."""
    exhausted: bool
    """Whether it ended before its budget because a finite space had no new configuration."""
    best: tuple[Ask, ...]
    """Best complete suggestions, best first; with several metrics the Pareto front."""
    chosen: int
    """How many of `best` became arms."""
    epochs: int
    """Target epoch of the arm's configuration."""
    trained: int
    """Epochs trained for complete and pruned suggestions."""
    full: int
    """Epochs that these would have trained for without early stopping."""
    trials: tuple[tuple[str, int], ...]
    """(trial id, target epoch) of the complete suggestions."""
    failure: str = ""
    """Why the search ended without a result; empty if it has one, or has not ended."""

    @property
    def asked(self) -> int:
        return sum(self.counts.values())

    @property
    def saved(self) -> int:
        """Epochs that early stopping saved."""
        return self.full - self.trained


def search_states(store: Store, plan: Mapping[str, Any]) -> list[SearchState]:
    """The searches of a stored plan, in the order of its arms; a search that has not begun has no suggestions."""
    spec = plan.get("search")
    if not spec:
        return []
    searches = stored_searches(store, plan["name"])
    return [_state(store, plan, name, searches.get(name)) for name in spec["arms"]]


def _state(store: Store, plan: Mapping[str, Any], arm: str, search: Search | None) -> SearchState:
    sweep, spec = plan["name"], plan["search"]
    epochs = next((int(a["config"].get("epochs") or 0) for a in plan["arms"] if a["name"] == arm), 0)
    asks = search.asks() if search else []
    counts = Counter(ask.state for ask in asks)
    exhausted = search is not None and search.exhausted
    done = not counts["running"] and (len(asks) >= spec["trials"] or exhausted or _has_tuned_arms(plan, arm))
    best: list[Ask] = []
    if search and counts["complete"]:
        best = search.best(max(1, spec["report_best"])) if len(search.spec.metrics) == 1 else search.front()
    trials = _trials(store, sweep, arm, asks)
    seeds = tuple(spec["tune_seeds"])
    target = {ask.number: int(ask.overrides.get("epochs", epochs)) for ask in asks}
    ended = [ask for ask in asks if ask.state in ("complete", "pruned")]
    full = sum(target[ask.number] * len(seeds) for ask in ended)
    trained = sum(target[ask.number] * len(seeds) for ask in ended if ask.state == "complete")
    stopped = {trial: target[ask.number] for ask in ended if ask.state == "pruned" for trial in trials[ask.number]}
    trained += _trained(store, sweep, stopped)
    return SearchState(
        arm=arm,
        budget=spec["trials"],
        seeds=seeds,
        counts=counts,
        done=done,
        exhausted=done and len(asks) < spec["trials"],
        best=tuple(best),
        chosen=min(len(best), spec["report_best"]) if done else 0,
        epochs=epochs,
        trained=trained,
        full=full,
        failure=failure_of(store, sweep, arm, asks) if done else "",
        trials=tuple(
            (trial, target[ask.number]) for ask in asks if ask.state == "complete" for trial in trials[ask.number]
        ),
    )


def failure_of(store: Store, sweep: str, arm: str, asks: Sequence[Ask]) -> str:
    """Why a search that has ended has no result: none of its suggestions is complete and within the limits; else ''."""
    counts = Counter(ask.state for ask in asks)
    if any(ask.fits for ask in asks):
        return ""
    if counts["complete"]:
        broken = Counter(name for ask in asks for name, value in ask.constraints.items() if value > 0)
        none = f"none of {counts['complete']} complete suggestions keeps its limits"
        return f"the search of {arm!r} has no result: {none}, most often not {broken.most_common(1)[0][0]!r}"
    told = " and ".join(f"{counts[state]} {words}" for state, words in _ENDS.items() if counts[state])
    words = f"the search of {arm!r} has no result: of {len(asks)} suggestions, {told or 'none was made'}"
    failed = [ask for ask in asks if ask.state == "failed"]
    trials = [trial for ids in _trials(store, sweep, arm, failed).values() for trial in ids]
    states = progress.states_of(store, dict.fromkeys(trials, (0,))).values()
    errors = Counter(f"{one.error['type']}: {one.error['message']}".partition("\n")[0] for one in states if one.error)
    return words + (f", most often with {errors.most_common(1)[0][0]}" if errors else "")


def _has_tuned_arms(plan: Mapping[str, Any], arm: str) -> bool:
    """Whether the plan has arms from this search; then it is done, whatever objects of it are left in the store."""
    name = arm if plan["search"]["within_arms"] else "tuned #1"
    return any(a["trials"] for a in plan["arms"] if a["name"] == name)


def _trials(store: Store, sweep: str, arm: str, asks: list[Ask]) -> dict[int, list[str]]:
    """The trial ids of each suggestion."""
    keys = {suggestion_key(sweep, arm, ask.number): ask.number for ask in asks}
    trials = layout.intact(store.get_many(keys))
    return {number: list(trials.get(key, {}).values()) for key, number in keys.items()}


def _trained(store: Store, sweep: str, stopped: Mapping[str, int]) -> int:
    """Epochs trained by the trials of pruned suggestions: until they were stopped, in full, or none."""
    keys = {trial: pruned_key(sweep, trial) for trial in stopped}
    marks = layout.intact(store.get_many(keys.values()))
    curves = {trial: marks[key]["curve"] for trial, key in keys.items() if key in marks}
    partial = sum(max((int(epoch) for epoch, _ in curve), default=0) for curve in curves.values())
    results = {layout.result_key(trial, epochs): epochs for trial, epochs in stopped.items() if trial not in curves}
    return partial + sum(results[key] for key in store.exists_many(results))
