"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CheckResult:
    """The result of one check."""

    state: str
    """`ok`, `warning` or `failed`."""
    what: str
    """What was found."""
    do: str = ""
    """How to fix it; empty if ok."""
