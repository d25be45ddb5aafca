"""Published results, converted to our units (images in [0, 1]), with a sentence that states the conversion.

The data are in `analysis/claims/published/*.csv`; the README in that folder describes the columns.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sweeps.errors import SweepError

HERE = Path(__file__).parent / "published"
_COLUMNS = ("study", "table", "variant", "split", "epoch", "metric", "value", "printed", "unit", "inferred", "note")
_UNLABELLED = "unlabelled"
_BLOCKS = {
    "block=high": "from the one of its two tables with the higher last PSNR",
    "block=low": "from the one of its two tables with the lower last PSNR",
    "block=only": "",
}
"""Prefixes of the notes of 003's tables, in words, in the order in which several figures of one arm are given."""


@dataclass(frozen=True)
class PublishedFigure:
    """One published value."""

    value: float
    """In our unit."""
    text: str
    """The value with as many significant digits as the document prints."""
    split: str
    epoch: int | None
    conversion: str
    """How `value` follows from the printed number; '' if they are equal."""
    notes: tuple[str, ...]
    """Footnotes: what was inferred, and where the document contradicts itself."""


def lookup(
    reference: Mapping[str, Any], variant: str | None, column: str, epoch: int | None = None
) -> list[PublishedFigure]:
    """The published values of one arm in one of our columns; several if the document prints several.

    reference: `report.published` of a plan: study, table, columns (ours -> theirs; columns left out have equal names).
    variant: the document's name of the arm, prefixed by the table if it is in another one: 'optimiser: SGD'.
    epoch: by default the last published one. Figures of two tables are in the order of `_BLOCKS` for every arm.
    The split is that of our column; values whose split the document does not label are used for any split.
    """
    rows = _rows(reference, variant, column)
    wanted = max((_epoch(row) or 0 for row in rows), default=0) if epoch is None else epoch
    ours = column.partition("/")[2]
    return [_figure(row, ours) for row in sorted(rows, key=_block) if (_epoch(row) or wanted) == wanted]


def _block(row: Mapping[str, str]) -> int:
    """The place of a row among those of one arm: the file has the two tables of 003 in either order."""
    first = row["note"].partition("; ")[0]
    return list(_BLOCKS).index(first) if first in _BLOCKS else 0


def epochs(reference: Mapping[str, Any], variant: str, column: str) -> list[int]:
    """The epochs for which the document reports one arm in one of our columns."""
    return [epoch for row in _rows(reference, variant, column) if (epoch := _epoch(row))]


def _rows(reference: Mapping[str, Any], variant: str | None, column: str) -> list[dict[str, str]]:
    split, _, metric = column.partition("/")
    metric = (reference.get("columns") or {}).get(column, metric)
    table, _, variant = (variant or "").rpartition(": ")
    table = table or reference["table"]
    rows = [
        row
        for row in read_figures()
        if (row["study"], row["table"], row["variant"], row["metric"]) == (reference["study"], table, variant, metric)
    ]
    return [row for row in rows if row["split"] == split] or [row for row in rows if row["split"] == _UNLABELLED]


@cache
def read_figures(path: Path = HERE / "seeds.csv") -> tuple[dict[str, str], ...]:
    """All rows of a file of published results. Raises SweepError for wrong columns or a value that is not a number."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != _COLUMNS:
            raise SweepError(
                f"{path}, line 1",
                f"the columns are {', '.join(reader.fieldnames or ())}",
                ", ".join(_COLUMNS),
                "restore these columns in this order",
            )
        rows = tuple(dict(row) for row in reader)
    for number, row in enumerate(rows, start=2):
        try:
            float(row["value"]), _epoch(row)
        except (TypeError, ValueError):
            raise SweepError(
                f"{path}, row {number}",
                "value or epoch is not a number",
                "a number such as 0.0312",
                "git checkout analysis/claims/published",
            ) from None
    return rows


def _epoch(row: Mapping[str, str]) -> int | None:
    return int(row["epoch"]) if row["epoch"] else None


def _figure(row: Mapping[str, str], ours: str) -> PublishedFigure:
    """A row as a value of our metric `ours`."""
    printed = row["printed"] or row["value"]
    divisor, why = _divisor(row["metric"], row["unit"], ours)
    value = float(row["value"]) / divisor
    text = _like(printed, value) if divisor != 1 else printed
    conversion = f"published {printed}, {why}" if why else ""
    if row["inferred"] and row["inferred"] != row["unit"]:
        notes = [f"inferred, not stated in the document: {row['inferred']}"]
    else:
        notes = ["the document does not state that images are in [0,1]; this is inferred"] if row["inferred"] else []
    notes += _notes(row["note"])
    shown = "0" + text if text.startswith(".") else text
    return PublishedFigure(value, shown, row["split"], _epoch(row), conversion, tuple(notes))


def _notes(text: str) -> list[str]:
    """The footnotes of a row: the block that it is from, and the rest of its note."""
    first, _, rest = text.partition("; ")
    return [note for note in ((_BLOCKS[first], rest) if first in _BLOCKS else (text,)) if note]


def _divisor(metric: str, unit: str, ours: str) -> tuple[float, str]:
    """Divisor that converts a published value to `ours` on images in [0, 1], and the reason; '' if nothing changes."""
    if metric == "sse255_millions" and ours.startswith("l2"):
        return 3 * 32**2 * 255**2 / 1e6, (
            "in millions, a sum of squared errors on images in 0-255, assumed to be over one 32 px image: "
            "divided by 199.8 to give the mean on images in [0, 1]"
        )
    if metric == "sse255_millions" and ours == "sse255":
        return 1e-6, "in millions, a sum of squared errors on images in 0-255, assumed to be over one 32 px image"
    if "[-1,1]" in unit and metric == "l1":
        return 2.0, "an absolute error on images in [-1, 1]: divided by 2 for images in [0, 1]"
    if "[-1,1]" in unit and metric == "l2":
        return 4.0, "a squared error on images in [-1, 1]: divided by 4 for images in [0, 1]"
    if unit in ("", "dB") or "[0,1]" in unit:
        return 1.0, ""
    return 1.0, f"in {unit}: not converted, as there is no conversion to our unit"


def _like(printed: str, value: float) -> str:
    """A value with as many significant digits as a printed number, without an exponent."""
    digits = max(1, len(printed.lstrip("-0.").replace(".", "")))
    rounded = f"{value:.{digits - 1}e}"
    exponent = int(rounded.partition("e")[2])
    return f"{float(rounded):.{max(0, digits - 1 - exponent)}f}"
