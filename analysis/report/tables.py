"""The main table of a study as data: a row per arm; for each metric our result, the published one, and the difference.

`analysis.report.render` turns it into text and computes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis import wording
from analysis.claims import published
from analysis.detection import box_baseline
from analysis.report.paper import captions
from analysis.report.paper.published_notes import PublishedNotes, full_notes
from analysis.report.paper.shape import Shape, check_columns
from analysis.statistics.intervals import Interval, satterthwaite_p, simultaneous_level
from analysis.statistics.significance import Comparison, compare
from analysis.study import Study, StudyArm

BEST, TIED = "best", "tied"


@dataclass(frozen=True)
class TableEntry:
    """One arm in one metric."""

    ours: Interval | None
    mark: str
    """`BEST`, `TIED` or ''."""
    published: tuple[published.PublishedFigure, ...]
    notes: tuple[int, ...]
    """Numbers of the footnotes of the published values, at most `published_notes.MOST`."""
    difference: Interval | None
    """The arm minus its baseline."""
    comparison: Comparison | None = None
    """The test of the difference in the family of its column; None if the difference is exact."""

    @property
    def published_notes(self) -> str:
        """All that is said of the published values, for a file without footnotes."""
        return " ".join(dict.fromkeys(note for figure in self.published for note in full_notes(figure)))


@dataclass(frozen=True)
class Column:
    """One metric."""

    metric: str
    digits: int
    """Decimals of our results."""
    difference_digits: int
    """Decimals of the differences."""
    theirs: bool
    """Whether a value was published for any arm."""


@dataclass(frozen=True)
class Row:
    """One arm."""

    arm: str
    trains: bool
    baseline: bool
    """Whether the arm is its own baseline."""
    states: Counter[str]
    """Number of its cells in each state."""
    entries: dict[str, TableEntry]
    """By metric."""
    exact: bool
    """Whether one evaluation serves every seed."""
    kind: str
    """What an arm is that the study does not train; '' for others."""
    waits: bool = False
    """Whether the arm has no cells yet because its search has not ended."""


@dataclass(frozen=True)
class Table:
    """The main table of a study."""

    columns: list[Column]
    rows: list[Row]
    on_results: list[str]
    """Sentences that explain how to read the results, and which of them are missing."""
    on_differences: list[str]
    """Sentences that explain how to read the differences."""
    footnotes: list[str]
    """Notes on published values, numbered from 1."""
    shape: Shape = field(default_factory=Shape)
    protocol: Mapping[str, Any] | None = None
    """What rated the columns `_on_protocol`: name, hash and more; None without a protocol."""
    lead: tuple[str, ...] = ()
    """Sentences for above the results."""


def build(study: Study, shape: Shape | None = None) -> Table:
    """The table of a study in its report's metrics; arms without finished trials have empty rows.

    shape: the metrics of the table and how it is laid out. Raises SweepError for metrics that no finished trial has.
    """
    shape = shape or Shape()
    metrics = check_columns(study, shape)
    reference = study.plan["report"].get("published")
    figures = {
        (arm.name, metric): published.lookup(reference, arm.published, metric) if reference and arm.published else []
        for arm in study.arms
        for metric in metrics
    }
    notes = PublishedNotes(figures)
    by_metric = {metric: _entries(study, metric, figures, notes) for metric in metrics}
    rows = [
        Row(
            arm.name,
            arm.trains,
            arm.name == arm.baseline,
            study.states(arm.name),
            {metric: entries[arm.name] for metric, entries in by_metric.items()},
            arm.exact,
            "" if arm.trains else "output of another program" if arm.outputs else "no training",
            waits=arm.name in study.waiting,
        )
        for arm in study.arms
    ]
    columns = [_column(metric, list(entries.values())) for metric, entries in by_metric.items()]
    exact = [row.kind for row in rows if row.exact]
    tests = [entry.comparison for row in rows for entry in row.entries.values() if entry.comparison]
    by_seed = [row.arm for row in rows if row.kind and not row.exact]
    found = {metric: {name: entry.ours for name, entry in entries.items()} for metric, entries in by_metric.items()}
    on_results = captions.on_results(study, shape, exact, by_seed, found) + notes.sentences
    covered = any(entry.difference.photographs for row in rows for entry in row.entries.values() if entry.difference)
    on_differences = captions.on_differences(study, tests, covered)
    lead = tuple(box_baseline.sentences(study, metrics))
    return Table(columns, rows, on_results, on_differences, notes.footnotes, shape, study.protocol, lead)


def _column(metric: str, entries: list[TableEntry]) -> Column:
    return Column(
        metric,
        wording.decimals(entry.ours for entry in entries),
        wording.decimals(entry.difference for entry in entries),
        any(entry.published for entry in entries),
    )


def _entries(
    study: Study,
    metric: str,
    figures: Mapping[tuple[str, str], list[published.PublishedFigure]],
    notes: PublishedNotes,
) -> dict[str, TableEntry]:
    groups = study.groups_in(metric)
    compared_with_others = [group for group in groups if len(group) > 1 or len(groups) == 1]
    marks = {name: mark for group in compared_with_others for name, mark in best_arms(study, metric, group).items()}
    compared = _compared(study, metric)
    return {
        arm.name: TableEntry(
            study.interval(arm.name, metric),
            marks.get(arm.name, ""),
            tuple(figures[arm.name, metric]),
            notes.numbers.get((arm.name, metric), ()),
            _to_baseline(study, arm, metric),
            compared.get(arm.name),
        )
        for arm in study.arms
    }


def _to_baseline(study: Study, arm: StudyArm, metric: str) -> Interval | None:
    """The difference of an arm to its baseline; None if it is the baseline, or was rated on different images."""
    if arm.name == arm.baseline or not study.rated_alike(arm.name, arm.baseline, metric):
        return None
    return study.difference(arm.name, arm.baseline, metric)


def _compared(study: Study, metric: str) -> dict[str, Comparison]:
    """Tests of each arm against its baseline, the family of one metric; positive differences favour the arm."""
    sign = wording.sign(metric) or 1
    pairs, of_both, exact = {}, {}, []
    for arm in study.arms:
        gap = _to_baseline(study, arm, metric)
        if gap is None or (gap.exact and not gap.photographs):
            continue
        pairs[arm.name] = [sign * difference for difference in study.differences(arm.name, arm.baseline, metric)]
        of_both[arm.name] = satterthwaite_p(gap) if gap.photographs else None
        exact.append(gap.exact)
    tests = compare(list(pairs.values()), study.correction, list(of_both.values()), exact)
    return dict(zip(pairs, tests, strict=True))


def best_arms(study: Study, metric: str, arms: list[str]) -> dict[str, str]:
    """Mark the arm with the best mean (`BEST`) and the arms that are not distinguishable from it (`TIED`).

    An arm is tied if the interval of its difference from the best, paired by seed, includes zero or does not exist. The
    95 % intervals are simultaneous for all pairs of arms, because the data decide which arm is the best. An arm that is
    alone is not marked.
    """
    if study.alone:
        return {}
    means = {name: interval.mean for name in arms if (interval := study.interval(name, metric))}
    if not means or not (sign := wording.sign(metric)):
        return {}
    best = max(means, key=lambda name: sign * means[name])
    marks, level = {}, simultaneous_level(len(means) * (len(means) - 1) // 2)
    for name in means:
        difference = study.difference(best, name, metric, level=level)
        if name == best:
            marks[name] = BEST
        elif difference is None or difference.contains(0.0):
            marks[name] = TIED
    return marks


def best_arm(marks: Mapping[str, str]) -> str:
    """The arm that `best_arms` marks as the best one; '' if it marks none."""
    return next((name for name, mark in marks.items() if mark == BEST), "")
