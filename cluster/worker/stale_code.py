"""Finished trials that other code of ours than today's has made.

A result carries a digest of the modules that its trial ran (`trainables.code.ours`); the store keeps what each digest
stands for under `modules/<digest>.json`. Results of versions that recorded none are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeps.results.columns import SCHEMA
from sweeps.store import layout, record_cache
from sweeps.store.base import Store
from trainables.code import ours
from trainables.errors import TrialError

_SHOWN = 3
"""Number of changed modules that a sentence names."""


@dataclass(frozen=True)
class StaleCode:
    """The finished trials of a plan whose modules have changed since."""

    trials: Mapping[tuple[str, int], tuple[str, ...]]
    """The changed modules by (trial id, target epoch)."""
    finished: int
    """Number of finished trials."""

    @property
    def sentence(self) -> str:
        """Empty if there are none."""
        if not self.trials:
            return ""
        modules = sorted({module for changed in self.trials.values() for module in changed})
        shown = ", ".join(modules[:_SHOWN]) + (f" and {len(modules) - _SHOWN} more" if len(modules) > _SHOWN else "")
        return (
            f"{len(self.trials)} of {self.finished} finished trials were made by other code than today's: {shown} "
            "changed. `sweeps run FILE --retrain-stale` trains them again."
        )


def record(store: Store, task: str, config: Mapping[str, Any]) -> str:
    """Store which modules a trial is about to run; returns their digest."""
    hashes = ours.modules_of(task, config)
    digest = ours.digest(hashes)
    key = _key(digest)
    if not store.exists_many([key]):
        store.create(key, layout.dump({"schema": SCHEMA, "modules": hashes}))
    return digest


def find(store: Store, plan: Mapping[str, Any]) -> StaleCode:
    """The finished trials of a stored plan that other code has made."""
    today = {
        (trial["id"], trial["epochs"]): modules
        for arm in plan["arms"]
        if (modules := _modules(plan["task"], arm["config"])) is not None
        for trial in arm["trials"].values()
    }
    keys = {layout.result_key(*target): target for target in today}
    results = record_cache.CachedStore(store, plan["name"]).results(keys)
    made = {keys[key]: result.get("provenance", {}).get("modules") for key, (result, _) in results.items()}
    other = {target: digest for target, digest in made.items() if digest and digest != ours.digest(today[target])}
    then = {digest: layout.get_json(store, _key(digest)) for digest in set(other.values())}
    changed = {
        target: _changed((then[digest] or {}).get("modules", {}), today[target]) for target, digest in other.items()
    }
    return StaleCode(changed, len(made))


def _modules(task: str, config: Mapping[str, Any]) -> Mapping[str, str] | None:
    """The modules that a trial would run today; None for a model or task that this version does not have."""
    try:
        return ours.modules_of(task, config)
    except TrialError:
        return None


def _changed(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in {*then, *now} if then.get(name) != now.get(name)))


def _key(digest: str) -> str:
    return f"modules/{digest}.json"
