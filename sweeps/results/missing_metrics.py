"""Metrics of `report.extra` that finished trials lack: they were asked for later, or by another sweep.

A run measures them with the trained network, from the checkpoint of the last epoch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from sweeps.results import progress, untested_epochs
from sweeps.results.columns import DETECTION_EXTRA, EXTRA
from sweeps.store import layout, listing, trials
from sweeps.store.base import Store
from sweeps.store.record_cache import CachedStore

TRAIN_AGAIN = "the store does not have the networks: `sweeps run FILE --fresh --arms NAMES` trains again"
"""What to do about metrics of networks that cannot be measured."""


def asked(extra: Iterable[Any]) -> tuple[str, ...]:
    """Our metrics among the entries of `report.extra`. Users' own are part of a trial's id."""
    return tuple(name for name in extra if isinstance(name, str) and name in (*EXTRA, *DETECTION_EXTRA))


def of_trials(
    copied: CachedStore, finished: Iterable[tuple[str, int]], names: Collection[str]
) -> dict[tuple[str, int], tuple[str, ...]]:
    """The missing metrics of each finished trial, given as (id, target epoch), that lacks any of these."""
    if not names:
        return {}
    keys = {layout.result_key(*trial): trial for trial in finished}
    stored = copied.results(keys).items()
    found = {keys[key]: trials.missing(names, result, history) for key, (result, history) in stored}
    return {trial: lacks for trial, lacks in found.items() if lacks}


def of_plan(
    copied: CachedStore, plan: layout.Json, finished: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], tuple[str, ...]]:
    """The same for the metrics that a stored plan asks for."""
    return of_trials(copied, finished, asked(plan["report"].get("extra", ())))


def notes(copied: CachedStore, plan: layout.Json, finished: Collection[tuple[str, int]]) -> tuple[str, ...]:
    """Sentences on a stored plan's finished trials, given as (id, target epoch), that lack metrics or tests."""
    report, found = plan["report"], of_plan(copied, plan, finished)
    able = measurable(copied, found)
    untested = untested_epochs.of_trials(copied, finished, report.get("test_epochs", ()), report["at"])
    measured = f"`sweeps resume {plan['name']}` measures the trained networks"
    return (
        sentence([names for trial, names in found.items() if trial in able], measured),
        sentence([names for trial, names in found.items() if trial not in able], TRAIN_AGAIN),
        untested_epochs.sentence(len(untested)),
    )


def with_errors(
    store: Store, states: Mapping[str, progress.TrialState], unmeasured: Iterable[str]
) -> dict[str, progress.TrialState]:
    """The states of trials by id, with the errors of those that a run could not measure.

    unmeasured: finished trials that lack metrics.
    """
    errors = progress.newest_errors(store, unmeasured)
    return {trial: replace(state, error=errors.get(trial, state.error)) for trial, state in states.items()}


def measurable(store: Store, finished: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    """The trials, given as (id, target epoch), whose network at that epoch is in the store, or that train nothing."""
    trained = {trial for trial in finished if trial[1]}
    if not trained:
        return set(finished)
    keys = listing.find(store, (layout.join("trials", trial_id, "checkpoint") + "/" for trial_id, _ in trained))
    parts = [key.split("/") for key in keys if key.endswith("/manifest.json")]
    saved = {(part[1], int(part[4])) for part in parts}
    return {trial for trial in finished if trial in saved or trial not in trained}


def sentence(lacking: Collection[Collection[str]], remedy: str) -> str:
    """A sentence on finished trials that lack metrics; empty if there are none.

    lacking: what each of them lacks. remedy: what to do about it, or what will be done.
    """
    if not lacking:
        return ""
    names = dict.fromkeys(f"`{name}`" for names in lacking for name in names)
    which = "1 finished trial lacks" if len(lacking) == 1 else f"{len(lacking)} finished trials lack"
    return f"{which} {', '.join(names)} of `report.extra`; {remedy}."
