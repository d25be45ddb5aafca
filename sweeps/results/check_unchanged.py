"""Refuses a plan in which an arm was changed although results are stored under its name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.errors import SweepError
from sweeps.results.older_code import without_hash
from sweeps.spec.plan import Arm, Plan, flatten
from sweeps.store import layout
from sweeps.store.base import Store

_ABSENT = "absent"
_SHOWN = 6
"""Number of changed keys that an error lists."""


def refuse_changed_arms(before: Mapping[str, Any] | None, plan: Plan, store: Store) -> None:
    """Raise a SweepError if the store has results under an arm's name for another configuration.

    A sweep may grow (seeds, arms, epochs, suggestions), but a changed arm under the same name is usually a mistake, and
    the report would not reveal it. Arms whose values come from a search are not checked: they may change whenever the
    search continues.

    before: the newest stored plan of the sweep, or None
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
    refused = [(arm, keys) for arm, keys in changed if arm.name in with_results]
    if refused:
        raise _refusal(plan.name, *refused[0], [arm.name for arm, _ in refused[1:]])


def refuse_other_values(before: Mapping[str, Any] | None, plan: Plan) -> None:
    """Raise a SweepError if a plan with other `--set` values would take arms, seeds or epochs from the stored plan.

    A sweep may grow with `--set seeds=8`. A smaller or different plan under the same name would replace the stored one,
    whose finished trials then stand in no report.

    before: the newest stored plan of the sweep, or None
    """
    if before is None or list(before.get("changes") or []) == list(plan.sweep.changes):
        return
    now = {arm.name: arm for arm in plan.arms}
    lost = (_loss(arm, now.get(arm["name"])) for arm in before["arms"] if arm["name"] not in _tuned(before))
    why = next(filter(None, lost), "")
    if why:
        raise SweepError(
            f"sweep {plan.name!r} {_set(plan.sweep.changes)}",
            f"the store has a plan of this name {_set(before.get('changes') or [])}, and it would be replaced: {why}",
            "the values of the stored plan; more seeds, arms or epochs; some of its arms (--arms)",
            "give these values another `name:` in a copy of the file, or another --store; --replace replaces the plan "
            f"(its results stay in the store); `sweeps resume {plan.name}` continues it as it is",
        )


def _set(changes: Sequence[str]) -> str:
    return f"with {' '.join(f'--set {change}' for change in changes)}" if changes else "without --set"


def _loss(stored: Mapping[str, Any], arm: Arm | None) -> str:
    """What a new plan would take from a stored arm; empty if nothing."""
    name = stored["name"]
    if arm is None:
        return f"it has an arm {name!r}, the new plan has none"
    if keys := _changes(stored, arm):
        key, (then, now) = next(iter(keys.items()))
        return f"{key} of arm {name!r} is {_word(then)} there, and {_word(now)} in the new plan"
    if not arm.trials:
        return ""
    missing = [seed for seed in stored["trials"] if int(seed) not in arm.trials]
    if missing:
        return f"arm {name!r} has the seed {missing[0]}, and not in the new plan"
    then, now = (
        max(epochs, default=0)
        for epochs in (
            [trial["epochs"] for trial in stored["trials"].values()],
            [trial.epochs for trial in arm.trials.values()],
        )
    )
    return f"arm {name!r} is trained for {then} epochs, and for {now} in the new plan" if now < then else ""


def _tuned(stored: Mapping[str, Any]) -> set[str]:
    """Names of the arms of a stored plan whose values come from a search."""
    search = stored.get("search")
    if not search:
        return set()
    ranks = range(1, search["report_best"] + 1)
    if not search["within_arms"]:
        return {f"tuned #{rank}" for rank in ranks}
    return {name for arm in search["arms"] for name in (arm, *(f"{arm} #{rank}" for rank in ranks))}


def _changes(stored: Mapping[str, Any], arm: Arm) -> dict[str, tuple[Any, Any]]:
    """{key: (before, now)}. Empty if the arms share a trial id, because then no difference affects the outcome."""
    if any(trial.id == stored["trials"].get(str(seed), {}).get("id") for seed, trial in arm.trials.items()):
        return {}
    then, now = (_without_code(flatten(config)) for config in (stored["config"], arm.config))
    keys = [key for key in dict.fromkeys([*then, *now]) if key != "epochs"]
    differing = {key: (then.get(key, _ABSENT), now.get(key, _ABSENT)) for key in keys}
    return {
        key: pair for key, pair in differing.items() if pair[0] != pair[1] and {*map(str, pair)} != {_ABSENT, "None"}
    }


def _without_code(config: Mapping[str, Any]) -> dict[str, Any]:
    """Flat values without the hashes of a user's code: changed code makes new trials under the same name."""
    return {
        without_hash(key): without_hash(value) if isinstance(value, str) else value
        for key, value in config.items()
        if not key.startswith("user_code")
    }


def _refusal(sweep: str, arm: Arm, keys: Mapping[str, tuple[Any, Any]], others: list[str]) -> SweepError:
    shown = [f"{key} was {_word(then)} and is {_word(now)}" for key, (then, now) in list(keys.items())[:_SHOWN]]
    shown += [f"and {len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else []
    also = (
        f" {len(others)} other arms have changed too."
        if len(others) > 1
        else f" {others[0]!r} has changed too."
        if others
        else ""
    )
    return SweepError(
        f"arm {arm.name!r} of sweep {sweep!r}",
        f"the store has results under this name for another configuration: {'; '.join(shown)}.{also}",
        "the same configuration under the same name; adding seeds, arms, epochs or suggestions is allowed",
        f"rename the arm, or the sweep (name: {sweep}-2), or use another --store; "
        "--replace assigns the name to the new configuration (the old results stay in the store)",
    )


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
