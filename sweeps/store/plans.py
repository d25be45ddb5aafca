"""Sweeps in a store: their plans, and requests to stop them."""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Sequence

from sweeps.errors import UnknownNameError
from sweeps.results.columns import SCHEMA
from sweeps.spec.trial import digest
from sweeps.store.base import Store
from sweeps.store.layout import Json, dump, get_json, load

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
        number = len(store.children(f"sweeps/{name}/plans")) + 1
        if store.create(f"sweeps/{name}/plans/{number:04d}.json", dump(body)):
            return body


def newest_plan(store: Store, name: str) -> Json | None:
    """The newest plan of a sweep; None for an unknown sweep."""
    prefix = f"sweeps/{name}/plans"
    names = store.children(prefix)
    return get_json(store, f"{prefix}/{names[-1]}") if names else None


def read_plans(store: Store, name: str) -> list[Json]:
    """All plans of a sweep, oldest first; empty for an unknown sweep."""
    prefix = f"sweeps/{name}/plans/"
    bodies = store.get_many(store.keys(prefix))
    return [load(key, bodies[key]) for key in sorted(bodies)]


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
    store.create(f"sweeps/{name}/stops/{uuid.uuid4().hex[:12]}-{whom}.json", b"{}")


def stop_requests(store: Store, name: str, *whom: str) -> frozenset[str]:
    """The stop requests so far for all runs or for one of `whom` (runs, trials); without `whom`, every stop request.

    Callers detect new requests by comparing sets, which needs no synchronised clocks.
    """
    ends = tuple(f"-{one}.json" for one in (ALL_RUNS, *whom)) if whom else (".json",)
    return frozenset(key for key in store.children(f"sweeps/{name}/stops") if key.endswith(ends))


def sweep_names(store: Store) -> list[str]:
    return store.children("sweeps")


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
