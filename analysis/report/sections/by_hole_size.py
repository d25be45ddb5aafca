"""Results by hole fraction: metrics over only those test images whose hole has a given share of the pixels."""

from __future__ import annotations

from dataclasses import dataclass

from analysis import wording
from analysis.statistics.intervals import Interval
from analysis.study import Study
from sweeps.results import columns as record_columns

_USUAL = "test/psnr_db"


@dataclass(frozen=True)
class ShareTable:
    """One metric by hole fraction."""

    metric: str
    shares: list[str]
    """The ranges of the hole fraction, in words; the columns of the table."""
    images: list[str]
    """Number of test images in each range, in words."""
    digits: int
    rows: dict[str, list[Interval | None]]
    """By arm, one interval per range."""


def tables(study: Study) -> list[ShareTable]:
    """A table for each metric of the report with values by hole fraction, otherwise for PSNR; none for one range."""
    known = _shares(study)
    chosen = [metric for metric in study.metrics if metric in known] or [_USUAL]
    return [_table(study, metric, known[metric]) for metric in chosen if len(known.get(metric, [])) > 1]


def _shares(study: Study) -> dict[str, list[tuple[int, int]]]:
    """The ranges of the hole fraction by metric, in ascending order."""
    ranges: dict[str, list[tuple[int, int]]] = {}
    for column in study.records.columns:
        if (share := record_columns.share_of_hole(column)) and any(study.values(name, column) for name in study.names):
            ranges.setdefault(share[0], []).append(share[1:])
    return {metric: sorted(shares) for metric, shares in ranges.items()}


def _table(study: Study, metric: str, shares: list[tuple[int, int]]) -> ShareTable:
    columns = [f"{metric}_share_{low}_{high}" for low, high in shares]
    rows = {name: [study.interval(name, column) for column in columns] for name in study.names}
    split = metric.partition("/")[0]
    return ShareTable(
        metric,
        [f"{low} to {high} %" for low, high in shares],
        [_images(study, f"{split}/images_share_{low}_{high}") for low, high in shares],
        wording.decimals(interval for row in rows.values() for interval in row),
        {name: row for name, row in rows.items() if any(row)},
    )


def _images(study: Study, column: str) -> str:
    """'1,208 images', or the smallest and largest number if arms are tested under different masks."""
    counts = sorted({int(count) for name in study.names for count in study.values(name, column).values()})
    if len(counts) > 1:
        return f"{counts[0]:,} to {counts[-1]:,} images, by arm"
    return wording.count(counts[0], "image") if counts else ""
