"""Compares two sweeps, or one sweep in two stores (two versions of the code), and reports differences beyond noise.

Arms are matched by name and seeds by number. A difference, paired by seed, counts as drift if its simultaneous interval
(Bonferroni over all comparisons) excludes zero. Values that are equal to the last bit are reported as the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from analysis import wording
from analysis.statistics.intervals import Interval, mean_interval, simultaneous_level
from analysis.study import Study
from sweeps.errors import SweepError
from sweeps.protocols import results as protocol_results
from sweeps.results import columns as record_columns

if TYPE_CHECKING:
    import rich.table

History = Mapping[str, Sequence[float | None]]
"""A trial's records as columns; see `sweeps.store.layout`."""
SAME, NOISE, DRIFT, OPEN = "same numbers", "within noise", "drift", "too few seeds"
_SHOWN = 4
"""Number of columns that a change of a trial's records names."""
_SMALL = 1e-3
"""Values below this count as this large when a difference is compared with a tolerance."""
_STYLES = {SAME: "green", NOISE: "", DRIFT: "bold red", OPEN: "dim"}


@dataclass(frozen=True)
class ComparedArm:
    """One arm in one metric."""

    arm: str
    metric: str
    before: Interval | None
    after: Interval | None
    difference: Interval | None
    """After minus before, over the shared seeds."""
    verdict: str
    """`SAME`, `NOISE`, `DRIFT` or `OPEN`."""


def shared_metrics(before: Study, after: Study) -> list[str]:
    """The metrics that the reports of both have."""
    return [metric for metric in before.metrics if metric in after.metrics]


def rated_differently(before: Study, after: Study, mix: bool) -> list[str]:
    """What the protocols and the rated images of two sweeps differ in, if columns of a protocol are compared.

    SweepError, which names the fields, unless `mix`.
    """
    names = (before.name, after.name)
    if before.name == after.name:
        names = (f"{before.name} of {before.store.uri}", f"{after.name} of {after.store.uri}")
    results = (before.results.values(), after.results.values())
    metrics = shared_metrics(before, after)
    return protocol_results.mixed(names, (before.protocol, after.protocol), results, metrics, mix)


def compare(before: Study, after: Study) -> list[ComparedArm]:
    """Compare all shared arms in all shared metrics. Raises SweepError if there are none."""
    arms = [name for name in before.names if name in after.names]
    metrics = shared_metrics(before, after)
    if not arms or not metrics:
        raise SweepError(
            f"{before.name} and {after.name}",
            f"the two sweeps have no {'arm' if not arms else 'metric'} in common",
            f"arms of the first: {', '.join(before.names)}; of the second: {', '.join(after.names)}",
            "sweeps compare, with two sweeps that have arms and metrics of the same names",
        )
    level = simultaneous_level(len(arms) * len(metrics))
    return [_line(before, after, arm, metric, level) for metric in metrics for arm in arms]


def _line(before: Study, after: Study, arm: str, metric: str, level: float) -> ComparedArm:
    old, new = before.values(arm, metric), after.values(arm, metric)
    shared = [new[seed] - old[seed] for seed in new if seed in old]
    difference = mean_interval(shared, level)
    if not shared or difference is None:
        verdict = OPEN
    elif not any(shared):
        verdict = SAME
    elif before.arm(arm).exact and after.arm(arm).exact:
        verdict = DRIFT  # there is no noise
    else:
        verdict = OPEN if difference.bounds is None else NOISE if difference.contains(0.0) else DRIFT
    return ComparedArm(arm, metric, before.interval(arm, metric), after.interval(arm, metric), difference, verdict)


@dataclass(frozen=True)
class ColumnChange:
    """How one column of a trial's records changed when the trial ran again."""

    column: str
    epoch: int
    """First epoch with a difference."""
    largest: float
    """Largest absolute difference, in the unit of the column."""
    relative: float
    """The largest difference as a share of the larger of the two values; infinite if only one run has a value."""


@dataclass(frozen=True)
class HistoryChange:
    """How the records of a trial changed when it ran again."""

    columns: tuple[ColumnChange, ...]
    """The columns that differ, the largest relative difference first."""

    def exceeds(self, tolerance: float) -> bool:
        """Whether a column differs by more than rounding. tolerance: largest relative difference by rounding."""
        return any(one.relative > tolerance and one.largest > tolerance * _SMALL for one in self.columns)

    def __str__(self) -> str:
        shown = [f"{one.column} by {one.largest:.2g} ({_percent(one.relative)})" for one in self.columns[:_SHOWN]]
        more = f" and {len(self.columns) - _SHOWN} more columns" if len(self.columns) > _SHOWN else ""
        return f"differs from epoch {min(one.epoch for one in self.columns)} on, at most: {', '.join(shown)}{more}"


def _percent(share: float) -> str:
    return "a value in one run only" if math.isinf(share) else f"{100 * share:.2g} %"


def history_change(before: History, after: History) -> HistoryChange | None:
    """The differences between two histories of one trial, without `sys/` columns; None if they are equal."""
    epochs = before[record_columns.EPOCH]
    found: list[ColumnChange] = []
    for name in dict.fromkeys([*before, *after]):
        if name.startswith(f"{record_columns.SYSTEM}/"):
            continue
        pairs = list(zip_longest(before.get(name, ()), after.get(name, ())))
        rows = [row for row, (old, new) in enumerate(pairs) if old != new]
        if rows:
            gaps = [_gap_of(*pairs[row]) for row in rows]
            epoch = int(epochs[rows[0]] or 0) if rows[0] < len(epochs) else len(epochs)
            found.append(ColumnChange(name, epoch, max(gap for gap, _ in gaps), max(share for _, share in gaps)))
    return HistoryChange(tuple(sorted(found, key=lambda one: -one.relative))) if found else None


def _gap_of(old: float | None, new: float | None) -> tuple[float, float]:
    """(absolute difference, its share of the larger value)"""
    if old is None or new is None:
        return abs(old or new or 0.0), math.inf
    return abs(old - new), abs(old - new) / max(abs(old), abs(new))


def unmatched_arms(before: Study, after: Study) -> list[str]:
    """Sentences on arms that only one of the two sweeps has."""
    sentences = []
    for study, other in ((before, after), (after, before)):
        if only := [wording.quoted(name) for name in study.names if name not in other.names]:
            sentences.append(f"Only {study.name} of {study.store.uri} has {wording.listing(only)}.")
    return sentences


def terminal(lines: list[ComparedArm]) -> rich.table.Table:
    """The table for a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drifted = sum(line.verdict == DRIFT for line in lines)
    caption = f"{drifted} of {len(lines)} drifted, by simultaneous 95 % intervals of paired differences."
    table = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left")
    table.add_column("arm", overflow="fold")
    for name in ("before", "after", "difference"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    last = ""
    for line in lines:
        if line.metric != last:
            table.add_row(Text(wording.label(line.metric), style="bold underline"))
            last = line.metric
        table.add_row(
            Text(line.arm), _mean(line.before), _mean(line.after), _gap(line), Text(line.verdict, _STYLES[line.verdict])
        )
    return table


def _mean(interval: Interval | None) -> str:
    return "–" if interval is None else f"{wording.plus_minus(interval)} ({wording.evidence(interval)})"


def _gap(line: ComparedArm) -> str:
    if line.difference is None:
        return "–"
    digits = wording.decimals([line.difference])
    size = wording.fixed(line.difference.mean, digits, plus=True)
    return f"{size} {wording.brackets(line.difference, digits, plus=True)}".rstrip()
