"""The exact boundaries of a sequence of looks under sign flips.

If differences are symmetric around a value, each difference from it has either sign with probability 1/2, independently
and whatever its size. Given the sizes, the distribution of the running sum over all 2^n assignments of signs is known:
that of a random walk with these steps. At each look, the boundary is the smallest sum whose crossing, by walks that
have not crossed before, stays within the error that may be spent by then. So the error of all looks together is at most
the planned one for every symmetric distribution, however heavy its tails, and without an estimate of the spread.

The walk is followed on a grid: sizes are rounded to `_CELLS`-ths of the average size at the first look, and are at most
`_LARGEST` cells. Rounded differences are symmetric too, so rounding costs precision, not validity. All looks share the
grid: with a grid of its own, a later look would count other walks as stopped than an earlier one has stopped, and the
error of all looks could exceed the planned one by a fifth.

A sum within one standard deviation is reached by at least 1/20 of all signs (Oleszkiewicz 1996), which is more than a
look can spend: no walk is needed for it. Error that cannot be spent because the walk has few values (with n pairs, the
largest sum has probability 2^-n) is spent at later looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_CELLS = 2**6
_LARGEST = 2**12
_ROUNDING = 1e-12
"""Probabilities below this are rounding errors."""


def crossing(
    differences: Sequence[float] | np.ndarray[Any, Any], counts: Sequence[int], allowed: Sequence[float]
) -> int:
    """1 if the running sum is above the upper boundary at the newest look, -1 if below the lower one, else 0.

    differences: from the tested value, in the order in which they came. counts: how many of them each look has.
    allowed: the error of one side that may be spent by each look, below 1/20.
    """
    values = np.asarray(differences[: counts[-1]], dtype=np.float64)
    averages = (float(np.abs(values[:count]).mean()) for count in counts if count)
    average = next(filter(None, averages), 0.0)  # of the first look with a difference
    if average == 0:
        return 0
    steps = np.rint(np.clip(values * (_CELLS / average), -_LARGEST, _LARGEST)).astype(np.int64)
    reached = int(steps.sum())
    if reached**2 <= int(steps @ steps) or 0.5 ** len(steps) > allowed[-1] + _ROUNDING:
        return 0
    sizes = np.abs(steps).tolist()
    walk = _SignWalk(sum(sizes))
    boundary, seen = None, 0
    for count, limit in zip(counts, allowed, strict=True):
        for size in sizes[seen:count]:
            walk.step(size)
        seen = count
        boundary = walk.absorb(limit)
    return 0 if boundary is None else (reached >= boundary) - (reached <= -boundary)


class _SignWalk:
    """The distribution of a random walk whose upper crossings are absorbed."""

    def __init__(self, most: int) -> None:
        self._most, self._reach, self._absorbed = most, 0, 0.0
        self._mass: np.ndarray[Any, Any] = np.zeros(2 * most + 1)
        """Probability of each sum from -most to most, of walks that have not crossed."""
        self._mass[most] = 1.0

    def step(self, size: int) -> None:
        """One more difference of this size, with either sign."""
        if size == 0:
            return
        low, high = self._most - self._reach, self._most + self._reach + 1
        half = self._mass[low:high] / 2
        self._reach += size
        self._mass[low - size : high + size] = 0.0
        self._mass[low - size : high - size] = half
        self._mass[low + size : high + size] += half

    def absorb(self, allowed: float) -> int | None:
        """Absorb the sums at or above the lowest boundary that keeps within the error; the boundary, None if none can.

        allowed: probability of having crossed at this look or before.
        """
        low, high = self._most + 1, self._most + self._reach + 1  # a boundary lies above 0
        tails = self._absorbed + np.cumsum(self._mass[low:high][::-1])[::-1]
        boundary = int(np.searchsorted(-tails, -(allowed + _ROUNDING))) + 1
        if boundary > self._reach:
            return None
        self._absorbed = float(tails[boundary - 1])
        self._mass[self._most + boundary : high] = 0.0
        return boundary
