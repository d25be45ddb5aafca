"""Finished trials that older code of the user's made: a sweep no longer shows them, or is about to train them again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeps.spec.trial import canonical
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store

if TYPE_CHECKING:
    from sweeps.spec.plan import Plan

_HASH = re.compile(r"(?<=[\w.])#[0-9a-f]{16}$")


def without_hash(text: str) -> str:
    """A name of a user's code without the hash of the code; other texts are unchanged."""
    return _HASH.sub("", text)


def older_code(store: Store, plans: Sequence[layout.Json]) -> str:
    """A sentence on finished trials of earlier plans whose code has changed since; empty if there are none.

    plans: all plans of a sweep, oldest first.
    """
    newest = stored_plans.user_code(plans[-1]) if plans else {}
    earlier = [(plan, stored_plans.user_code(plan)) for plan in plans[:-1]]
    changed = [
        (plan, [written for written in code if newest.get(written, code[written]) != code[written]])
        for plan, code in earlier
    ]
    if not any(names for _, names in changed):
        return ""
    shown = _results(plans[-1])
    old = {key for plan, names in changed if names for key in _results(plan)} - shown
    finished = len(store.exists_many(old))
    if not finished:
        return ""
    files = ", ".join(dict.fromkeys(name for _, names in changed for name in names))
    many = finished > 1
    return (
        f"{finished} finished {'trials were' if many else 'trial was'} made by older code ({files} changed since) and "
        f"{'are' if many else 'is'} not shown."
    )


def retrained_for_metrics(store: Store, before: layout.Json | None, plan: Plan) -> str:
    """A sentence on finished trials that a plan repeats because of its users' metrics alone; empty if there are none.

    The code of a metric is part of a trial's id, since a search or `at: best(...)` may depend on it.

    before: the newest stored plan of the sweep.
    """
    stored_arms = before["arms"] if before else ()
    if not any(map(_metrics, [*(one["config"] for one in stored_arms), *(arm.config for arm in plan.arms)])):
        return ""
    known: dict[tuple[str, str], tuple[str, Mapping[str, Any]]] = {}
    for stored in stored_arms:
        rest, metrics = _without_metrics(stored["config"]), _metrics(stored["config"])
        for seed, one in stored["trials"].items():
            known[rest, seed] = layout.result_key(one["id"], one["epochs"]), metrics
    again: dict[str, str] = {}
    labels: set[str] = set()
    for arm in plan.arms:
        rest, metrics = _without_metrics(arm.config), _metrics(arm.config)
        for seed, trial in arm.trials.items():
            old, then = known.get((rest, str(seed)), ("", metrics))
            if old and then != metrics:
                again[old] = layout.result_key(trial.id, trial.epochs)
                labels |= {label for label in {*then, *metrics} if then.get(label) != metrics.get(label)}
    there = store.exists_many({*again, *again.values()}) if again else ()
    count = sum(old in there and new not in there for old, new in again.items())
    if not count:
        return ""
    finished = "1 finished trial is" if count == 1 else f"{count} finished trials are"
    return (
        f"{finished} trained again, because `report.extra` has other metrics than before "
        f"({', '.join(sorted(labels))}), whose code is part of a trial."
    )


def _metrics(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The sections of users' metrics by label; of a program or a user's task, `metrics` holds directions instead."""
    return {label: one for label, one in (config.get("metrics") or {}).items() if isinstance(one, Mapping)}


def _without_metrics(config: Mapping[str, Any]) -> str:
    left_out = ("user_code", *(["metrics"] if _metrics(config) else []))
    return canonical({key: value for key, value in config.items() if key not in left_out})


def _results(plan: layout.Json) -> set[str]:
    trials = (trial for arm in plan["arms"] for trial in arm["trials"].values())
    return {layout.result_key(trial["id"], trial["epochs"]) for trial in trials}
