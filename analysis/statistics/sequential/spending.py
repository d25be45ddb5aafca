"""How the error of a sequence of looks is spent, and the boundaries that follow for normal data.

An error-spending function says which share of the error may be used up by the time that a share of the planned pairs is
in (Lan and DeMets 1983). Looks may then come early, late or not at all without raising the error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np

Spending = Literal["root", "pocock", "obrien-fleming"]
_GRID = 500
"""Points of the numerical integration over the part of the scale where testing goes on."""
_FAR = 8.0
"""Standard deviations beyond which a normal density is 0 for our purposes."""


def spent(spending: Spending, share: float, error: float) -> float:
    """The error that may be spent by the time that `share` of the planned pairs is in. error: of one side."""
    share = min(max(share, 0.0), 1.0)
    if share in (0.0, 1.0):
        return error * share
    if spending == "pocock":  # close to equal boundaries at all looks (Pocock 1977)
        return error * math.log(1 + (math.e - 1) * share)
    if spending == "obrien-fleming":  # close to O'Brien and Fleming (1979), for a one-sided test
        from scipy.special import ndtr, ndtri

        return float(2 * (1 - ndtr(ndtri(1 - error / 2) / math.sqrt(share))))
    return error * math.sqrt(share)


@cache
def normal_boundaries(spending: Spending, shares: tuple[float, ...], error: float) -> tuple[float, ...]:
    """The z value that a look has to exceed, for one side and normal data of known variance.

    shares: of the planned pairs at each look, ascending. error: of one side. By numerical integration over the density
    of those sums that have not yet crossed (Armitage, McPherson and Rowe 1969).
    """
    boundaries: list[float] = []
    before, spent_before = 0.0, 0.0
    points, weights = np.zeros(1), np.ones(1)
    for share in shares:
        step = math.sqrt(share - before)
        allowed = max(spent(spending, share, error) - spent_before, 0.0)
        bound = _crossed_with(points, weights, step, allowed)
        boundaries.append(bound / math.sqrt(share))
        grid = np.linspace(-_FAR * math.sqrt(share), bound, _GRID)
        moves = (grid[None, :] - points[:, None]) / step
        density = weights @ np.exp(-0.5 * moves**2) / (step * math.sqrt(2 * math.pi))
        points, weights = grid, density * _trapezoid(grid)
        before, spent_before = share, spent_before + allowed
    return tuple(boundaries)


def _trapezoid(grid: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    weights = np.full(len(grid), grid[1] - grid[0])
    weights[[0, -1]] /= 2
    return weights


def _crossed_with(points: np.ndarray[Any, Any], weights: np.ndarray[Any, Any], step: float, wanted: float) -> float:
    """The boundary that sums at `points` cross with this probability in one normal step."""
    from scipy.special import ndtr

    low, high = -_FAR, 2 * _FAR
    for _ in range(60):
        middle = (low + high) / 2
        crossed = float(weights @ ndtr((points - middle) / step))
        low, high = (middle, high) if crossed > wanted else (low, middle)
    return high


def shares(looks: Sequence[int]) -> tuple[float, ...]:
    """Of the planned pairs, at each look."""
    return tuple(look / looks[-1] for look in looks)
