"""The effects of the factors of a grid without arms: one level instead of another, averaged over the other factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis import wording
from analysis.report import render
from analysis.report.paper import captions
from analysis.report.paper.paper_table import EFFECTS, PaperRow, PaperTable, difference_figure
from analysis.report.tables import Table
from analysis.statistics.intervals import mean_interval
from analysis.statistics.significance import Comparison, compare
from analysis.study import Study, StudyArm


@dataclass(frozen=True)
class Change:
    """One level of a factor instead of that of the baseline."""

    words: str
    """'lr=0.001 instead of lr=0.0003'."""
    pairs: Sequence[tuple[str, str]]
    """The arms of each combination of the other factors' levels: with this level, and with that of the baseline."""


def effects(study: Study, table: Table) -> PaperTable | None:
    """The effects in the metrics of the table; None unless the arms are a grid of two or more factors.

    An effect is the mean over the other factors' levels of the differences of two cells, paired by seed. The tests of
    one metric are one family.
    """
    chosen = changes(study)
    if chosen is None:
        return None
    rows = [PaperRow(change.words, []) for change in chosen]
    tests: list[Comparison] = []
    seeds: set[int] = set()
    for column in table.columns:
        found = [_differences(study, change, column.metric) for change in chosen]
        sign = wording.sign(column.metric) or 1
        known = [[sign * value for value in values] for values in found if values]
        compared = iter(compare(known, study.correction))
        made = [(mean_interval(values), next(compared) if values else None) for values in found]
        digits = wording.decimals(interval for interval, _ in made)
        tests += [test for _, test in made if test]
        seeds |= {len(values) for values in found if values}
        for row, (interval, test) in zip(rows, made, strict=True):
            row.figures.append(difference_figure(interval, test, digits, mixed=False))
    heads = [render.heading(column) for column in table.columns]
    return PaperTable(EFFECTS, "level", heads, rows, _notes(study, sorted(seeds), tests))


def changes(study: Study) -> list[Change] | None:
    """Each level of each factor against that of the baseline, where both are tested on the same images."""
    trained = [arm for arm in study.arms if arm.trains]
    if not study.pure_grid or len(study.arms[0].factors) < 2 or not trained:
        return None
    group = {name: number for number, names in enumerate(study.groups) for name in names}
    reference = study.arm(study.baseline).factors
    cells = {tuple(arm.factors.values()): arm for arm in trained}
    found = []
    for number, key in enumerate(reference):
        for level in dict.fromkeys(arm.factors[key] for arm in study.arms if arm.factors[key] != reference[key]):
            pairs = [
                (arm.name, other.name)
                for arm in trained
                if arm.factors[key] == level and (other := _at(cells, arm, number, reference[key]))
            ]
            if pairs and all(group[one] == group[other] for one, other in pairs):
                found.append(Change(f"{level} instead of {reference[key]}", pairs))
    return found or None


def _at(cells: dict[tuple[str, ...], StudyArm], arm: StudyArm, number: int, level: str) -> StudyArm | None:
    """The cell that has another level in one factor."""
    levels = list(arm.factors.values())
    levels[number] = level
    return cells.get(tuple(levels))


def _differences(study: Study, change: Change, metric: str) -> list[float]:
    """For each seed that all these cells have, the mean over the pairs of cells."""
    values = [(study.values(one, metric), study.values(other, metric)) for one, other in change.pairs]
    seeds = [seed for seed in study.seeds if all(seed in one and seed in other for one, other in values)]
    return [float(np.mean([one[seed] - other[seed] for one, other in values])) for seed in seeds]


def _notes(study: Study, seeds: Sequence[int], tests: Sequence[Comparison]) -> list[str]:
    first = (
        "One level of a factor instead of that of the baseline: differences of the cells, paired by seed and averaged "
        "over the levels of the other factors; mean over n seeds that all these cells have, with its 95 % interval."
    )
    numbers = [f"n = {wording.listing(map(str, seeds))}."] if seeds else []
    left_out = []
    if any(not arm.trains for arm in study.arms):
        left_out.append(f"{study.untrained.capitalize()} are left out.")
    if len(study.groups) > 1:
        left_out.append("Levels that are tested on different images or masks are not compared.")
    return [
        first,
        *numbers,
        *captions.on_tests(study, tests, "differs from zero"),
        *left_out,
        *captions.on_protocol(study),
    ]
