"""Photographs that are in two splits of a sweep's data, which `run --accept-leaks` has accepted."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sweeps.results.columns import SCHEMA
from sweeps.store import layout
from sweeps.store.base import Store

LISTED = 100
"""Leaks of which the store keeps the words; the count covers all."""


def leaks_key(sweep: str) -> str:
    return layout.join("sweeps", sweep, "leaks.json")


def store_leaks(store: Store, sweep: str, leaks: Sequence[str], trials: Collection[str]) -> None:
    """Store what the newest run has found for trials that it was about to train; other trials keep what was found.

    leaks: in words, one for each photograph. Without any, the trials are no longer named.
    """
    key = leaks_key(sweep)
    before = layout.get_intact(store, key) or {"found": []}
    found = [{**one, "trials": sorted({*one["trials"]} - {*trials})} for one in before["found"]]
    if leaks:
        found.append({"count": len(leaks), "leaks": list(leaks[:LISTED]), "trials": sorted(trials)})
    found = [one for one in found if one["trials"]]
    if found != before["found"]:
        store.put(key, layout.dump({"schema": SCHEMA, "found": found}))


def leaks_note(store: Store, sweep: str, finished: Collection[str]) -> list[str]:
    """A sentence for each number of leaks with which finished trials were trained."""
    stored = layout.get_intact(store, leaks_key(sweep)) or {"found": []}
    notes = []
    for one in stored["found"]:
        trials = len({*one["trials"]} & {*finished})
        if trials:
            many = f"{one['count']:,} photograph{'s' if one['count'] > 1 else ''}"
            first = "; ".join(one["leaks"][:3]) + ("; ..." if one["count"] > 3 else "")
            notes.append(
                f"Leaks: {many} of the data of {trials} finished trial{'s' if trials > 1 else ''} are in two splits "
                f"(accepted with --accept-leaks), so scores on new photographs may be worse: {first}."
            )
    return notes
