"""Words that the command, errors and reports share."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """A number with its noun: `1 seed`, `1,200 trials`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
