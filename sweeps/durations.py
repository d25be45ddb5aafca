"""Times as users write them."""

from __future__ import annotations

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """The seconds of a time such as `90`, `90s`, `30m`, `8h` or `2d`. Raises ValueError if it is not a time above 0."""
    try:
        found = float(text[:-1]) * _UNITS[text[-1]] if text[-1:] in _UNITS else float(text)
    except (ValueError, IndexError):
        found = 0.0
    if not 0 < found < float("inf"):
        raise ValueError("it is not a time above 0")
    return found
