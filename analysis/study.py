"""A sweep as the store holds it: its newest plan, the records of finished trials as one table, the states of cells."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from analysis import wording
from analysis.statistics import intervals
from analysis.statistics.significance import Correction
from sweeps.errors import SweepError
from sweeps.results import columns as record_columns
from sweeps.results import progress
from sweeps.results.progress import TrialState
from sweeps.search import status
from sweeps.search.status import SearchState
from sweeps.spec.trial import canonical
from sweeps.store import layout, record_cache
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store

_BEST = re.compile(r"^best\((?P<column>[^()]+)\)$")
KEYS = ["arm", "seed", "trial", record_columns.EPOCH]
"""Columns of `Study.records` that say which row it is; the others are metrics."""

UNTESTED = ("train", "val", "train_on", "augment", "input_size", "fold", "captions")
"""Options of the data that leave the test images as they are."""


@dataclass(frozen=True)
class Arm:
    """One row of the plan.

    set: {dotted key: value} against the base. factors: {grid key: label of its level}. baseline: the arm that it is
    compared with (in a grid, the one of the same level). trains: False for a fill without parameters, which one
    evaluation settles for every seed.
    """

    name: str
    set: Mapping[str, Any]
    factors: Mapping[str, Any]
    published: str | None
    baseline: str
    trains: bool
    config: Mapping[str, Any]
    trials: Mapping[int, tuple[str, int]]
    """(trial id, target epoch) by seed."""


@dataclass(frozen=True)
class Cell:
    """One arm with one seed. state: one of `sweeps.results.progress.STATES`, with regard to this arm's target epoch."""

    arm: str
    seed: int
    trial: str
    epochs: int
    state: str
    progress: TrialState


