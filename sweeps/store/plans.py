"""Sweeps in a store: their plans, and requests to stop them."""

from __future__ import annotations

import difflib
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.errors import StoreError, SweepError, UnknownNameError
from sweeps.results.columns import SCHEMA
from sweeps.spec.sections.report import CORRECTIONS
from sweeps.spec.trial import digest
from sweeps.store import listing
from sweeps.store.base import Store
from sweeps.store.layout import Json, damaged, dump, intact, join, report_damage

_TRIES = 100
"""How often a new plan is given a number before another process has taken it."""
ALL_RUNS = "all"
"""Target of a stop request: every run of the sweep."""
_SPELLING = frozenset({"command", "file"})
"""Keys of a plan that depend on how a command was typed; they alone do not make another plan."""


def write_plan(store: Store, name: str, plan: Json, text: str, planned_at: float) -> Json:
    """Store a plan with the text of its sweep file, unless the newest stored plan is the same. Returns the stored plan.

    A stored plan never changes: an edited file makes a new plan, so that the report can say what changed and when.
    """
    content = digest([{key: value for key, value in plan.items() if key not in _SPELLING}, text], 32)
    for _ in range(_TRIES):
        newest = newest_plan(store, name)
        if newest is not None and newest["hash"] == content:
            return newest
        body = {"schema": SCHEMA, "hash": content, "planned_at": planned_at, "text": text, **plan}
        number = max(listing.numbers(store, join("sweeps", name, "plans")), default=0) + 1
        if store.create(plan_key(name, number), dump(body)):
            return body
    raise StoreError(
        f"sweep {name!r}",
        f"its plan was not stored: {_TRIES} times, another process took the number of the new plan",
        "a sweep that few processes plan at once",
        "run the command again",
    )


def plan_key(name: str, number: int) -> str:
    return join("sweeps", name, "plans", f"{number:04d}.json")


def newest_plan(store: Store, name: str) -> Json | None:
    """The newest intact plan of a sweep; None for an unknown sweep. Damaged ones are reported."""
    plans = (intact_plans(store.get_many([key])).get(key) for key in reversed(_keys(store, name)))
    return next((plan for plan in plans if plan is not None), None)


def read_plans(store: Store, name: str) -> list[Json]:
    """All intact plans of a sweep, oldest first; empty for an unknown sweep. Damaged ones are reported."""
    keys = _keys(store, name)
    plans = intact_plans(store.get_many(keys))
    return [plans[key] for key in keys if key in plans]


def _keys(store: Store, name: str) -> list[str]:
    """The keys of a sweep's plans, oldest first."""
    return [plan_key(name, number) for number in listing.numbers(store, join("sweeps", name, "plans"))]


def intact_plans(bodies: Mapping[str, bytes]) -> dict[str, Json]:
    """Decode plans by key. Damaged ones, and those with names of what does not exist, are left out and reported."""
    plans = {}
    for key, plan in intact(bodies).items():
        why = _invalid_name(key, plan)
        if why:
            report_damage(damaged(key, why))
        else:
            plans[key] = plan
    return plans


def _invalid_name(key: str, plan: Json) -> str:
    """What is wrong if a plan names another sweep, or an arm or option that does not exist; else ''.

    Readers look up arms and options by these names, and make keys of the name of the sweep and of the ids of trials.
    """
    name = key.split("/")[1]
    arms = {arm["name"] for arm in plan["arms"]}
    used = {
        plan["baseline"],
        *(arm.get("baseline") for arm in plan["arms"]),
        *(plan.get("search") or {}).get("arms", ()),
    }
    unknown = sorted(str(name) for name in used - arms - {None})
    ids = {trial["id"] for arm in plan["arms"] for trial in arm["trials"].values()}
    invalid = sorted(one for one in ids if not re.fullmatch(listing.NAME, one))
    correction = plan["report"].get("correction")
    if plan["name"] != name:
        return f"it is the plan of a sweep {plan['name'][:80]!r}"
    if unknown:
        return f"it names an arm {unknown[0][:80]!r}, which it does not have"
    if invalid:
        return f"it has a trial {invalid[0][:80]!r}, which is no id"
    if correction not in (None, *CORRECTIONS):
        return f"its report has a correction {correction!r:.80}, which does not exist"
    return ""


def user_code(plan: Json) -> dict[str, str]:
    """What names of a user's code meant when a stored plan was made, by how they are written in its file."""
    known: dict[str, str] = dict(plan.get("user_code") or {})
    for arm in plan["arms"]:
        known |= arm.get("config", {}).get("user_code") or {}
    return known


def protocol(plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """The protocol that rates the fills of every arm of a stored plan: name, hash, folders, evaluation; None: none."""
    config = plan["arms"][0]["config"] if plan.get("arms") and plan.get("task") == "inpaint" else {}
    found = config.get("protocol")
    kinds = {"name": str, "hash": str, "evaluation": dict}
    whole = isinstance(found, dict) and all(isinstance(found.get(key), kind) for key, kind in kinds.items())
    return found if whole else None


def request_stop(store: Store, name: str, whom: str = ALL_RUNS) -> None:
    """Request that all runs of a sweep, one run or one trial stop after the current epoch.

    whom: `ALL_RUNS`, the token of a run, or a trial id
    """
    store.create(join("sweeps", name, "stops", f"{uuid.uuid4().hex[:12]}-{whom}.json"), b"{}")


def stop_requests(store: Store, name: str, *whom: str) -> frozenset[str]:
    """The stop requests so far for all runs or for one of `whom` (runs, trials); without `whom`, every stop request.

    Callers detect new requests by comparing sets, which needs no synchronised clocks.
    """
    ends = tuple(f"-{one}.json" for one in (ALL_RUNS, *whom)) if whom else (".json",)
    names = listing.children(store, join("sweeps", name, "stops"))
    return frozenset(key for key in names if key.endswith(ends))


def sweep_names(store: Store) -> list[str]:
    return listing.children(store, "sweeps")


def check_name(store: Store, name: str) -> str:
    """The name itself. Raises UnknownNameError if it is a path, which could point outside the store's `sweeps/`."""
    if _is_path(name):
        raise unknown_sweep_error(store, name)
    return name


def require_plan(store: Store, name: str) -> Json:
    """The newest plan of a sweep. Raises UnknownNameError if the store has none."""
    newest = newest_plan(store, check_name(store, name))
    if newest is None:
        raise unknown_sweep_error(store, name)
    return newest


def unknown_sweep_error(store: Store, name: str, names: Sequence[str] | None = None) -> SweepError:
    """The error for a sweep without a plan that can be read; for an unknown name, it suggests the most similar one.

    names: the sweeps of the store, if the caller has listed them already
    """
    keys = [] if _is_path(name) else _keys(store, name)
    if keys:
        return StoreError(
            f"sweep {name!r}",
            f"every plan of it in the store {store.uri} is damaged ({keys[-1]})",
            "a sweep with a plan that can be read",
            "sweeps run FILE, which stores the plan again; the results of its trials are used",
        )
    known = [other for other in (sweep_names(store) if names is None else names) if other != name]
    near = difflib.get_close_matches(name, known, 1)
    return UnknownNameError(
        f"sweep {name!r}",
        "it is a path, not a name" if _is_path(name) else f"the store {store.uri} has no sweep of this name",
        ", ".join(known) or "none yet: the store has no sweeps",
        f"did you mean `{near[0]}`?" if near else "`sweeps status` lists the sweeps; `sweeps run FILE` adds one",
    )


def _is_path(name: str) -> bool:
    return not name or name in (".", "..") or any(sign in name for sign in "/\\\0")
