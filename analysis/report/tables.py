"""The one table of a study as data: an arm a row; for each metric ours, what was published, and the difference.

`analysis.report.render` turns it into text; nothing is computed there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from analysis import wording
from analysis.claims import published
from analysis.report.sections import details, searches
from analysis.statistics.intervals import BOOTSTRAP_FROM, Interval, simultaneous
from analysis.statistics.significance import ALPHA, Comparison, Correction, compare, seeds_needed
from analysis.study import Study

BEST, TIED = "best", "tied"
_CORRECTIONS: dict[Correction, str] = {
    "holm": "Holm's correction",
    "benjamini-hochberg": "Benjamini and Hochberg's correction, which bounds the share of false stars,",
}


@dataclass(frozen=True)
class Entry:
    """One arm in one metric. mark: `BEST`, `TIED` or ''. notes: numbers of the footnotes of the published figures.

    difference: to the arm's baseline; comparison: what it is worth in the family of its column, None where it is exact.
    """

    ours: Interval | None
    mark: str
    published: tuple[published.Figure, ...]
    notes: tuple[int, ...]
    difference: Interval | None
    comparison: Comparison | None = None


@dataclass(frozen=True)
class Column:
    """One metric. digits: decimals of ours, difference_digits: of the difference; theirs: whether any was published."""

    metric: str
    digits: int
    difference_digits: int
    theirs: bool


@dataclass(frozen=True)
class Row:
    """One arm. states: how many of its cells are in which state."""

    arm: str
    trains: bool
    baseline: bool
    states: Counter[str]
    entries: dict[str, Entry]


@dataclass(frozen=True)
class Table:
    """caption: sentences that a reader needs to read the figures; footnotes: numbered from 1."""

    columns: list[Column]
    rows: list[Row]
    caption: list[str]
    footnotes: list[str]


def build(study: Study) -> Table:
    """The table of a study in its report's metrics; arms without a finished trial keep their row, empty."""
    footnotes: list[str] = []
    by_metric = {metric: _entries(study, metric, footnotes) for metric in study.metrics}
    rows = [
        Row(
            arm.name,
            arm.trains,
            arm.name == arm.baseline,
            study.states(arm.name),
            {metric: entries[arm.name] for metric, entries in by_metric.items()},
        )
        for arm in study.arms
    ]
    columns = [_column(metric, list(entries.values())) for metric, entries in by_metric.items()]
    return Table(columns, rows, _caption(study, rows), footnotes)


def _column(metric: str, entries: list[Entry]) -> Column:
    return Column(
        metric,
        wording.decimals(entry.ours for entry in entries),
        wording.decimals(entry.difference for entry in entries),
        any(entry.published for entry in entries),
    )


def _entries(study: Study, metric: str, footnotes: list[str]) -> dict[str, Entry]:
    marks = {name: mark for group in study.groups for name, mark in best_arms(study, metric, group).items()}
    compared = _compared(study, metric)
    entries = {}
    for arm in study.arms:
        reference = study.plan["report"].get("published")
        figures = published.lookup(reference, arm.published, metric) if reference and arm.published else []
        notes = [note for figure in figures for note in _notes(figure)]
        entries[arm.name] = Entry(
            study.interval(arm.name, metric),
            marks.get(arm.name, ""),
            tuple(figures),
            tuple(dict.fromkeys(_number(footnotes, note) for note in notes)),
            None if arm.name == arm.baseline else study.difference(arm.name, arm.baseline, metric),
            compared.get(arm.name),
        )
    return entries


def _compared(study: Study, metric: str) -> dict[str, Comparison]:
    """Each arm against its baseline, as the family of one metric; positive differences are in the arm's favour."""
    sign = wording.sign(metric) or 1
    pairs = {
        arm.name: [sign * difference for difference in study.differences(arm.name, arm.baseline, metric)]
        for arm in study.arms
        if arm.name != arm.baseline and (arm.trains or study.arm(arm.baseline).trains)
    }
    pairs = {name: found for name, found in pairs.items() if found}
    return dict(zip(pairs, compare(list(pairs.values()), study.correction), strict=True))


