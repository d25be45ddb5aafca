"""Compares records: to the last bit where the arithmetic is the same, else within a tolerance."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.golden.store_files import DIGEST, Records

RELATIVE, ABSOLUTE = 0.1, 1e-4
"""Tolerances where the arithmetic differs. Rounding decides the sign of a gradient that is all but zero, and the first
step of Adam is as long as the learning rate whatever the gradient: 4 % were seen between vector instructions, and
6 % between an EPYC and a Xeon."""
SMOOTH = re.compile(r"(train/(?!.*accuracy)|(val|test)/(psnr_db|l1|l2|ssim|matching)(_|$))")
"""Columns that a small error changes a little. The others count images above a threshold, or rank them."""
MOST = 20
"""So many differences are listed."""


def differences(expected: Records, found: Records, exact: bool) -> list[str]:
    """Where two records differ, as lines.

    exact: every bit counts; otherwise digests and columns that are not SMOOTH do not, and numbers have a tolerance.
    """
    before, after = (
        {place: leaf for place, leaf in _leaves(one) if exact or _smooth(place)} for one in (expected, found)
    )
    lines = [
        f"{place}: {_shown(before, place)} became {_shown(after, place)}" for place in _unequal(before, after, exact)
    ]
    rest = len(lines) - MOST
    return [*lines[:MOST], *([f"and {rest} more"] if rest > 0 else [])]


def to_text(records: Records) -> str:
    """Records as JSON that a diff shows well: a line for each column; floats with all their digits."""
    blocks = []
    for name, block in records.items():
        lines = [f"  {_dumped(key)}: {_dumped(value)}" for key, value in block.items()]
        blocks.append(f"{_dumped(name)}: {{\n" + ",\n".join(lines) + "\n}")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """(where it stands, value) of everything in nested mappings and lists that is neither."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{place} > {key}" if place else key)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{place}[{number}]")
    else:
        yield place, value


def _unequal(before: Mapping[str, Any], after: Mapping[str, Any], exact: bool) -> Iterator[str]:
    same = _same_bits if exact else _close
    for place in {**before, **after}:
        missing = place not in before or place not in after
        if missing or not same(before[place], after[place]):
            yield place


def _smooth(place: str) -> bool:
    """Whether a value can be compared where the arithmetic differs."""
    column = place.partition(" > ")[2]
    return DIGEST not in column and (
        SMOOTH.match(column) is not None or not column.startswith(("train/", "val/", "test/"))
    )


def _same_bits(before: Any, after: Any) -> bool:
    return repr(before) == repr(after)  # tells 0.0 from -0.0, and 1 from 1.0


def _close(before: Any, after: Any) -> bool:
    if isinstance(before, float) and isinstance(after, float):
        return math.isclose(before, after, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return repr(before) == repr(after)


def _shown(values: Mapping[str, Any], place: str) -> str:
    return repr(values[place]) if place in values else "nothing"
