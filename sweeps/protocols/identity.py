"""The hash of an evaluation, and what two evaluations differ in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeps.spec.trial import canonical, digest

_MISSING = "nothing"


def evaluation_hash(evaluation: Mapping[str, Any]) -> str:
    """16 hex digits of what decides the numbers of an evaluation."""
    return digest(dict(evaluation))


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The fields in which two evaluations differ, as 'masks.strokes.width: 10 and 100'; empty if they are equal.

    If the generators of the masks differ, only their names are listed, and not their options.
    """
    first, second = flat(before), flat(after)
    fields = [field for field in {**first, **second} if first.get(field) != second.get(field)]
    if "masks.name" in fields:
        fields = [field for field in fields if not field.startswith("masks.") or field == "masks.name"]
    return [f"{field}: {_word(first, field)} and {_word(second, field)}" for field in fields]


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings by their dotted keys."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= flat(item, f"{prefix}{key}.") if isinstance(item, Mapping) else {f"{prefix}{key}": item}
    return found


def _word(values: Mapping[str, Any], field: str) -> str:
    if field not in values:
        return _MISSING
    value = values[field]
    return value if isinstance(value, str) else canonical(value)
