"""Compares records: to the last bit where the arithmetic is the same, else within a tolerance."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from tests.golden.store_files import DIGEST, Records

RELATIVE, ABSOLUTE = 1e-3, 1e-5
"""Tolerances where the arithmetic differs: a few steps of training enlarge rounding errors to that."""
MOST = 20
"""So many differences are listed."""


def differences(expected: Records, found: Records, exact: bool) -> list[str]:
    """Where two records differ, as lines.

    exact: every bit counts; otherwise digests do not, and numbers have a tolerance.
    """
    before, after = dict(_leaves(expected)), dict(_leaves(found))
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
        if missing or not same(place, before[place], after[place]):
            yield place


def _same_bits(place: str, before: Any, after: Any) -> bool:  # noqa: ARG001 - as `_close`
    return repr(before) == repr(after)  # tells 0.0 from -0.0, and 1 from 1.0


def _close(place: str, before: Any, after: Any) -> bool:
    if DIGEST in place:
        return True
    if isinstance(before, float) and isinstance(after, float):
        return math.isclose(before, after, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return repr(before) == repr(after)


def _shown(values: Mapping[str, Any], place: str) -> str:
    return repr(values[place]) if place in values else "nothing"
