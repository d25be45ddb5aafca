"""Variance to allow for where a test set shows few errors, so that none of them does not look like certainty.

The variance that photographs show in a share goes to 0 as the share goes to 0 or 1: five photographs without an error
say that the error is small, not that it is 0. Pseudo-counts mend this. What is added to the variance of a value is the
excess of the textbook variance with pseudo-counts over the one without, which vanishes away from 0 and 1:

    shares        p (1 - p) / n, with two successes and two failures (Agresti and Coull 1998, American Statistician 52)
    AUC           the formula of Hanley and McNeil (1982, Radiology 143) at (A m + 1/2) / (m + 1), where m is the
                  number of photographs of the class that has fewer

The variance of a paired difference is at least that of half a photograph on which only one detector errs, each way, 1 /
(n + 2)^2 (Agresti and Min 2005, Statistics in Medicine 24), for AUC at least the sum of both excesses. n is the number
of photographs on which the metric rests, all images of a photograph together.
"""

from __future__ import annotations

from dataclasses import dataclass

_COUNTS = 2
"""Pseudo-successes of a share, and as many failures."""


@dataclass(frozen=True)
class Added:
    """What rare errors change in a variance."""

    alone: float = 0.0
    """Added to the variance of the value, and of its difference from a fixed number."""
    paired: float = 0.0
    """The least variance of its difference from another detector on the same photographs is this and the other's."""

    def scaled(self, factor: float) -> Added:
        return Added(self.alone * factor, self.paired * factor)

    def plus(self, other: Added) -> Added:
        return Added(self.alone + other.alone, self.paired + other.paired)


def of_share(value: float, n: float) -> Added:
    """Of a share of n photographs."""
    if n <= 0:
        return Added()
    near = (value * n + _COUNTS) / (n + 2 * _COUNTS)
    excess = near * (1 - near) / (n + 2 * _COUNTS) - value * (1 - value) / n
    return Added(max(0.0, excess), 1 / (2 * (n + 2) ** 2))


def of_auc(value: float, positive: int, negative: int) -> Added:
    """Of an AUC. positive, negative: number of photographs with an image of the class, at least one each."""
    away = max(value, 1 - value)
    fewer = min(positive, negative)
    near = (away * fewer + 0.5) / (fewer + 1)
    excess = max(0.0, _hanley_mcneil(near, positive, negative) - _hanley_mcneil(away, positive, negative))
    return Added(excess, excess)


def _hanley_mcneil(auc: float, positive: int, negative: int) -> float:
    of_positive, of_negative = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
    whole = auc * (1 - auc) + (positive - 1) * of_positive + (negative - 1) * of_negative
    return whole / (positive * negative)
