"""How benchmarks print what they measured: a row a figure, in the same columns for all of them."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence


def show(what: str, values: Sequence[float], unit: str = "", more: str = "") -> None:
    """Print a row: what was measured, median, range, number of measurements, load of the machine, remarks.

    values: repeated measurements, in `unit`; without one, ratios.
    """
    number = ".0f" if min(values) >= 100 else ".3f"
    middle, low, high = (format(value, number) for value in (statistics.median(values), min(values), max(values)))
    shown = f"{middle} {unit}".strip()
    load = os.getloadavg()[0]
    print(f"{what:<60} {shown:<16} {low} to {high}, n={len(values)}, load {load:.1f}; {more}".rstrip("; "), flush=True)
