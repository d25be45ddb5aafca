"""Runs with `--fresh` delete the results of a plan once: an interrupted one continues when the command is repeated."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from cluster.driver import driver
from sweeps.spec.plan import Plan
from sweeps.spec.trial import digest
from sweeps.store import layout
from sweeps.store.base import Store


def delete_results(plan: Plan, store: Store) -> str:
    """Delete the results of a plan, unless an unfinished run with `--fresh` of the same trials has done so.

    Returns a sentence about that run; empty if the results were deleted now.
    """
    key = layout.fresh_key(plan.name)
    trials = digest(sorted((trial.id, trial.epochs) for trial, _ in plan.runs()), 16)
    begun = layout.get_intact(store, key)
    if begun and begun["trials"] == trials and begun["deleted"]:
        when = datetime.fromtimestamp(begun["began_at"], UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"continues the --fresh run that began on {when}; once it is done, --fresh begins anew"
    body = {"trials": trials, "began_at": time.time(), "deleted": False}
    store.put(key, layout.dump(body))  # a run that is killed while it deletes has to delete again
    driver.forget(plan, store)
    store.put(key, layout.dump({**body, "deleted": True}))
    return ""


def end(plan: Plan, store: Store) -> None:
    """Record that every trial of a plan is done: the next `--fresh` deletes the results."""
    store.delete([layout.fresh_key(plan.name)])
