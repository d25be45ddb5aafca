"""What the pairs themselves say: how far pairing saves trainings, and whether the differences look skewed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

_LEAST_PAIRS = 8
"""Fewest pairs whose skewness is looked at."""
_STANDARD_ERRORS = 2.0


def correlation(a: Mapping[int, float], b: Mapping[int, float]) -> float | None:
    """Pearson's correlation of two arms' outcomes over their shared seeds; None if it is undefined.

    A difference of paired outcomes with correlation r and equal spread has (1 - r) times the variance of an unpaired
    one, so it needs about (1 - r) times the trainings for the same precision.
    """
    shared = [seed for seed in a if seed in b]
    ours, theirs = np.array([a[seed] for seed in shared]), np.array([b[seed] for seed in shared])
    if len(shared) < 3 or not (np.ptp(ours) > 0 and np.ptp(theirs) > 0):
        return None
    return float(np.corrcoef(ours, theirs)[0, 1])


def looks_skewed(differences: Sequence[float]) -> bool:
    """Whether the skewness of the differences is more than two standard errors of normal data away from 0.

    Sign flips are exact for symmetric differences only. Of normal data, about one set in twenty looks skewed.
    """
    n = len(differences)
    if n < _LEAST_PAIRS:
        return False
    centred = np.asarray(differences, dtype=np.float64) - np.mean(differences)
    second = float(np.mean(centred**2))
    if second <= 0:
        return False
    skewness = float(np.mean(centred**3)) / second**1.5 * math.sqrt(n * (n - 1)) / (n - 2)
    error = math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
    return bool(abs(skewness) > _STANDARD_ERRORS * error)
