"""How the tables of a report are laid out: their metrics, their direction, and what follows the ±."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.study import KEYS, Study
from sweeps.errors import SweepError


@dataclass(frozen=True)
class Shape:
    """The layout of the tables of results and differences."""

    columns: tuple[str, ...] = ()
    """Their metrics, in this order; empty: the metrics of the sweep's report."""
    transpose: bool = False
    """Whether metrics are rows and arms are columns."""
    sd: bool = False
    """Whether the standard deviation over seeds follows the ±, not the half-width of the 95 % interval."""


def check_columns(study: Study, shape: Shape) -> list[str]:
    """The metrics of the tables. Raises SweepError for one that the report does not have and no trial has measured."""
    measured = [name for name in study.records.columns if name not in KEYS]
    known = dict.fromkeys([*study.metrics, *measured])
    for name in shape.columns:
        if name not in known:
            example = f"--columns {','.join(study.metrics[:2])}"
            raise SweepError(f"metric {name!r}", f"no finished trial of {study.name} has it", ", ".join(known), example)
    return list(dict.fromkeys(shape.columns)) or study.metrics
