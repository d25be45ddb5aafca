"""One metric in several columns: at the epochs for which its document has values, or under several test masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analysis import wording
from analysis.claims import published
from analysis.statistics.intervals import Interval
from analysis.study import Study
from sweeps.results import columns as record_columns

Cell = tuple[Interval | None, str]
"""Our result, and the published values (converted; '' if there are none)."""


@dataclass(frozen=True)
class ColumnTable:
    """One metric in several columns."""

    metric: str
    headings: list[str]
    rows: Mapping[str, list[Cell]]
    """By arm, one cell per column."""

    @property
    def digits(self) -> int:
        return wording.decimals(interval for row in self.rows.values() for interval, _ in row)


# --- by epoch ---------------------------------------------------------------------------------------------------------


def by_epoch(study: Study) -> list[ColumnTable]:
    """A table for each published metric (or else the first metric of the report) that was tested at several epochs."""
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
    """'epoch 15', or 'epoch 15 (published: 100)' if the run is shorter than the document's."""
    return f"epoch {ours}" + (f" (published: {theirs})" if theirs not in (None, ours) else "")


def _last(study: Study) -> set[int]:
    return {epochs for arm in study.arms if arm.trains for _, epochs in arm.trials.values()}


def _theirs(study: Study, metric: str) -> list[int]:
    """The epochs for which the document reports a metric of any arm, in ascending order."""
    reference = study.plan["report"].get("published")
    if not reference:
        return []
    epochs = (published.epochs(reference, arm.published, metric) for arm in study.arms if arm.published)
    return sorted({epoch for of_arm in epochs for epoch in of_arm})


def _beside(study: Study, epochs: list[int], theirs: list[int]) -> list[int | None]:
    """The document's epoch for each of ours: the same epoch, or the same fraction of a run with fewer epochs."""
    before, after = study.plan.get("epochs_scaled") or (1, 1)
    matched: list[int | None] = []
    for epoch in epochs:
        wanted = epoch * before / after
        nearest = min(theirs, key=lambda other: abs(other - wanted), default=None)
        close = nearest is not None and abs(nearest - wanted) <= before / after
        matched.append(nearest if close else None)
    return matched


def _published(study: Study, variant: str | None, metric: str, epoch: int | None) -> str:
    if variant is None or epoch is None:
        return ""
    figures = published.lookup(study.plan["report"]["published"], variant, metric, epoch)
    return " / ".join(figure.text for figure in figures if figure.epoch == epoch)


# --- by test mask -----------------------------------------------------------------------------------------------------


def by_mask(study: Study) -> list[ColumnTable]:
    """A table for each metric that the report has under two or more of the sweep's `test_masks`; rows are arms."""
    labels: dict[str, list[str]] = {}
    for column in study.metrics:
        if parts := record_columns.under_mask(column):
            labels.setdefault(parts[0], []).append(parts[1])
    return [
        ColumnTable(metric, [f"on {label}" for label in of_metric], _under(study, metric, of_metric))
        for metric, of_metric in labels.items()
        if len(of_metric) > 1
    ]


def _under(study: Study, metric: str, labels: list[str]) -> dict[str, list[Cell]]:
    rows = {name: [study.interval(name, f"{metric}_on_{label}") for label in labels] for name in study.names}
    return {name: [(interval, "") for interval in row] for name, row in rows.items() if any(row)}