def best_arms(study: Study, metric: str, arms: list[str]) -> dict[str, str]:
    """Of `arms` that of the best mean (`BEST`) and those that cannot be told apart from it (`TIED`), in their order.

    Those are the arms whose difference to the best, paired by seed, has an interval that includes zero, or none: 95 %
    intervals that hold together for every pair of arms, since the data say which one is the best.
    """
    means = {name: interval.mean for name in arms if (interval := study.interval(name, metric))}
    if not means or not (sign := wording.sign(metric)):
        return {}
    best = max(means, key=lambda name: sign * means[name])
    marks, level = {}, simultaneous(len(means) * (len(means) - 1) // 2)
    for name in means:
        difference = study.difference(best, name, metric, level=level)
        if name == best:
            marks[name] = BEST
        elif difference is None or difference.may_be(0.0):
            marks[name] = TIED
    return marks


def _notes(figure: published.Figure) -> list[str]:
    when = [] if figure.epoch is None else [f"published after epoch {figure.epoch}"]
    where = [] if figure.split != "unlabelled" else ["the document does not say which split this is"]
    notes = [*figure.notes, *([figure.conversion] if figure.conversion else []), *when, *where]
    return [note[0].upper() + note[1:] + "." for note in notes]


def _number(footnotes: list[str], note: str) -> int:
    if note not in footnotes:
        footnotes.append(note)
    return footnotes.index(note) + 1


def _caption(study: Study, rows: list[Row]) -> list[str]:
    """How to read the table, and what is missing from it."""
    baselines = {arm.baseline for arm in study.arms}
    reference = wording.quoted(study.baseline) if len(baselines) == 1 else "the baseline of the same level"
    best = "best mean" + (" among arms with the same data and masks" if len(study.groups) > 1 else "")
    method = "Student's t" if len(study.seeds) < BOOTSTRAP_FROM else "BCa bootstrap"
    method = method if study.statistic == "mean" else "percentile bootstrap"
    caption = [
        f"{study.statistic.capitalize()} ± half-width of the 95 % interval over seeds ({method}), n seeds, "
        f"{study.at_words()}.",
        f"Differences are to {reference}, paired by seed, with their 95 % interval and n pairs.",
        f"● {best}; ○ cannot be told apart from it: the interval of their difference (95 % for all pairs of arms "
        "together) includes zero, or there are too few pairs for one.",
        *_on_tests(rows, _CORRECTIONS[study.correction]),
    ]
    if any(not row.trains for row in rows):
        caption.append("Exact: the arm has no parameters; one evaluation serves all seeds, so it has no interval.")
    if len(study.seeds) == 1:
        caption.append("One seed: there is no interval, and nothing can be told apart.")
    states = study.states()
    caption += searches.caption(study)
    caption += details.versions_of_code(study)
    missing = [f"{states[state]} {state}" for state in ("running", "failed", "interrupted", "queued") if states[state]]
    if missing:
        caption.append(f"Of {sum(states.values())} cells {wording.listing(missing)}: their figures are missing here.")
    return caption


def _on_tests(rows: list[Row], correction: str) -> list[str]:
    """What a star means, and how many pairs one would take."""
    found = [entry.comparison for row in rows for entry in row.entries.values() if entry.comparison]
    if not found:
        return []
    family = max(one.family for one in found)
    words = [
        f"* differs from the baseline (sign-flip test, p at most {ALPHA:g} after {correction} for the "
        f"{wording.count(family, 'comparison')} of a metric)."
    ]
    if any(one.underpowered for one in found):
        words.append(
            f"Underpowered: with so few pairs no difference could get a star; {seeds_needed(family)} seeds would do."
        )
    return words
