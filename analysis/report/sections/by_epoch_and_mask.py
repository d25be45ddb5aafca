"""One metric in several columns: at the epochs at which its document tells figures, or under several test masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analysis import wording
from analysis.claims import published
from analysis.statistics.intervals import Interval
from analysis.study import Study
from sweeps.results import columns as record_columns

Cell = tuple[Interval | None, str]
"""Ours, and the published figures (converted; '' where there are none)."""


@dataclass(frozen=True)
class ColumnTable:
    """One metric. headings: of its columns; rows: for each arm a cell a column."""

    metric: str
    headings: list[str]
    rows: Mapping[str, list[Cell]]

    @property
    def digits(self) -> int:
        return wording.decimals(interval for row in self.rows.values() for interval, _ in row)


# --- by epoch ---------------------------------------------------------------------------------------------------------


def by_epoch(study: Study) -> list[ColumnTable]:
    """A table for each metric that was tested at several epochs and published, else for the report's first one."""
    chosen = [metric for metric in study.metrics if _theirs(study, metric)] or study.metrics[:1]
    return [table for metric in chosen if (table := _table(study, metric))]


def _table(study: Study, metric: str) -> ColumnTable | None:
    known = {epoch for arm in study.arms if arm.trains for epoch in study.epochs(arm.name, metric)}
    epochs = sorted(known & {*study.plan["report"]["test_epochs"], *_last(study)})
    if len(epochs) < 2:
        return None
    theirs = _beside(study, epochs, _theirs(study, metric))
    rows = {
        arm.name: [
            (study.interval(arm.name, metric, epoch), _published(study, arm.published, metric, their))
            for epoch, their in zip(epochs, theirs, strict=True)
        ]
        for arm in study.arms
        if arm.trains
    }
    return ColumnTable(metric, [_heading(*pair) for pair in zip(epochs, theirs, strict=True)], rows)


def _heading(ours: int, theirs: int | None) -> str:
    """'epoch 15', or 'epoch 15 (published: 100)' for a run that is shorter than the document's."""
    return f"epoch {ours}" + (f" (published: {theirs})" if theirs not in (None, ours) else "")


def _last(study: Study) -> set[int]:
    return {epochs for arm in study.arms if arm.trains for _, epochs in arm.trials.values()}


def _theirs(study: Study, metric: str) -> list[int]:
    """The epochs at which the document tells a metric of any arm, in their order."""
    reference = study.plan["report"].get("published")
    if not reference:
        return []
    found = {
        epoch for arm in study.arms if arm.published for epoch in published.epochs(reference, arm.published, metric)
    }
    return sorted(found)


def _beside(study: Study, epochs: list[int], theirs: list[int]) -> list[int | None]:
    """The document's epoch for each of ours: the same one, or the same share of a run that was made shorter."""
    before, after = study.plan.get("epochs_scaled") or (1, 1)
    found: list[int | None] = []
    for epoch in epochs:
        wanted = epoch * before / after
        nearest = min(theirs, key=lambda other: abs(other - wanted), default=None)
        close = nearest is not None and abs(nearest - wanted) <= before / after
        found.append(nearest if close else None)
    return found


def _published(study: Study, variant: str | None, metric: str, epoch: int | None) -> str:
    if variant is None or epoch is None:
        return ""
    figures = published.lookup(study.plan["report"]["published"], variant, metric, epoch)
    return " / ".join(figure.text for figure in figures if figure.epoch == epoch)


# --- by test mask -----------------------------------------------------------------------------------------------------


def by_mask(study: Study) -> list[ColumnTable]:
    """A table for each metric that the report tells under two or more of the sweep's `test_masks`: rows are arms."""
    labels: dict[str, list[str]] = {}
    for column in study.metrics:
        if found := record_columns.under_mask(column):
            labels.setdefault(found[0], []).append(found[1])
    return [
        ColumnTable(metric, [f"on {label}" for label in found], _under(study, metric, found))
        for metric, found in labels.items()
        if len(found) > 1
    ]


def _under(study: Study, metric: str, labels: list[str]) -> dict[str, list[Cell]]:
    rows = {name: [study.interval(name, f"{metric}_on_{label}") for label in labels] for name in study.names}
    return {name: [(interval, "") for interval in row] for name, row in rows.items() if any(row)}
