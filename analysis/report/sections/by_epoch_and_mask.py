"""One metric in several columns: at the epochs for which its document has values, or under several test masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analysis import wording
from analysis.claims import published
from analysis.statistics.intervals import Interval
from analysis.study import Study
from sweeps.results import columns as record_columns

_MOST_EPOCHS = 8
"""So many published epochs are named."""

Cell = tuple[Interval | None, str]
"""Our result, and the published values (converted; '' if there are none)."""


@dataclass(frozen=True)
class ColumnTable:
    """One metric in several columns."""

    metric: str
    headings: list[str]
    rows: Mapping[str, list[Cell]]
    """By arm, one cell per column."""
    note: str = ""
    """What is to be known of the published values, as a sentence."""

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
    rows = {
        arm.name: [
            (study.interval(arm.name, metric, epoch), _published(study, arm.published, metric, epoch))
            for epoch in epochs
        ]
        for arm in study.arms
        if arm.trains
    }
    return ColumnTable(metric, [f"epoch {epoch}" for epoch in epochs], rows, _note(epochs, _theirs(study, metric)))


def _note(ours: list[int], theirs: list[int]) -> str:
    """Which epochs the document reports, if it does not report all of ours."""
    if not theirs or {*ours} <= {*theirs}:
        return ""
    shown = [str(epoch) for epoch in theirs]
    if len(shown) > _MOST_EPOCHS:
        shown = [*shown[: _MOST_EPOCHS - 1], "…", shown[-1]]
    which = f"epoch{'s' if len(theirs) > 1 else ''} {', '.join(shown)}"
    if not {*ours} & {*theirs}:
        return f"Published are values after {which}: none of these epochs, so no published value is shown."
    return f"Published are values after {which}; the other epochs have no published value."


def _last(study: Study) -> set[int]:
    return {epochs for arm in study.arms if arm.trains for _, epochs in arm.trials.values()}


def _theirs(study: Study, metric: str) -> list[int]:
    """The epochs for which the document reports a metric of any arm, in ascending order."""
    reference = study.plan["report"].get("published")
    if not reference:
        return []
    epochs = (published.epochs(reference, arm.published, metric) for arm in study.arms if arm.published)
    return sorted({epoch for of_arm in epochs for epoch in of_arm})


def _published(study: Study, variant: str | None, metric: str, epoch: int) -> str:
    if variant is None or not study.plan["report"].get("published"):
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
