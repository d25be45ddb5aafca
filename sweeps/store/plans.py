"""Sweeps in a store: their plans, and requests to stop them."""

from __future__ import annotations

import difflib
import re
import uuid
from collections.abc import Sequence

from sweeps.errors import StoreError, UnknownNameError
from sweeps.results.columns import SCHEMA
from sweeps.spec.schema import CORRECTIONS
from sweeps.spec.trial import digest
from sweeps.store import listing
from sweeps.store.base import Store
from sweeps.store.layout import Json, dump, get_json, join, load

ALL_RUNS = "all"
"""Target of a stop request: every run of the sweep."""
_SPELLING = frozenset({"command", "file"})
"""Keys of a plan that depend on how a command was typed; they alone do not make another plan."""


def write_plan(store: Store, name: str, plan: Json, text: str, planned_at: float) -> Json:
    """Store a plan with the text of its sweep file, unless the newest stored plan is the same. Returns the stored plan.

    A stored plan never changes: an edited file makes a new plan, so that the report can say what changed and when.
    """
    content = digest([{key: value for key, value in plan.items() if key not in _SPELLING}, text], 32)
    while True:
        newest = newest_plan(store, name)
        if newest is not None and newest["hash"] == content:
            return newest
        body = {"schema": SCHEMA, "hash": content, "planned_at": planned_at, "text": text, **plan}
        number = max(listing.numbers(store, join("sweeps", name, "plans")), default=0) + 1
        if store.create(plan_key(name, number), dump(body)):
            return body


def plan_key(name: str, number: int) -> str:
    return join("sweeps", name, "plans", f"{number:04d}.json")


def newest_plan(store: Store, name: str) -> Json | None:
    """The newest plan of a sweep; None for an unknown sweep."""
    numbers = listing.numbers(store, join("sweeps", name, "plans"))
    if not numbers:
        return None
    key = plan_key(name, numbers[-1])
    newest = get_json(store, key)
    return None if newest is None else check_names(key, newest)


def read_plans(store: Store, name: str) -> list[Json]:
    """All plans of a sweep, oldest first; empty for an unknown sweep."""
    keys = [plan_key(name, number) for number in listing.numbers(store, join("sweeps", name, "plans"))]
    bodies = store.get_many(keys)
    return [check_names(key, load(key, bodies[key])) for key in keys if key in bodies]


def check_names(key: str, plan: Json) -> Json:
    """The plan itself. StoreError, with its key, if it names another sweep, or an arm or option that does not exist.

    Readers look up arms and options by these names, and make keys of the name of the sweep and of the ids of trials.
    """
    name = key.split("/")[1]
    planned = [arm for arm in plan["arms"] if isinstance(arm, dict)]
    arms = {arm["name"] for arm in planned}
    used = {
        plan.get("baseline"),
        *(arm.get("baseline") for arm in planned),
        *(plan.get("search") or {}).get("arms", ()),
    }
    unknown = sorted(str(name) for name in used - arms - {None})
    ids = {trial["id"] for arm in planned for trial in arm.get("trials", {}).values()}
    invalid = sorted(one for one in ids if not re.fullmatch(listing.NAME, one))
    correction = plan.get("report", {}).get("correction")
    why = ""
    if plan.get("name", name) != name:
        why = f"it is the plan of a sweep {plan['name'][:80]!r}"
    elif unknown:
        why = f"it names an arm {unknown[0][:80]!r}, which it does not have"
    elif invalid:
        why = f"it has a trial {invalid[0][:80]!r}, which is no id"
    elif correction not in (None, *CORRECTIONS):
        why = f"its report has a correction {correction!r:.80}, which does not exist"
    if why:
        allowed = "a plan as written by inpaint-sweeps"
        fix = "restore it from a copy, or run the sweep again from its file; trials that are done are not run again"
        raise StoreError(f"object {key!r}", why, allowed, fix)
    return plan


def user_code(plan: Json) -> dict[str, str]:
    """What names of a user's code meant when a stored plan was made, by how they are written in its file."""
    known: dict[str, str] = dict(plan.get("user_code") or {})
    for arm in plan["arms"]:
        known |= arm.get("config", {}).get("user_code") or {}
    return known


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


def unknown_sweep_error(store: Store, name: str, names: Sequence[str] | None = None) -> UnknownNameError:
    """The error for a name that no planned sweep of the store has; suggests the most similar one.

    names: the sweeps of the store, if the caller has listed them already
    """
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
