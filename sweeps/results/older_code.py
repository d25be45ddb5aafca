"""Finished trials that older code of the user's made, which a sweep no longer shows."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store

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


def _results(plan: layout.Json) -> set[str]:
    trials = (trial for arm in plan["arms"] for trial in arm["trials"].values())
    return {layout.result_key(trial["id"], trial["epochs"]) for trial in trials}
