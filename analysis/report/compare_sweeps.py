"""Compares two sweeps, or one sweep in two stores (two versions of the code), and reports differences beyond noise.

Arms are matched by name and seeds by number. A difference, paired by seed, counts as drift if its simultaneous interval
(Bonferroni over all comparisons) excludes zero. Values that are equal to the last bit are reported as the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis import wording
from analysis.statistics.intervals import Interval, mean_interval, simultaneous_level
from analysis.study import Study
from sweeps.errors import SweepError
from sweeps.results import columns as record_columns

if TYPE_CHECKING:
    import rich.table

History = Mapping[str, Sequence[float | None]]
"""A trial's records as columns; see `sweeps.store.layout`."""
SAME, NOISE, DRIFT, OPEN = "same numbers", "within noise", "drift", "too few seeds"
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


def compare(before: Study, after: Study) -> list[ComparedArm]:
    """Compare all shared arms in all shared metrics. Raises SweepError if there are none."""
    arms = [name for name in before.names if name in after.names]
    metrics = [metric for metric in before.metrics if metric in after.metrics]
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
    elif not (before.arm(arm).trains or after.arm(arm).trains):
        verdict = DRIFT  # arms without training are deterministic: there is no noise
    else:
        verdict = OPEN if difference.bounds is None else NOISE if difference.contains(0.0) else DRIFT
    return ComparedArm(arm, metric, before.interval(arm, metric), after.interval(arm, metric), difference, verdict)


@dataclass(frozen=True)
class HistoryChange:
    """How the records of a trial changed when it ran again."""

    columns: list[str]
    """The columns that differ."""
    epoch: int
    """First epoch with a difference."""
    largest: float
    """Largest absolute difference."""

    def __str__(self) -> str:
        named = wording.listing(self.columns[:4]) + (" and more" if len(self.columns) > 4 else "")
        return f"differs from epoch {self.epoch} on, by {self.largest:.2g} at most, in {named}"


def history_change(before: History, after: History) -> HistoryChange | None:
    """The differences between two histories of one trial, without `sys/` columns; None if they are equal."""
    epochs = before[record_columns.EPOCH]
    found: dict[str, tuple[int, float]] = {}
    for name in dict.fromkeys([*before, *after]):
        if name.startswith(f"{record_columns.SYSTEM}/"):
            continue
        old, new = before.get(name, [None] * len(epochs)), after.get(name, [None] * len(epochs))
        rows = [row for row, (x, y) in enumerate(zip(old, new, strict=False)) if x != y]
        if rows or len(old) != len(new):
            gaps = [abs((old[row] or 0.0) - (new[row] or 0.0)) for row in rows]
            found[name] = (int(epochs[rows[0]] or 0) if rows else len(epochs), max(gaps, default=0.0))
    if not found:
        return None
    return HistoryChange(list(found), min(epoch for epoch, _ in found.values()), max(gap for _, gap in found.values()))


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
