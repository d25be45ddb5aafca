"""A sweep as it was read: its newest plan, the records of finished trials as one table, the state of each cell."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from analysis import wording
from analysis.detection.photographs import ImageScores, ScoresFile
from analysis.statistics import crossed, intervals
from analysis.statistics.significance import Correction
from sweeps import sizes
from sweeps.protocols import results as protocol_results
from sweeps.results import columns as record_columns
from sweeps.results.progress import TrialState
from sweeps.results.tested_images import tested_images
from sweeps.search.status import SearchState
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store

_BEST = re.compile(r"^best\((?P<column>[^()]+)\)$")
KEYS = ["arm", "seed", "trial", record_columns.EPOCH]
"""Columns of `Study.records` that identify a row; all others are metrics."""

_ROUNDING = 1e-12
"""A standard deviation of scores at most this is a rounding error of none."""


@dataclass(frozen=True)
class StudyArm:
    """One arm of the plan."""

    name: str
    set: Mapping[str, Any]
    """Changes against the base: {dotted key: value}."""
    factors: Mapping[str, Any]
    """Levels of the grid's factors: {grid key: label of the level}."""
    published: str | None
    """The document's name for this arm; None if it does not report the arm."""
    baseline: str
    """The arm that this arm is compared with; in a grid, the one at the same level."""
    trains: bool
    """False for a fill or baseline without parameters, and for the results of another program."""
    config: Mapping[str, Any]
    trials: Mapping[int, tuple[str, int]]
    """(trial id, target epoch) by seed."""
    by_seed: bool = False
    """Whether the arm is not trained, but different between seeds; see `sweeps.spec.plan.Arm`."""

    @property
    def exact(self) -> bool:
        """Whether one evaluation serves every seed."""
        return not (self.trains or self.by_seed)

    @property
    def outputs(self) -> bool:
        """Whether the arm is the results of another program."""
        return bool((self.config.get("model") or {}).get("name") == "outputs")


@dataclass(frozen=True)
class Cell:
    """One arm with one seed."""

    arm: str
    seed: int
    trial: str
    epochs: int
    """Target epoch."""
    state: str
    """One of `sweeps.results.progress.STATES`, relative to the target epoch."""
    progress: TrialState


