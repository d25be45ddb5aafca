"""Sweeps in a store: their plans, and requests to stop them."""

from __future__ import annotations

import uuid

from sweeps.results.columns import SCHEMA
from sweeps.spec.trial import digest
from sweeps.store.base import Store
from sweeps.store.layout import Json, dump, get_json, load

ALL_RUNS = "all"
"""In a request to stop: every driver of the sweep, not one run of it."""


def write_plan(store: Store, name: str, plan: Json, text: str, planned_at: float) -> Json:
    """Store a plan and the file it comes from, unless the newest stored plan is the same. Returns the stored plan.

    A stored plan is never changed: an edited file makes the next one, so that the report can say what changed when.
    """
    content = digest([plan, text], 32)
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
    found = store.get_many(store.keys(prefix))
    return [load(key, found[key]) for key in sorted(found)]


def request_stop(store: Store, name: str, whom: str = ALL_RUNS) -> None:
    """Ask a sweep's drivers to end after the epochs at hand, or one of them, or one trial.

    whom: the token of the driver's run, or the trial's id.
    """
    store.create(f"sweeps/{name}/stops/{uuid.uuid4().hex[:12]}-{whom}.json", b"{}")


def stop_requests(store: Store, name: str, *whom: str) -> frozenset[str]:
    """The requests so far to all or to one of `whom` (a run, a trial); without any, every request there is.

    New ones are told from old ones by comparing sets, not clocks.
    """
    ends = tuple(f"-{one}.json" for one in (ALL_RUNS, *whom)) if whom else (".json",)
    return frozenset(key for key in store.children(f"sweeps/{name}/stops") if key.endswith(ends))


def sweep_names(store: Store) -> list[str]:
    return store.children("sweeps")
