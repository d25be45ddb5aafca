"""Tables as CSV that spreadsheets show as they are."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of cells that spreadsheets run as formulas."""
_NUMBER = r"[+−-]?(\d[\d.,]*(e[+-]?\d+)?|inf|nan)( ?%)?"
_NUMBERS = re.compile(rf"{_NUMBER}( \[{_NUMBER}, {_NUMBER}\])?")
"""Numbers and intervals, such as `+0.1 [−0.4, +0.6]`, which cannot call anything."""


def to_csv(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as CSV. Text that a spreadsheet would run as a formula, such as an arm `=1+1`, gets a leading apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(_FORMULA) or value in _FORMULA:
        return value
    return value if _NUMBERS.fullmatch(value) else f"'{value}"
