"""Finished trials that other code of ours than today's has made.

A result carries a digest of the modules that its trial ran (`trainables.code.ours`); the store keeps what each digest
stands for under `modules/<digest>.json`. Results of versions that recorded none are not counted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
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
        shown = shown or "modules that the store does not name"
        return (
            f"{len(self.trials)} of {self.finished} finished trials were made by other code than today's: {shown} "
            "changed. `sweeps run FILE --retrain-stale` trains them again."
        )


def store_modules(store: Store, task: str, configs: Iterable[Mapping[str, Any]]) -> None:
    """Store what the digests of some trials stand for; for the driver, so that it costs no request of a trial."""
    modules = {ours.digest_of(task, config): ours.modules_of(task, config) for config in configs}
    bodies = {_key(digest): {"schema": SCHEMA, "modules": dict(one)} for digest, one in modules.items()}
    known = layout.intact(store.get_many(bodies))
    for key in bodies.keys() - known.keys():
        layout.create(store, key, bodies[key])


def find(store: Store, plan: Mapping[str, Any]) -> StaleCode:
    """The finished trials of a stored plan that other code has made."""
    today = {(trial["id"], trial["epochs"]): code for code, trials in _arms(plan) for trial in trials}
    keys = {layout.result_key(*target): target for target in today}
    results = record_cache.cached(store, plan["name"]).results(keys)
    made = {keys[key]: result.get("provenance", {}).get("modules") for key, (result, _) in results.items()}
    other = {target: digest for target, digest in made.items() if digest and digest != today[target][0]}
    then = {digest: layout.get_intact(store, _key(digest)) for digest in set(other.values())}
    changed = {target: _changed(then[digest], today[target][1]) for target, digest in other.items()}
    return StaleCode(changed, len(made))


def _arms(
    plan: Mapping[str, Any],
) -> Iterator[tuple[tuple[str, Mapping[str, str]], Iterable[Mapping[str, Any]]]]:
    """(digest, modules) that the trials of each arm would run today, and its trials; without arms that this version
    cannot run."""
    for arm in plan["arms"]:
        with contextlib.suppress(TrialError):
            of = (plan["task"], arm["config"])
            yield (ours.digest_of(*of), ours.modules_of(*of)), arm["trials"].values()


def _changed(stored: Mapping[str, Any] | None, now: Mapping[str, str]) -> tuple[str, ...]:
    """The modules that differ; none are named if the store does not know those of the digest."""
    then = now if stored is None else stored["modules"]
    return tuple(sorted(name for name in {*then, *now} if then.get(name) != now.get(name)))


def _key(digest: str) -> str:
    return layout.join("modules", f"{digest}.json")
