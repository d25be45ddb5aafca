"""Does a plan say something else than the one before it? Against results that stand under the wrong name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sweeps.errors import SweepError
from sweeps.spec.plan import Arm, Plan, flatten
from sweeps.store import layout
from sweeps.store.base import Store

_ABSENT = "absent"
_SHOWN = 6
"""Changed keys that an error lists."""


def refuse_changed_arms(before: Mapping[str, Any] | None, plan: Plan, store: Store) -> None:
    """A SweepError where an arm has results in the store under its name, but of another configuration.

    before: the sweep's newest stored plan, None where it has none. A sweep may grow (seeds, arms, epochs, tries); an
    arm that changed under the same name is a mistake more often than not, and the report would show it in silence.
    Arms whose values come from a search are left out: those may change whenever it goes on.
    """
    if before is None:
        return
    stored = {arm["name"]: arm for arm in before["arms"] if arm["name"] not in _tuned(before)}
    changed = [(arm, keys) for arm in plan.arms if arm.name in stored and (keys := _changes(stored[arm.name], arm))]
    wanted = {
        layout.result_key(trial["id"], trial["epochs"]): arm.name
        for arm, _ in changed
        for trial in stored[arm.name]["trials"].values()
    }
    with_results = {wanted[key] for key in store.exists_many(wanted)}
    told = [(arm, keys) for arm, keys in changed if arm.name in with_results]
    if told:
        raise _refusal(plan.name, *told[0], [arm.name for arm, _ in told[1:]])


def _tuned(stored: Mapping[str, Any]) -> set[str]:
    """Names of the arms of a stored plan whose values a search has found."""
    search = stored.get("search")
    if not search:
        return set()
    ranks = range(1, search["report_best"] + 1)
    if not search["within_arms"]:
        return {f"tuned #{rank}" for rank in ranks}
    return {name for arm in search["arms"] for name in (arm, *(f"{arm} #{rank}" for rank in ranks))}


def _changes(stored: Mapping[str, Any], arm: Arm) -> dict[str, tuple[Any, Any]]:
    """{key: (then, now)}. Nothing where a trial is the same: then all that differs has no influence."""
    if any(trial.id == stored["trials"].get(str(seed), {}).get("id") for seed, trial in arm.trials.items()):
        return {}
    then, now = flatten(stored["config"]), flatten(arm.config)
    keys = [key for key in dict.fromkeys([*then, *now]) if key != "epochs"]
    differing = {key: (then.get(key, _ABSENT), now.get(key, _ABSENT)) for key in keys}
    return {
        key: pair for key, pair in differing.items() if pair[0] != pair[1] and {*map(str, pair)} != {_ABSENT, "None"}
    }


def _refusal(sweep: str, arm: Arm, keys: Mapping[str, tuple[Any, Any]], others: list[str]) -> SweepError:
    shown = [f"{key} was {_word(then)} and is {_word(now)}" for key, (then, now) in list(keys.items())[:_SHOWN]]
    shown += [f"and {len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else []
    also = f" So have {len(others)} other arms." if len(others) > 1 else f" So has {others[0]!r}." if others else ""
    return SweepError(
        f"arm {arm.name!r} of sweep {sweep!r}",
        f"the store has results under this name for another configuration: {'; '.join(shown)}.{also}",
        "the same configuration under the same name; more seeds, arms, epochs or tries are welcome",
        f"rename the arm, or the sweep (name: {sweep}-2), or use another --store; "
        "--replace lets the new configuration take the name (the old results stay in the store)",
    )


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
