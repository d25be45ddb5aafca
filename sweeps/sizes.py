"""The sizes at which a sweep can run: full, and smaller by the `small:` and `tiny:` blocks of its file.

A smaller form is a sweep of its own, whose name ends in the size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FULL, SMALL, TINY = "full", "small", "tiny"
SIZES = (FULL, SMALL, TINY)
BLOCKS = (SMALL, TINY)
"""The sizes that have a block in the sweep file; the name of the block is that of the size."""


def sized_name(name: str, size: str) -> str:
    """The name of a sweep at a size."""
    return name if size == FULL else f"{name}-{size}"


def full_name(name: str, size: str) -> str:
    """The inverse of `sized_name`."""
    return name if size == FULL else name.removesuffix(f"-{size}")


def size_of(stored: Mapping[str, Any]) -> str:
    """The size of a stored plan. Plans of older versions know `tiny` only."""
    return str(stored.get("size") or (TINY if stored.get("tiny") else FULL))
