"""Caches of what a process has loaded from data files; they are emptied when the files have changed."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_clear: list[Callable[[], None]] = []


def cached(maxsize: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """`lru_cache` for a function that reads data files."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        kept = lru_cache(maxsize)(function)
        on_change(kept.cache_clear)
        return kept  # type: ignore[return-value]

    return decorate


def on_change(clear: Callable[[], None]) -> None:
    """Call a function whenever data files have changed."""
    _clear.append(clear)


def forget() -> None:
    """Empty all caches."""
    for clear in _clear:
        clear()
