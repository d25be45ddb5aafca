"""Means, intervals and paired differences over seeds.

Intervals are Student's t with n - 1 degrees of freedom (Student, "The probable error of a mean", Biometrika 1908): over
a handful of seeds the bootstrap covers too rarely, see `DESIGN.md`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

LEVEL = 0.95
"""Probability with which an interval covers the true mean, for normal data."""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval, in the unit of the values.

    sd, low, high: None where fewer than two values leave them undefined.
    exact: the value does not depend on the seed (a fill without parameters), so it needs no interval.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    n: int
    exact: bool = False

    @property
    def half_width(self) -> float | None:
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def bounds(self) -> tuple[float, float] | None:
        """(low, high), both the mean where the value is exact; None where nothing is known about them."""
        if self.exact:
            return self.mean, self.mean
        return None if self.low is None or self.high is None else (self.low, self.high)

    def may_be(self, value: float) -> bool:
        """Whether `value` lies within the interval; True where there is no interval to exclude it."""
        return self.bounds is None or self.bounds[0] <= value <= self.bounds[1]

    def negated(self) -> Interval:
        """The interval of the values with the other sign."""
        low, high = (None, None) if self.low is None or self.high is None else (-self.high, -self.low)
        return Interval(-self.mean, self.sd, low, high, self.n, self.exact)


def mean_interval(values: Iterable[float], level: float = LEVEL) -> Interval | None:
    """Mean, standard deviation and Student's t interval of independent values; None for no values.

    One value has no interval. Values that are not finite are refused: the caller counts them as missing.
    """
    numbers = [float(value) for value in values]
    if not numbers:
        return None
    if not all(map(math.isfinite, numbers)):
        raise ValueError("values that are not finite have no mean; leave them out and say so")
    n = len(numbers)
    mean = math.fsum(numbers) / n
    if n == 1:
        return Interval(mean, None, None, None, 1)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in numbers) / (n - 1))
    half = t_quantile(n, level) * sd / math.sqrt(n)
    return Interval(mean, sd, mean - half, mean + half, n)


def t_quantile(n: int, level: float = LEVEL) -> float:
    """Half-width of the interval of n values, in standard errors."""
    from scipy.special import stdtrit  # half a second of imports, which reading a store does not need

    return float(stdtrit(n - 1, (1 + level) / 2))


def exact_value(value: float) -> Interval:
    """A value that one evaluation settles."""
    return Interval(value, None, None, None, 1, exact=True)


def paired_difference(a: Mapping[int, float], b: Mapping[int, float], level: float = LEVEL) -> Interval | None:
    """Mean of a - b over the seeds that both have, with its interval; None where they share no seed.

    A seed gives both sides the same data order, masks and initialisation, so what it does to both cancels.
    """
    return mean_interval((a[seed] - b[seed] for seed in a if seed in b), level)


def kendall_tau_b(groups: Iterable[Sequence[tuple[float, float]]]) -> float | None:
    """Kendall's rank correlation with ties (tau-b, Biometrika 1945) of two values of each item, from -1 to 1.

    groups: only items of one group are compared with each other. None where either value ties every pair.
    """
    agreeing = untied_a = untied_b = 0
    for items in groups:
        for (a1, b1), (a2, b2) in itertools.combinations(items, 2):
            a, b = (a1 > a2) - (a1 < a2), (b1 > b2) - (b1 < b2)
            agreeing += a * b
            untied_a += abs(a)
            untied_b += abs(b)
    return agreeing / math.sqrt(untied_a * untied_b) if untied_a and untied_b else None