@dataclass(frozen=True, eq=False)
class Study:
    """A sweep and what was found.

    plan: the newest stored plan; versions: all of them, oldest first. searches: how far each search of it is.
    records: a row for each arm, seed and epoch of the finished trials, columns `KEYS` and metrics; NaN where a metric
        was not evaluated. A trial that serves several arms or seeds stands there once for each.
    results: facts, provenance, attempt and times of each finished trial, without its history, by (trial id, epochs).
    """

    store: Store
    name: str
    plan: Mapping[str, Any]
    versions: tuple[Mapping[str, Any], ...]
    arms: tuple[Arm, ...]
    cells: tuple[Cell, ...]
    records: pd.DataFrame
    results: Mapping[tuple[str, int], Mapping[str, Any]]
    searches: tuple[SearchState, ...] = ()

    @property
    def seeds(self) -> list[int]:
        return list(self.plan["seeds"])

    @property
    def baseline(self) -> str:
        return str(self.plan["baseline"])

    @property
    def metrics(self) -> list[str]:
        return list(self.plan["report"]["metrics"])

    @property
    def statistic(self) -> str:
        """What of the seeds is told: 'mean' or 'interquartile mean'."""
        return str(self.plan["report"].get("statistic", "mean"))

    @property
    def correction(self) -> Correction:
        """How the tests of a metric's differences are corrected for their number."""
        found: Correction = self.plan["report"].get("correction", "holm")
        return found

    def arm(self, name: str) -> Arm:
        """The arm of this name; KeyError where there is none (the plan was checked: a claim names existing arms)."""
        return next(arm for arm in self.arms if arm.name == name) if name in self.names else _no_arm(name)

    @cached_property
    def names(self) -> list[str]:
        return [arm.name for arm in self.arms]

    @cached_property
    def groups(self) -> list[list[str]]:
        """Arms that are tested on the same images under the same masks: only these can be compared with each other.

        Detectors that the report scores on further test sets alone are tested on those, whatever they learned from.
        """
        found: dict[str, list[str]] = {}
        elsewhere = all(record_columns.on_masks(metric) for metric in self.metrics)
        for arm in self.arms:
            data = {key: value for key, value in arm.config.get("data", {}).items() if key not in UNTESTED}
            other, sets = arm.config.get("test_masks"), arm.config.get("test_sets")
            tested = [sets] if elsewhere and sets else [data, other if elsewhere else arm.config.get("mask")]
            found.setdefault(canonical(tested), []).append(arm.name)
        return list(found.values())

    def states(self, arm: str | None = None) -> Counter[str]:
        """How many cells are in which state, of one arm or of all."""
        return Counter(cell.state for cell in self.cells if arm in (None, cell.arm))

    @cached_property
    def waiting(self) -> list[str]:
        """Arms whose values a search has yet to find: they have no cells."""
        return [arm.name for arm in self.arms if not arm.trials]

    def tuned(self, arm: str) -> SearchState | None:
        """The search that has found an arm's values, None where they are given."""
        spec = self.plan.get("search")
        if not spec:
            return None
        name = re.sub(r" #\d+$", "", arm) if spec["within_arms"] else spec["arms"][0]
        is_tuned = name in spec["arms"] if spec["within_arms"] else bool(re.fullmatch(r"tuned #\d+", arm))
        return next((search for search in self.searches if is_tuned and search.arm == name), None)

    def done(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.state == "done"]

    def values(self, arm: str, metric: str, epoch: int | None = None) -> dict[int, float]:
        """A metric of an arm by seed: at `epoch`, else where `report.at` says. Absent and not finite ones are left out.

        A fill without parameters has the same value for every seed, and at every epoch. What depends on the machine and
        the moment (`sys/`) is told as its median over the epochs.
        """
        rows = self._rows.get(arm)
        if rows is None or metric not in rows.columns:
            return {}
        if self.arm(arm).trains and epoch is not None:
            chosen = rows[rows[record_columns.EPOCH] == epoch]
        elif metric.startswith(record_columns.SYSTEM + "/"):
            chosen = rows.groupby("seed")[[metric]].median().reset_index()
        else:
            if arm not in self._told:
                self._told[arm] = self._chosen(rows)
            chosen = self._told[arm]
        found = {int(seed): float(value) for seed, value in zip(chosen["seed"], chosen[metric], strict=True)}
        return {seed: value for seed, value in found.items() if np.isfinite(value)}

    def interval(self, arm: str, metric: str, epoch: int | None = None) -> intervals.Interval | None:
        """The mean over seeds (or the report's other statistic) with its interval, None where no seed has a value."""
        values = self.values(arm, metric, epoch)
        if values and not self.arm(arm).trains:
            return intervals.exact_value(next(iter(values.values())))
        if self.statistic == "interquartile mean":
            return intervals.interquartile_mean(values.values())
        return intervals.mean_interval(values.values())

    def difference(
        self, a: str, b: str, metric: str, epoch: int | None = None, level: float = intervals.LEVEL
    ) -> intervals.Interval | None:
        """Interval of a - b paired by seed; exact where neither arm trains, None where no seed has both."""
        difference = intervals.mean_interval(self.differences(a, b, metric, epoch), level)
        exact = not (self.arm(a).trains or self.arm(b).trains)
        return intervals.exact_value(difference.mean) if difference and exact else difference

    def differences(self, a: str, b: str, metric: str, epoch: int | None = None) -> list[float]:
        """a - b for each seed that both have: it gave both the same data order, masks and initialisation."""
        ours, theirs = self.values(a, metric, epoch), self.values(b, metric, epoch)
        return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]

    def epochs(self, arm: str, metric: str) -> list[int]:
        """The epochs at which an arm has a metric."""
        rows = self._rows.get(arm)
        if rows is None or metric not in rows.columns:
            return []
        known = rows[metric].notna().to_numpy()
        return sorted(set(rows[record_columns.EPOCH].to_numpy()[known].tolist()))

    def at_words(self) -> str:
        """Which epoch of a trial is told, in words."""
        match = _BEST.match(self.plan["report"]["at"])
        return f"at the epoch of the best {wording.label(match['column'])}" if match else "after the last epoch"

    @cached_property
    def _rows(self) -> dict[str, pd.DataFrame]:
        return {str(arm): rows for arm, rows in self.records.groupby("arm", sort=False)}

    @cached_property
    def _told(self) -> dict[str, pd.DataFrame]:
        """The chosen rows of the arms that were asked for so far: every table and sentence asks again."""
        return {}

    def _chosen(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The row of each seed that is told: its last one, or the one where a validation column is best."""
        match = _BEST.match(self.plan["report"]["at"])
        column = match["column"] if match else ""
        last = rows.loc[rows.groupby("seed")[record_columns.EPOCH].idxmax()]
        if column not in rows.columns or rows[column].isna().all():
            return last
        known = rows[rows[column].notna()]
        seeds = known.groupby("seed")[column]
        best = known.loc[seeds.idxmin() if wording.better(column) == "min" else seeds.idxmax()]
        return pd.concat([best, last[~last["seed"].isin(best["seed"])]])


def _no_arm(name: str) -> Arm:
    raise KeyError(name)


def read(store: Store, name: str, now: float | None = None, versions: Mapping[str, str] | None = None) -> Study:
    """Read a sweep's newest plan and the results of its finished trials, side by side.

    now: seconds since 1970, by which heartbeats are judged. versions: of results, where they were looked up for many
    sweeps together (`record_cache.look`). Raises SweepError for a name that the store does not know,
    or that is a path.
    """
    copied = record_cache.Copied(store, check_name(store, name), versions)
    plans = stored_plans.read_plans(store, name)
    if not plans:
        raise _unknown(store, name)
    plan = plans[-1]
    arms = tuple(_arm(arm, plan["baseline"]) for arm in plan["arms"])
    states = progress.trial_states(copied, plan, now)
    cells = tuple(
        Cell(arm.name, seed, trial, epochs, states[trial].at(epochs), states[trial])
        for arm in arms
        for seed, (trial, epochs) in arm.trials.items()
    )
    done = {(cell.trial, cell.epochs): None for cell in cells if cell.state == "done"}
    keys = {layout.result_key(*key): key for key in done}
    found = copied.results(keys)
    results = {keys[key]: result for key, (result, _) in found.items()}
    histories = {keys[key]: history for key, (_, history) in found.items()}
    searches = tuple(status.search_states(copied, plan))
    with contextlib.suppress(SweepError):  # who may only read the store can report all the same
        copied.refresh()
    return Study(copied, name, plan, tuple(plans), arms, cells, _records(cells, histories), results, searches)


def check_name(store: Store, name: str) -> str:
    """The name itself; a SweepError where it is a path, which could lead out of the store's `sweeps/`."""
    if not name or name in (".", "..") or any(sign in name for sign in "/\\\0"):
        raise SweepError(
            f"sweep name {name!r}", "it is a path", f"a name: {_known(store)}", "sweeps report NAME, without a folder"
        )
    return name


def _unknown(store: Store, name: str) -> SweepError:
    near = difflib.get_close_matches(name, stored_plans.sweep_names(store), 1)
    return SweepError(
        f"sweep {name!r}",
        f"the store {store.uri} has no plan of this name",
        _known(store),
        f"sweeps report {near[0]}" if near else "sweeps run FILE, which plans and runs it",
    )


def _known(store: Store) -> str:
    return ", ".join(stored_plans.sweep_names(store)) or "none yet: the store holds no sweep"


def _arm(arm: Mapping[str, Any], baseline: str) -> Arm:
    return Arm(
        name=arm["name"],
        set=arm.get("set") or {},
        factors=arm.get("factors") or {},
        published=arm.get("published"),
        baseline=arm.get("baseline") or baseline,
        trains=arm.get("trains", True),
        config=arm["config"],
        trials={int(seed): (trial["id"], trial["epochs"]) for seed, trial in arm["trials"].items()},
    )


def _records(cells: Iterable[Cell], histories: Mapping[tuple[str, int], Mapping[str, Any]]) -> pd.DataFrame:
    """One table of all histories: columns are joined once, so that its cost grows with the rows only."""
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
