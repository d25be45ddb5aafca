"""The main table of a study as data: a row per arm; for each metric our result, the published one, and the difference.

`analysis.report.render` turns it into text and computes nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from analysis import wording
from analysis.claims import published
from analysis.report.sections import details, searches
from analysis.statistics.intervals import BOOTSTRAP_FROM, Interval, simultaneous_level
from analysis.statistics.significance import ALPHA, Comparison, Correction, compare, seeds_needed
from analysis.study import Study

BEST, TIED = "best", "tied"
_CORRECTIONS: dict[Correction, str] = {
    "holm": "Holm-adjusted p",
    "benjamini-hochberg": "Benjamini-Hochberg-adjusted p, which bounds the expected share of false stars,",
}


@dataclass(frozen=True)
class TableEntry:
    """One arm in one metric."""

    ours: Interval | None
    mark: str
    """`BEST`, `TIED` or ''."""
    published: tuple[published.PublishedFigure, ...]
    notes: tuple[int, ...]
    """Numbers of the footnotes of the published values."""
    difference: Interval | None
    """The arm minus its baseline."""
    comparison: Comparison | None = None
    """The test of the difference in the family of its column; None if the difference is exact."""


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
    caption: list[str]
    """Sentences that explain how to read the table."""
    footnotes: list[str]
    """Numbered from 1."""


def build(study: Study) -> Table:
    """The table of a study in its report's metrics; arms without finished trials have empty rows."""
    footnotes: list[str] = []
    by_metric = {metric: _entries(study, metric, footnotes) for metric in study.metrics}
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
    return Table(columns, rows, _caption(study, rows), footnotes)


def _column(metric: str, entries: list[TableEntry]) -> Column:
    return Column(
        metric,
        wording.decimals(entry.ours for entry in entries),
        wording.decimals(entry.difference for entry in entries),
        any(entry.published for entry in entries),
    )


def _entries(study: Study, metric: str, footnotes: list[str]) -> dict[str, TableEntry]:
    marks = {name: mark for group in study.groups for name, mark in best_arms(study, metric, group).items()}
    compared = _compared(study, metric)
    entries = {}
    for arm in study.arms:
        reference = study.plan["report"].get("published")
        figures = published.lookup(reference, arm.published, metric) if reference and arm.published else []
        notes = [note for figure in figures for note in _notes(figure)]
        entries[arm.name] = TableEntry(
            study.interval(arm.name, metric),
            marks.get(arm.name, ""),
            tuple(figures),
            tuple(dict.fromkeys(_number(footnotes, note) for note in notes)),
            None if arm.name == arm.baseline else study.difference(arm.name, arm.baseline, metric),
            compared.get(arm.name),
        )
    return entries


def _compared(study: Study, metric: str) -> dict[str, Comparison]:
    """Tests of each arm against its baseline, the family of one metric; positive differences favour the arm."""
    sign = wording.sign(metric) or 1
    pairs = {
        arm.name: [sign * difference for difference in study.differences(arm.name, arm.baseline, metric)]
        for arm in study.arms
        if arm.name != arm.baseline and not (arm.exact and study.arm(arm.baseline).exact)
    }
    pairs = {name: differences for name, differences in pairs.items() if differences}
    return dict(zip(pairs, compare(list(pairs.values()), study.correction), strict=True))


def best_arms(study: Study, metric: str, arms: list[str]) -> dict[str, str]:
    """Mark the arm with the best mean (`BEST`) and the arms that are not distinguishable from it (`TIED`).

    An arm is tied if the interval of its difference from the best, paired by seed, includes zero or does not exist. The
    95 % intervals are simultaneous for all pairs of arms, because the data decide which arm is the best. An arm that is
    alone because a search has no result is not marked.
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


def _notes(figure: published.PublishedFigure) -> list[str]:
    when = [] if figure.epoch is None else [f"published after epoch {figure.epoch}"]
    where = [] if figure.split != "unlabelled" else ["the document does not state the split"]
    notes = [*figure.notes, *([figure.conversion] if figure.conversion else []), *when, *where]
    return [note[0].upper() + note[1:] + "." for note in notes]


def _number(footnotes: list[str], note: str) -> int:
    if note not in footnotes:
        footnotes.append(note)
    return footnotes.index(note) + 1


def _caption(study: Study, rows: list[Row]) -> list[str]:
    """How to read the table, and which results are missing from it."""
    baselines = {arm.baseline for arm in study.arms}
    reference = wording.quoted(study.baseline) if len(baselines) == 1 else "the baseline of the same level"
    best = "best mean" + (" among arms with the same data and masks" if len(study.groups) > 1 else "")
    method = "Student's t" if len(study.seeds) < BOOTSTRAP_FROM else "BCa bootstrap"
    method = method if study.statistic == "mean" else "percentile bootstrap"
    caption = [
        f"{study.statistic.capitalize()} over n seeds ± half-width of its 95 % interval ({method}), "
        f"{study.at_epoch()}.",
        f"Differences from {reference} are paired by seed: mean over n pairs with its 95 % interval.",
        f"● {best}; ○ not distinguishable from it: the interval of the paired difference (95 %, simultaneous for all "
        "pairs of arms) includes zero, or there are too few pairs for an interval.",
        *_on_tests(rows, _CORRECTIONS[study.correction]),
    ]
    if exact := [row for row in rows if row.exact]:
        folder = ", or is one folder of another program's output" if any("program" in row.kind for row in exact) else ""
        caption.append(
            f"Exact: the arm has no parameters{folder}; one evaluation serves all seeds, so there is no interval."
        )
    if any(row.kind and not row.exact for row in rows):
        seeds = wording.listing(wording.quoted(row.arm) for row in rows if row.kind and not row.exact)
        caption.append(f"Not trained here: {seeds}, the output of another program for each seed.")
    if len(study.seeds) == 1:
        caption.append("One seed: there are no intervals, and arms cannot be distinguished.")
    caption += details.few_test_images(study)
    caption += details.unexpected_holes(study)
    states = study.states()
    caption += searches.caption(study)
    caption += details.versions_of_code(study)
    caption += study.notes
    missing = [
        f"{states[state]} {state}"
        for state in ("running", "failed", "interrupted", "damaged", "queued")
        if states[state]
    ]
    if missing:
        caption.append(f"Not in this table: {wording.listing(missing)} of {sum(states.values())} cells.")
    return caption


def _on_tests(rows: list[Row], correction: str) -> list[str]:
    """What a star means, and how many seeds a significant difference needs."""
    tests = [entry.comparison for row in rows for entry in row.entries.values() if entry.comparison]
    if not tests:
        return []
    family = max(test.family for test in tests)
    words = [
        f"* differs from the baseline (sign-flip test, {correction} at most {ALPHA:g} for the "
        f"{wording.count(family, 'comparison')} of a metric)."
    ]
    if any(test.underpowered for test in tests):
        needed = wording.count(seeds_needed(family), "seed")
        words.append(f"Underpowered: with so few pairs no difference can be significant; that needs {needed}.")
    return words