@dataclass(frozen=True, eq=False)
class Study:
    """A sweep and its results."""

    store: Store
    name: str
    plan: Mapping[str, Any]
    """The newest stored plan."""
    versions: tuple[Mapping[str, Any], ...]
    """All stored plans, oldest first."""
    arms: tuple[StudyArm, ...]
    cells: tuple[Cell, ...]
    records: pd.DataFrame
    """One row per arm, seed and epoch of the finished trials, with the columns `KEYS` and the metrics; NaN where a
    metric was not evaluated. A trial that serves several arms or seeds is repeated for each of them."""
    results: Mapping[tuple[str, int], Mapping[str, Any]]
    """Facts, provenance, attempt and times of each finished trial, without its history, by (trial id, epochs)."""
    searches: tuple[SearchState, ...] = ()
    """The state of each search of the plan."""
    damaged: frozenset[str] = frozenset()
    """Keys of results that cannot be read; they are left out."""
    notes: tuple[str, ...] = ()
    """Sentences on a size below full, damaged results, older code and different data, for every table."""

    @property
    def size(self) -> str:
        """The size at which the sweep was run: one of `sweeps.sizes.SIZES`."""
        return sizes.size_of(self.plan)

    @property
    def seeds(self) -> list[int]:
        return list(self.plan["seeds"])

    @property
    def baseline(self) -> str:
        return str(self.plan["baseline"])

    @property
    def metrics(self) -> list[str]:
        return list(self.plan["report"]["metrics"])

    @cached_property
    def protocol(self) -> Mapping[str, Any] | None:
        """The protocol that rates the fills of every arm: name, hash, folders, evaluation; None without one."""
        return stored_plans.protocol(self.plan)

    @property
    def statistic(self) -> str:
        """The statistic reported over seeds: 'mean' or 'interquartile mean'."""
        return str(self.plan["report"].get("statistic", "mean"))

    @property
    def correction(self) -> Correction:
        """The correction for multiple comparisons within one metric."""
        correction: Correction = self.plan["report"].get("correction", "holm")
        return correction

    def arm(self, name: str) -> StudyArm:
        """The arm with this name. Raises KeyError if there is none."""
        return next(arm for arm in self.arms if arm.name == name) if name in self.names else _no_arm(name)

    @cached_property
    def names(self) -> list[str]:
        return [arm.name for arm in self.arms]

    @cached_property
    def groups(self) -> list[list[str]]:
        """Arms grouped by test images and masks; only arms of one group can be compared with each other."""
        return self._grouped(self.metrics)

    def groups_in(self, metric: str) -> list[list[str]]:
        """Arms grouped by the test images and masks of one metric, which may be those of a common test set."""
        return self._grouped([metric])

    def _grouped(self, metrics: Sequence[str]) -> list[list[str]]:
        """Arms of other test images are apart, and those that a protocol has rated on other images or masks.

        Arms without results are with the first arm, or with the baseline, of the same configured images.
        """
        by_protocol = any(map(record_columns.on_protocol, metrics))
        groups: dict[tuple[str, str], list[str]] = {}
        first: dict[str, str] = {}
        known = {arm.name: self._rated_on(arm) if by_protocol else "" for arm in self.arms}
        for arm in sorted(self.arms, key=lambda arm: arm.name != self.baseline):
            if known[arm.name]:
                first.setdefault(tested_images(arm.config, metrics), known[arm.name])
        for arm in self.arms:
            images = tested_images(arm.config, metrics)
            groups.setdefault((images, known[arm.name] or first.get(images, "")), []).append(arm.name)
        return list(groups.values())

    def _rated_on(self, arm: StudyArm) -> str:
        """What identifies the images on which the protocol has rated an arm; its name if its seeds differ in them."""
        sets = protocol_results.tested(self.results[key] for key in arm.trials.values() if key in self.results)
        return f"arm {arm.name}" if len(sets) > 1 else "".join(map(str, sets))

    def rated_alike(self, a: str, b: str, metric: str) -> bool:
        """False if `metric` is of the protocol, which has rated the two arms on different images or masks."""
        if not record_columns.on_protocol(metric):
            return True
        one, other = self._rated_on(self.arm(a)), self._rated_on(self.arm(b))
        return one == other or not (one and other)

    @cached_property
    def untrained(self) -> str:
        """What the arms are, together, that are not trained."""
        outputs = any(arm.outputs for arm in self.arms)
        return "arms that the study does not train" if outputs else "arms without training"

    @cached_property
    def pure_grid(self) -> bool:
        """Whether the arms are the cells of a grid alone, each named by its levels."""
        return all(arm.factors and arm.name == ", ".join(map(str, arm.factors.values())) for arm in self.arms)

    def states(self, arm: str | None = None) -> Counter[str]:
        """Number of cells in each state, of one arm or of all."""
        return Counter(cell.state for cell in self.cells if arm in (None, cell.arm))

    @cached_property
    def waiting(self) -> list[str]:
        """Arms whose configuration a search has not chosen yet; they have no cells."""
        failed = {search.arm for search in self.searches if search.failure}
        return [arm.name for arm in self.arms if not arm.trials and arm.name not in failed]

    @cached_property
    def search_failures(self) -> list[str]:
        """Why searches that have ended have no result, a sentence each."""
        return [f"{one.failure[0].upper()}{one.failure[1:]}." for one in self.searches if one.failure]

    @property
    def alone(self) -> str:
        """The only arm of the sweep, or the only one with cells because a search has no result: it is best of nothing.

        Empty if there are others, or may be.
        """
        arms = [arm.name for arm in self.arms if arm.trials]
        single = len(self.arms) == 1 and not self.searches
        return arms[0] if len(arms) == 1 and (single or self.search_failures) else ""

    def tuned(self, arm: str) -> SearchState | None:
        """The search that chose an arm's configuration; None if the sweep file gives it."""
        spec = self.plan.get("search")
        if not spec:
            return None
        name = re.sub(r" #\d+$", "", arm) if spec["within_arms"] else spec["arms"][0]
        is_tuned = name in spec["arms"] if spec["within_arms"] else bool(re.fullmatch(r"tuned #\d+", arm))
        return next((search for search in self.searches if is_tuned and search.arm == name), None)

    def done(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.state == "done"]

    def values(self, arm: str, metric: str, epoch: int | None = None) -> dict[int, float]:
        """A metric of an arm by seed, at `epoch` or, by default, at the epoch that `report.at` selects.

        Missing and non-finite values are left out. `epoch` has no effect on an arm that does not train. Columns under
        `sys/`, which depend on the machine and the moment, give their median over the epochs.
        """
        rows = self._rows.get(arm)
        if rows is None or metric not in rows.columns:
            return {}
        if self.arm(arm).trains and epoch is not None:
            chosen = rows[rows[record_columns.EPOCH] == epoch]
        elif metric.startswith(record_columns.SYSTEM + "/"):
            chosen = rows.groupby("seed")[[metric]].median().reset_index()
        else:
            if arm not in self._reported:
                self._reported[arm] = self._chosen(rows)
            chosen = self._reported[arm]
        values = {int(seed): float(value) for seed, value in zip(chosen["seed"], chosen[metric], strict=True)}
        return {seed: value for seed, value in values.items() if np.isfinite(value)}

    def interval(self, arm: str, metric: str, epoch: int | None = None) -> intervals.Interval | None:
        """The report's statistic over seeds with its interval; None if no seed has a value.

        The interval of a detector covers the test photographs as well, if the trials stored the scores of images.
        """
        values = self.values(arm, metric, epoch)
        exact = self.arm(arm).exact
        if estimates := self._estimates(arm, metric, values):
            found = crossed.crossed_interval(estimates, exact=exact)
            if found is not None:
                return found
        if values and exact:
            return self._one_evaluation(metric, next(iter(values.values())))
        if self.statistic == "interquartile mean":
            return intervals.interquartile_mean(values.values())
        return self.of_seeds(metric, intervals.mean_interval(values.values()))

    def of_seeds(self, metric: str, interval: intervals.Interval | None) -> intervals.Interval | None:
        """An interval over seeds alone; none of a detector whose seeds all agree, as where no test image shows an
        error."""
        if interval is None or (interval.sd or 0.0) > _ROUNDING or not self._of_detectors(metric):
            return interval
        return intervals.Interval(interval.mean, interval.sd, None, None, interval.n)

    def _one_evaluation(self, metric: str, value: float) -> intervals.Interval:
        """A value without seeds and photographs; of a detector other photographs would give another one."""
        return intervals.exact_value(value, math.inf if self._of_detectors(metric) else 0.0)

    def _of_detectors(self, metric: str) -> bool:
        return self.plan.get("task") == "detect" and metric.startswith("test/")

    @cached_property
    def variation(self) -> str:
        """What intervals cover: 'seeds', or 'seeds and test photographs' of detectors."""
        found = self.interval(self.baseline, self.metrics[0])
        return "seeds and test photographs" if found and found.photographs else "seeds"

    def difference(
        self, a: str, b: str, metric: str, epoch: int | None = None, level: float = intervals.LEVEL
    ) -> intervals.Interval | None:
        """Interval of a - b paired by seed; exact if neither arm trains, None if no seed has both.

        Of detectors it covers the test photographs as well, see `interval`.
        """
        exact = self.arm(a).exact and self.arm(b).exact
        ours, theirs = (self._estimates(name, metric, self.values(name, metric, epoch)) for name in (a, b))
        if ours and theirs and (found := crossed.crossed_difference(ours, theirs, level, exact)):
            return found
        difference = intervals.mean_interval(self.differences(a, b, metric, epoch), level)
        if difference and exact:
            return self._one_evaluation(metric, difference.mean)
        return self.of_seeds(metric, difference)

    def gap(
        self, arm: str, a: str, b: str | float, level: float = intervals.LEVEL, over: str | None = None
    ) -> intervals.Interval | None:
        """Interval of column a - column b, or - a number, of a detector over seeds and photographs; None if unknown.

        over: another arm; the columns are then the shares gained of what that arm leaves to 1.
        """
        ours = self._gained(arm, a, over)
        if isinstance(b, str):
            theirs = self._gained(arm, b, over)
        else:
            theirs = {seed: crossed.constant(b, one) for seed, one in ours.items()}
        if not ours or not theirs:
            return None
        exact = self.arm(arm).exact and (over is None or self.arm(over).exact)
        return crossed.crossed_difference(ours, theirs, level, exact)

    def relative_gap(self, arm: str, a: str, b: str, level: float = intervals.LEVEL) -> intervals.Interval | None:
        """Interval of column a / column b - 1, as `gap`."""
        above, below = (self._estimates(arm, column, self.values(arm, column)) for column in (a, b))
        ratios = {seed: crossed.ratio(one, below[seed]) for seed, one in above.items() if seed in below}
        ours = {seed: one for seed, one in ratios.items() if one is not None}
        ones = {seed: crossed.constant(1.0, one) for seed, one in ours.items()}
        return crossed.crossed_difference(ours, ones, level, self.arm(arm).exact)

    def _gained(self, arm: str, metric: str, over: str | None) -> dict[int, crossed.SeedEstimate]:
        """A column of an arm by seed, or the share of the way from another arm to 1; empty if unknown."""
        ours = self._estimates(arm, metric, self.values(arm, metric))
        if over is None:
            return ours
        floor = self._estimates(over, metric, self.values(over, metric))
        shares = {seed: crossed.share_gained(one, floor[seed]) for seed, one in ours.items() if seed in floor}
        return {seed: one for seed, one in shares.items() if one is not None}

    def _estimates(self, arm: str, metric: str, values: Mapping[int, float]) -> dict[int, crossed.SeedEstimate]:
        """By seed; empty if the scores of single images are not known."""
        if not values or self.plan.get("task") != "detect" or self.statistic != "mean":
            return {}
        return self.image_scores.estimates(arm, metric, values)

    @cached_property
    def image_scores(self) -> ImageScores:
        """The scores of single test images that detectors have stored."""
        files = {
            arm.name: {
                seed: ScoresFile.of(trial, epochs, result)
                for seed, (trial, epochs) in arm.trials.items()
                if (result := self.results.get((trial, epochs), {})).get("attempt")
            }
            for arm in self.arms
        }
        return ImageScores(self.store, files)

    @cached_property
    def all_notes(self) -> tuple[str, ...]:
        """The notes, and a sentence on image scores that are damaged or missing, for which all of them are read."""
        detects = self.plan.get("task") == "detect"
        return (*self.notes, *(self.image_scores.notes() if detects else ()))

    def differences(self, a: str, b: str, metric: str, epoch: int | None = None) -> list[float]:
        """a - b for each shared seed, which gave both arms the same data order, masks and initialisation."""
        ours, theirs = self.values(a, metric, epoch), self.values(b, metric, epoch)
        return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]

    def epochs(self, arm: str, metric: str) -> list[int]:
        """Epochs at which an arm has values of a metric, in ascending order."""
        rows = self._rows.get(arm)
        if rows is None or metric not in rows.columns:
            return []
        known = rows[metric].notna().to_numpy()
        return sorted(set(rows[record_columns.EPOCH].to_numpy()[known].tolist()))

    def at_epoch(self) -> str:
        """The reported epoch of a trial, in words."""
        match = _BEST.match(self.plan["report"]["at"])
        return f"at the epoch of the best {wording.label(match['column'])}" if match else "after the last epoch"

    @cached_property
    def _rows(self) -> dict[str, pd.DataFrame]:
        return {str(arm): rows for arm, rows in self.records.groupby("arm", sort=False)}

    @cached_property
    def _reported(self) -> dict[str, pd.DataFrame]:
        """Cache of `_chosen` by arm."""
        return {}

    def _chosen(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The reported row of each seed: its last, or where the column of `report.at: best(column)` is best."""
        match = _BEST.match(self.plan["report"]["at"])
        column = match["column"] if match else ""
        last = rows.loc[rows.groupby("seed")[record_columns.EPOCH].idxmax()]
        if column not in rows.columns or rows[column].isna().all():
            return last
        known = rows[rows[column].notna()]
        seeds = known.groupby("seed")[column]
        best = known.loc[seeds.idxmin() if wording.better(column) == "min" else seeds.idxmax()]
        return pd.concat([best, last[~last["seed"].isin(best["seed"])]])


def _no_arm(name: str) -> StudyArm:
    raise KeyError(name)
