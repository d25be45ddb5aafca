"""Reads a table of methods from CSV: one row for each value, or one row for each method."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sweeps.errors import SweepError

METHODS = ("method", "arm", "model", "system", "name")
UNITS = ("seed", "image", "run", "fold", "trial")
"""Names of the columns that say whose value it is, and for which seed or image."""
HIGHER = (
    "psnr",
    "ssim",
    "ids",
    "iou",
    "miou",
    "dice",
    "f1",
    "auc",
    "ap",
    "map",
    "acc",
    "accuracy",
    "precision",
    "recall",
)
LOWER = ("fid", "kid", "cmmd", "lpips", "l1", "l2", "mae", "mse", "rmse", "error", "loss")
"""Words in the names of columns of metrics, by whether higher or lower values are better."""
_SHOWN = 5
MOST_BYTES = 200 * 2**20
MOST_METHODS = 100
"""Above, there are more than 4,950 pairs, of which hardly any could be decided."""
FORMS = (
    f"columns method, seed (or {', '.join(UNITS[1:])}) and one column of values; or one row for each method, whose "
    "first cell is its name and whose other cells are the values of the seeds, images or metrics that the header names"
)


@dataclass(frozen=True)
class MethodTable:
    """Values of methods, paired by seed or image."""

    metric: str
    """What was measured, as the file calls it."""
    unit: str
    """What a value belongs to: seed, image, run, fold or trial."""
    values: Mapping[str, Mapping[str, float]]
    """Method -> seed or image -> value, in the order of the file."""

    @property
    def shared(self) -> list[str]:
        """Seeds or images of which every method has a value."""
        first, *rest = self.values.values()
        return [key for key in first if all(key in other for other in rest)]


def read(file: Path, metric: str | None = None) -> MethodTable:
    """Read a table. metric: the column of values, needed where a file with one row for each value has several.

    SweepError for a file that is not CSV in UTF-8, cells that are missing or no finite numbers, values that are there
    twice, fewer than two methods, and columns that cannot be told apart.
    """
    rows = list(csv.reader(io.StringIO(_text(file), newline="")))
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise SweepError(str(file), "it has no row below its header", FORMS, f"sweeps audit {file.name}")
    header = rows[0]
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise SweepError(f"{file}, line 1", f"two columns are called {twice!r}", "a name for each column", "rename one")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            why = f"it has {len(row)} cells, and the header has {len(header)}"
            raise SweepError(f"{file}, row {number}", why, "as many cells as columns", "add or remove cells")
    named = [name.lower() for name in header]
    unit = next((name for name in UNITS if name in named), None)
    table = _long(file, rows, named, unit, metric) if unit else _wide(file, rows, metric)
    if len(table.values) > MOST_METHODS:
        why = f"it has {len(table.values):,} methods"
        raise SweepError(str(file), why, f"at most {MOST_METHODS}", "keep the rows of those that are compared")
    if len(table.values) < 2:
        why = f"it has one method, {next(iter(table.values))!r}"
        raise SweepError(str(file), why, "at least two methods", "add the rows of the method to compare with")
    return table


def goal_by_name(column: str) -> Literal["max", "min"] | None:
    """Whether higher or lower values of a metric are better, by a word in its name; None if none is known."""
    words = re.split(r"[^a-z0-9]+", column.lower())
    if any(word in LOWER for word in words):
        return "min"
    return "max" if any(word in HIGHER for word in words) else None


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > MOST_BYTES:
            why = f"it has {file.stat().st_size / 2**20:,.0f} MiB"
            raise SweepError(str(file), why, f"at most {MOST_BYTES // 2**20} MiB", "keep the columns that are compared")
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise SweepError(str(file), why, f"a CSV file: {FORMS}", f"ls -l {file.parent}") from error
    except UnicodeDecodeError as error:
        fix = f"iconv -f WINDOWS-1252 -t UTF-8 {file.name} > utf8.csv"
        raise SweepError(str(file), f"it is not UTF-8 at byte {error.start}", "CSV in UTF-8", fix) from None


def _long(
    file: Path, rows: Sequence[Sequence[str]], named: Sequence[str], unit: str, metric: str | None
) -> MethodTable:
    """One row for each value."""
    header = rows[0]
    method = next((named.index(name) for name in METHODS if name in named), None)
    if method is None:
        why = f"no column is called {', '.join(METHODS[:-1])} or {METHODS[-1]}"
        raise SweepError(f"{file}, line 1", why, FORMS, f"rename the column of the methods to {METHODS[0]}")
    where = named.index(unit)
    others = [column for column in range(len(header)) if column not in (method, where)]
    if metric is None and len(others) != 1:
        others = [column for column in others if all(_number(row[column]) is not None for row in rows[1:])]
    names = [header[column] for column in others]
    if metric is None and len(others) != 1:
        fix = f"sweeps audit {file.name} --metric {names[0] if names else 'COLUMN'}"
        why = f"{len(names)} columns have numbers: {', '.join(names[:_SHOWN])}" if names else "no column has numbers"
        raise SweepError(f"{file}, line 1", why, "one column of values, or --metric", fix)
    if metric is not None and metric not in names:
        fix = f"sweeps audit {file.name} --metric {names[0] if names else 'COLUMN'}"
        raise SweepError(f"--metric {metric}", f"{file} has no such column", ", ".join(names) or FORMS, fix)
    column = header.index(metric or names[0])
    found: dict[str, dict[str, float]] = {}
    for number, row in enumerate(rows[1:], 2):
        values = found.setdefault(_name(file, number, row[method]), {})
        if row[where] in values:
            why = f"{row[method]} has a second value for {unit} {row[where]}"
            fix = "remove one of the rows, or add a column that tells them apart to the name of the method"
            raise SweepError(f"{file}, row {number}", why, f"one value for each {unit}", fix)
        values[row[where]] = _value(file, number, header[column], row[column])
    return MethodTable(header[column], unit, found)


def _wide(file: Path, rows: Sequence[Sequence[str]], metric: str | None) -> MethodTable:
    """One row for each method; one column for each seed or image, or for each metric, of one run then."""
    header = rows[0]
    if len(header) < 2:
        raise SweepError(f"{file}, line 1", "it has one column", FORMS, f"sweeps audit {file.name}")
    texts = [
        name for name, *cells in zip(*([*row[1:]] for row in rows), strict=True) if not any(map(_is_number, cells))
    ]
    if texts:
        given = f"{file}, line 1"
        why = f"no column is called {', '.join(UNITS)}, and {', '.join(texts[:_SHOWN])} hold text"
        raise SweepError(given, why, FORMS, "keep the rows of one metric, and call the columns method, seed and value")
    metrics = header[1:] if metric or all(map(_is_metric, header[1:])) else []
    if metrics:
        column = header.index(_chosen(file, metrics, metric))
        rows = [[row[0], row[column]] for row in rows]
    found: dict[str, dict[str, float]] = {}
    for number, row in enumerate(rows[1:], 2):
        name = _name(file, number, row[0])
        if name in found:
            fix = "remove one of the rows, or rename one"
            raise SweepError(f"{file}, row {number}", f"{name} has a second row", "one row for each method", fix)
        found[name] = {key: _value(file, number, key, cell) for key, cell in zip(rows[0][1:], row[1:], strict=True)}
    if metrics:
        one_run = {name: {"1": value} for name, row in found.items() for value in row.values()}
        return MethodTable(rows[0][1], "run", one_run)
    unit = next((unit for unit in UNITS if all(unit in key.lower() for key in header[1:])), "seed")
    return MethodTable("value", unit, found)


def _chosen(file: Path, metrics: Sequence[str], metric: str | None) -> str:
    """The metric of a table with a column for each."""
    if metric is None and len(metrics) > 1:
        fix = f"sweeps audit {file.name} --metric {metrics[0]}"
        raise SweepError(f"{file}, line 1", f"it has {len(metrics)} metrics", ", ".join(metrics), fix)
    if metric is not None and metric not in metrics:
        fix = f"sweeps audit {file.name} --metric {metrics[0]}"
        raise SweepError(f"--metric {metric}", f"{file} has no such column", ", ".join(metrics), fix)
    return metric or metrics[0]


def _is_metric(column: str) -> bool:
    """Whether a column is named like a metric and not like a seed or an image: `FID`, `psnr_db`, `test/l1`."""
    return goal_by_name(column) is not None


def _is_number(cell: str) -> bool:
    return _number(cell) is not None


def _name(file: Path, number: int, cell: str) -> str:
    if not cell:
        raise SweepError(f"{file}, row {number}", "the method has no name", "a name for each method", "name it")
    return cell


def _number(cell: str) -> float | None:
    """The number in a cell; None for text, and for what only Python reads as one: 1_000 and digits of other scripts."""
    try:
        return None if "_" in cell or not cell.isascii() else float(cell)
    except ValueError:
        return None


def _value(file: Path, number: int, column: str, cell: str) -> float:
    value = _number(cell)
    if value is None or not math.isfinite(value):
        why = "the cell is empty" if not cell else f"{cell!r} is no finite number"
        fix = "leave out the row, or the column of this seed or image for every method"
        raise SweepError(f"{file}, row {number}, column {column}", why, "numbers such as 27.31", fix)
    return value
