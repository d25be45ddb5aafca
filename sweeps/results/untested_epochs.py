"""Finished trials that were not tested at the epochs which a sweep reports: the sweep was changed, or another one ran
them.

`report.test_epochs` and `report.at` decide when a trial is tested while it trains. They are no part of its id, and an
epoch that is over cannot be tested later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeps.results.columns import EPOCH, describe
from sweeps.spec.sections.report import BEST
from sweeps.store import layout

if TYPE_CHECKING:
    from sweeps.store.record_cache import CachedStore, History


def of_trials(
    copied: CachedStore, finished: Iterable[tuple[str, int]], test_epochs: Sequence[int], at: str
) -> set[tuple[str, int]]:
    """The finished trials, given as (id, target epoch), that lack test values at an epoch which the report asks for.

    test_epochs, at: of the section `report`.
    """
    best = BEST.match(at)
    if not test_epochs and not best:
        return set()
    column = best["column"] if best else ""
    keys = {layout.result_key(*trial): trial for trial in finished if trial[1]}
    stored = copied.results(keys).items()
    return {
        keys[key] for key, (_, history) in stored if not _tested(history, {*test_epochs, *_best_epoch(history, column)})
    }


def sentence(count: int) -> str:
    """A sentence that says how many finished trials were not tested; empty for 0."""
    if not count:
        return ""
    trials, when = ("1 finished trial was", "it was") if count == 1 else (f"{count} finished trials were", "they were")
    return (
        f"{trials} not tested at every epoch of `report.test_epochs` and `report.at`, which had other values when "
        f"{when} trained: `sweeps run FILE --fresh --arms NAMES` trains again."
    )


def _best_epoch(history: Mapping[str, Any], column: str) -> list[int]:
    """The epoch at which a validation column is best; empty if it has no values."""
    import numpy as np

    values = history.get(column)
    if values is None or np.isnan(values).all():
        return []
    place = np.nanargmin(values) if describe(column)[1] == "min" else np.nanargmax(values)
    return [int(history[EPOCH][place])]


def _tested(history: History, epochs: set[int]) -> bool:
    """Whether each of these epochs that the trial has reached has values of the test images."""
    import numpy as np

    tests = [~np.isnan(values) for name, values in history.items() if name.startswith("test/")]
    if not tests:
        return True
    tested = set(history[EPOCH][np.logical_or.reduce(tests)].astype(int).tolist())
    return {epoch for epoch in epochs if epoch <= history[EPOCH][-1]} <= tested
