"""Reads sweeps from a store as studies: the newest plan, the records of finished trials, the state of each cell."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import wording
from analysis.size_sentence import size_sentence
from analysis.study import KEYS, Cell, Study, StudyArm
from sweeps.errors import SweepError
from sweeps.protocols import results as protocol_results
from sweeps.results import columns as record_columns
from sweeps.results import missing_metrics
from sweeps.results.data_versions import mixed_data
from sweeps.results.leaks import leaks_note
from sweeps.results.older_code import older_code
from sweeps.search import status
from sweeps.store import layout, record_cache
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store

_SHOWN = 3
"""Number of damaged results that a sentence names."""


def read(store: Store, name: str, now: float | None = None, versions: Mapping[str, str] | None = None) -> Study:
    """Read a sweep's newest plan and the results of its finished trials; many objects are fetched concurrently.

    now: seconds since 1970 against which the age of heartbeats is measured.
    versions: versions of the results, if `record_cache.result_versions` has fetched them for many sweeps at once.
    Raises SweepError if the store has no sweep of this name, or if the name is a path.
    """
    copied = record_cache.CachedStore(store, stored_plans.check_name(store, name), versions)
    plans = stored_plans.read_plans(store, name)
    if not plans:
        raise stored_plans.unknown_sweep_error(store, name)
    return _read(copied, name, plans, now)


def of_plan(store: Store, name: str, plan: layout.Json) -> Study:
    """The study of a plan that the store may not have, with the results that it has."""
    return _read(record_cache.CachedStore(store, name), name, [plan], None)


def _read(copied: record_cache.CachedStore, name: str, plans: Sequence[layout.Json], now: float | None) -> Study:
    plan = plans[-1]
    for arm in plan["arms"]:
        record_columns.declare(arm["config"].get("metrics"))
    arms = tuple(_arm(arm, plan["baseline"]) for arm in plan["arms"])
    states = record_cache.trial_states(copied, plan, now)
    cells = tuple(
        Cell(arm.name, seed, trial, epochs, states[trial].at(epochs), states[trial])
        for arm in arms
        for seed, (trial, epochs) in arm.trials.items()
    )
    done = {(cell.trial, cell.epochs): None for cell in cells if cell.state == "done"}
    keys = {layout.result_key(*key): key for key in done}
    stored = copied.results(keys)
    results = {keys[key]: result for key, (result, _) in stored.items()}
    histories = {keys[key]: history for key, (_, history) in stored.items()}
    searches = tuple(status.search_states(copied, plan))
    with contextlib.suppress(SweepError):  # a report needs no permission to write
        copied.refresh()
    sentences = [
        size_sentence(plan, results.values()),
        *protocol_results.notes(stored_plans.protocol(plan), results.values()),
        seeds_note(plan),
        _damage(copied.damaged),
        older_code(copied, plans),
        *missing_metrics.notes(copied, plan, done),
        *mixed_data(copied, results.values()),
        *leaks_note(copied, name, [trial for trial, _ in results]),
    ]
    notes = tuple(filter(None, sentences))
    records = _records(cells, histories)
    damaged = frozenset(copied.damaged)
    return Study(copied, name, plan, tuple(plans), arms, cells, records, results, searches, damaged, notes)


def seeds_note(plan: Mapping[str, Any]) -> str:
    """How the numbers of seeds came about, if looks or a gate add them; else empty."""
    if gate := plan.get("gate"):
        return (
            f"The gate {wording.quoted(gate['name'])} added one seed after the other until its verdict; "
            "intervals take the number of seeds as fixed."
        )
    looks = plan.get("looks")
    if not looks:
        return ""
    arms: dict[int, list[str]] = {}
    for arm in plan["arms"]:
        if arm.get("trains", True):
            arms.setdefault(len(arm["trials"]), []).append(wording.quoted(arm["name"]))
    numbers = "; ".join(f"{seeds} for {wording.listing(names)}" for seeds, names in sorted(arms.items()))
    until = looks["until"]
    goal, arms_in_need, valid = "until claims were decided", "the arms of undecided claims", "Intervals of claims hold"
    if "half_width" in until:
        column = until["metric"]
        limit = wording.with_unit(f"{until['half_width']:g}", column)
        goal = f"until differences to the baseline in {wording.label(column)} had a half-width of at most {limit}"
        arms_in_need, valid = "the arms that lacked it", "Half-widths below and intervals of claims hold"
    elif "budget" in until:
        goal = f"while the next look fitted into {until['budget']} of training"
        arms_in_need += ", or every arm without claims"
    alone = " Of detectors, the former cover the seeds alone." if plan.get("task") == "detect" else ""
    return (
        f"Seeds were added {goal}: {looks['first']} at first, then {looks['step']} at each look for "
        f"{arms_in_need}, at most {looks['most']}. By now {numbers}. "
        f"{valid} under this stopping; those of a table take its numbers of seeds as fixed.{alone}"
    )


def _damage(damaged: Collection[str]) -> str:
    """A sentence on results that cannot be read; empty if there are none."""
    if not damaged:
        return ""
    keys, rest = sorted(damaged)[:_SHOWN], len(damaged) - _SHOWN
    return (
        f"{len(damaged)} of the results {'are' if len(damaged) > 1 else 'is'} damaged and left out "
        f"({', '.join(keys)}{f' and {rest} more' if rest > 0 else ''}); "
        "`sweeps run FILE` finishes these trials again from their last checkpoints."
    )


def _arm(arm: Mapping[str, Any], baseline: str) -> StudyArm:
    return StudyArm(
        name=arm["name"],
        set=arm.get("set") or {},
        factors=arm.get("factors") or {},
        published=arm.get("published"),
        baseline=arm.get("baseline") or baseline,
        trains=arm.get("trains", True),
        config=arm["config"],
        trials={int(seed): (trial["id"], trial["epochs"]) for seed, trial in arm["trials"].items()},
        by_seed=arm.get("by_seed", False),
    )


def _records(cells: Iterable[Cell], histories: Mapping[tuple[str, int], Mapping[str, Any]]) -> pd.DataFrame:
    """All histories as one table. Each column is concatenated once, so the cost is linear in the number of rows."""
    parts = [(cell, histories[cell.trial, cell.epochs]) for cell in cells if (cell.trial, cell.epochs) in histories]
    lengths = [len(history[record_columns.EPOCH]) for _, history in parts]
    columns: dict[str, Any] = {
        key: np.repeat(np.array([getattr(cell, key) for cell, _ in parts], dtype=object), lengths) for key in KEYS[:-1]
    }
    for name in dict.fromkeys([record_columns.EPOCH, *(name for _, history in parts for name in history)]):
        filled = [history.get(name, np.full(n, np.nan)) for (_, history), n in zip(parts, lengths, strict=True)]
        columns[name] = np.concatenate(filled) if filled else np.array([])
    frame = pd.DataFrame(columns)
    return frame.astype({"seed": int, record_columns.EPOCH: int})
