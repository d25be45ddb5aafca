"""Compares configurations in a flat table with marked differences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from analysis.dashboard import theme

_MARK = f"background-color: {theme.tint('#e69f00', 0.28)}; font-weight: 600"
_ABSENT = "–"


def flatten_to_text(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{dotted key: value as text}."""
    found: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flatten_to_text(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return found


def comparison_table(
    configs: Mapping[str, Mapping[str, Any]], reference: str, differing: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A table with a row per key and a column per configuration, and the CSS that marks differences from `reference`.

    differing: whether to leave out keys with the same value in all configurations.
    """
    values = {name: flatten_to_text(config) for name, config in configs.items()}
    keys: Iterable[str] = dict.fromkeys(key for one in values.values() for key in one)
    known = values[reference]
    rows, styles = [], []
    for key in keys:
        row = {name: one.get(key, _ABSENT) for name, one in values.items()}
        differs = {name: text != known.get(key, _ABSENT) for name, text in row.items()}
        if any(differs.values()) or not differing:
            rows.append({"key": key, **row})
            styles.append({"key": "", **{name: _MARK if found else "" for name, found in differs.items()}})
    names = ["key", *values]
    return pd.DataFrame(rows, columns=names), pd.DataFrame(styles, columns=names)
