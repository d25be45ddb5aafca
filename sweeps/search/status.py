"""How far a sweep's searches are, and what they found: derived from what the store holds and from nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeps.search.arm_search import pruned_key, tries_key
from sweeps.search.search import Ask, Search, stored_searches
from sweeps.store import layout
from sweeps.store.base import Store


@dataclass(frozen=True)
class SearchState:
    """One arm's search.

    budget: tries that the plan asks for. counts: tries that are complete, pruned, failed or running. done: nothing is
    left to ask or tell. exhausted: it ended before its budget, as a finite space had nothing further. best: of the
    complete tries with their values, best first; with several metrics the Pareto front. chosen: how many of them became
    arms. epochs: target of a full trial. trained, full: epochs that the told tries trained for, and would have without
    early stopping; failed ones aside. trials: of each complete try, with their target epochs.
    """

    arm: str
    budget: int
    seeds: tuple[int, ...]
    counts: Counter[str]
    done: bool
    exhausted: bool
    best: tuple[Ask, ...]
    chosen: int
    epochs: int
    trained: int
    full: int
    trials: tuple[tuple[str, int], ...]

    @property
    def asked(self) -> int:
        return sum(self.counts.values())

    @property
    def saved(self) -> int:
        """Epochs that early stopping saved."""
        return self.full - self.trained


def search_states(store: Store, plan: Mapping[str, Any]) -> list[SearchState]:
    """The searches of a stored plan, in the order of its arms; one that was not begun has asked nothing."""
    spec = plan.get("search")
    if not spec:
        return []
    found = stored_searches(store, plan["name"])
    return [_state(store, plan, name, found.get(name)) for name in spec["arms"]]


def _state(store: Store, plan: Mapping[str, Any], arm: str, search: Search | None) -> SearchState:
    sweep, spec = plan["name"], plan["search"]
    epochs = next((int(a["config"].get("epochs") or 0) for a in plan["arms"] if a["name"] == arm), 0)
    asks = search.asks() if search else []
    counts = Counter(ask.state for ask in asks)
    exhausted = search is not None and search.exhausted
    done = not counts["running"] and (len(asks) >= spec["trials"] or exhausted or _has_found(plan, arm))
    best: list[Ask] = []
    if search and counts["complete"]:
        best = search.best(max(1, spec["report_best"])) if len(search.spec.metrics) == 1 else search.front()
    trials = _trials(store, sweep, arm, asks)
    seeds = tuple(spec["tune_seeds"])
    target = {ask.number: int(ask.overrides.get("epochs", epochs)) for ask in asks}
    told = [ask for ask in asks if ask.state in ("complete", "pruned")]
    full = sum(target[ask.number] * len(seeds) for ask in told)
    trained = sum(target[ask.number] * len(seeds) for ask in told if ask.state == "complete")
    stopped = {trial: target[ask.number] for ask in told if ask.state == "pruned" for trial in trials[ask.number]}
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
        trials=tuple(
            (trial, target[ask.number]) for ask in asks if ask.state == "complete" for trial in trials[ask.number]
        ),
    )


def _has_found(plan: Mapping[str, Any], arm: str) -> bool:
    """Whether the plan has arms that this search has found: it was over then, whatever else is known."""
    name = arm if plan["search"]["within_arms"] else "tuned #1"
    return any(a["trials"] for a in plan["arms"] if a["name"] == name)


def _trials(store: Store, sweep: str, arm: str, asks: list[Ask]) -> dict[int, list[str]]:
    """The trial ids of each try."""
    keys = {tries_key(sweep, arm, ask.number): ask.number for ask in asks}
    found = store.get_many(keys)
    return {number: list(layout.load(key, found[key]).values()) if key in found else [] for key, number in keys.items()}


def _trained(store: Store, sweep: str, stopped: Mapping[str, int]) -> int:
    """Epochs that the trials of pruned tries have trained: up to their end, in full, or not at all."""
    marks = store.get_many(pruned_key(sweep, trial) for trial in stopped)
    keys = {trial: pruned_key(sweep, trial) for trial in stopped}
    curves = {trial: layout.load(key, marks[key])["curve"] for trial, key in keys.items() if key in marks}
    ended = sum(max((int(epoch) for epoch, _ in curve), default=0) for curve in curves.values())
    results = {layout.result_key(trial, epochs): epochs for trial, epochs in stopped.items() if trial not in curves}
    return ended + sum(results[key] for key in store.exists_many(results))
