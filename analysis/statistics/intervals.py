"""Means, intervals and paired differences over seeds.

With fewer than `BOOTSTRAP_FROM` values, and with `BOOTSTRAP_TO` and more, intervals are Student's t with n - 1 degrees
of freedom (Student 1908). Between these, they are bias-corrected and accelerated bootstrap intervals (BCa; Efron 1987),
which follow skewed distributions. Plain BCa covers only 0.93 at n = 20, so its level is raised until a percentile
interval of n normal values is as wide as Student's (Hesterberg 2015, "expanded percentile"). Coverage of nominal 95 %
intervals in 2,000 simulated studies:

    seeds                       3      5      8      20
    normal values               0.951  0.948  0.940  0.951
    log-normal values (sigma 1) 0.840  0.826  0.834  0.901

With few seeds and strongly skewed values, no interval reaches its nominal coverage.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 0.95
"""Probability that an interval covers the true mean of normal data."""
BOOTSTRAP_FROM = 20
"""Smallest number of values for which intervals are bootstrapped."""
BOOTSTRAP_TO = 200
"""From this many values on, such as those of single images, intervals are Student's again: the mean is near normal."""
_RESAMPLES = 9999
_MOST_SEEDS = 1000
_MANY_IMAGES = 1000
_AT_ONCE = 2**20
"""Values that a bootstrap draws at a time; bounds its memory to 16 MB."""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval, in the unit of the values."""

    mean: float
    sd: float | None
    """Standard deviation; None for fewer than two values, as are `low` and `high`."""
    low: float | None
    high: float | None
    n: int
    exact: bool = False
    """Whether the value does not depend on the seed (an arm without trainable parameters); it needs no interval unless
    that covers photographs."""
    photographs: int = 0
    """Number of test photographs that the interval covers as well; 0 if it covers the seeds alone."""
    of_photographs: float = 0.0
    """Variance of the mean that is due to the photographs; further seeds do not reduce it. Infinite if unknown."""

    @property
    def half_width(self) -> float | None:
        """Half the width; of an interval that ends where the metric does, the larger distance of its mean from an
        end."""
        if self.low is None or self.high is None:
            return None
        half = (self.high - self.low) / 2
        return max(half, self.mean - self.low, self.high - self.mean) if self.photographs else half

    @property
    def bounds(self) -> tuple[float, float] | None:
        """(low, high); both equal the mean if the value is exact. None if there is no interval."""
        if self.exact and not self.photographs and not self.of_photographs:
            return self.mean, self.mean
        return None if self.low is None or self.high is None else (self.low, self.high)

    def contains(self, value: float) -> bool:
        """Whether the interval contains `value`; True if there is no interval."""
        return self.bounds is None or self.bounds[0] <= value <= self.bounds[1]

    def negated(self) -> Interval:
        """The interval of the negated values."""
        low, high = (None, None) if self.low is None or self.high is None else (-self.high, -self.low)
        return Interval(-self.mean, self.sd, low, high, self.n, self.exact, self.photographs, self.of_photographs)


def mean_interval(values: Iterable[float], level: float = LEVEL) -> Interval | None:
    """Mean, standard deviation and interval of independent values; None for no values, no interval for one value.

    Raises ValueError for non-finite values, which the caller must count as missing.
    """
    numbers = [float(value) for value in values]
    if not numbers:
        return None
    if not all(map(math.isfinite, numbers)):
        raise ValueError("non-finite values have no mean; leave them out and report them as missing")
    n = len(numbers)
    mean = math.fsum(numbers) / n
    if n == 1:
        return Interval(mean, None, None, None, 1)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in numbers) / (n - 1))
    if BOOTSTRAP_FROM <= n < BOOTSTRAP_TO and sd > 0:
        low, high = _bca(np.array(numbers), level)
        return Interval(mean, sd, low, high, n)
    half = t_quantile(n, level) * sd / math.sqrt(n)
    return Interval(mean, sd, mean - half, mean + half, n)


def _bca(values: np.ndarray[Any, Any], level: float) -> tuple[float, float]:
    """Expanded BCa interval of the mean (see the module docstring); the same values always give the same interval."""
    from scipy.stats import bootstrap  # takes a second to import, and few studies need it

    wider, rng = _expanded(len(values), level), np.random.default_rng(0)
    result = bootstrap((values,), np.mean, method="BCa", n_resamples=_RESAMPLES, confidence_level=wider, rng=rng)
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _expanded(n: int, level: float) -> float:
    """The level at which a percentile interval of n normal values is as wide as Student's (Hesterberg 2015)."""
    from scipy.special import ndtr

    return float(2 * ndtr(math.sqrt(n / (n - 1)) * t_quantile(n, level)) - 1)


def simultaneous_level(family: int) -> float:
    """Level of each of `family` intervals that cover all true values simultaneously in 95 % of studies (Bonferroni)."""
    return 1 - (1 - LEVEL) / max(family, 1)


def t_quantile(n: int, level: float = LEVEL) -> float:
    """Half-width of Student's interval of n values, in standard errors."""
    from scipy.special import stdtrit  # takes half a second to import; reading a store does not need it

    return float(stdtrit(n - 1, (1 + level) / 2))


def satterthwaite_half(sd: float, n: int, variance: float, photographs: int, level: float = LEVEL) -> float:
    """Half-width of the interval of a mean whose variance is sd^2 / n, from n values, plus that due to photographs.

    variance: that due to so many photographs. Student's t with Satterthwaite's degrees of freedom; see `crossed`.
    """
    from scipy.special import stdtrit

    whole, degrees = _satterthwaite(sd, n, variance, photographs)
    return float(stdtrit(degrees, (1 + level) / 2)) * math.sqrt(whole) if whole else 0.0


def satterthwaite_p(interval: Interval) -> float:
    """Two-sided p value of the mean being zero, by the t test that belongs to an interval which covers photographs.

    1 without an interval: where nothing varies, nothing is known of what chance would do.
    """
    from scipy.special import stdtr

    sd, n = interval.sd or 0.0, interval.n
    whole, degrees = _satterthwaite(sd, n, interval.of_photographs, interval.photographs)
    if not whole or interval.low is None:
        return 1.0
    return float(2 * stdtr(degrees, -abs(interval.mean) / math.sqrt(whole)))


def _satterthwaite(sd: float, n: int, variance: float, photographs: int) -> tuple[float, float]:
    """Variance of a mean, and its degrees of freedom; see `crossed`."""
    of_seeds = sd**2 / n
    whole = of_seeds + variance
    inverse = (of_seeds**2 / (n - 1) if n > 1 else 0.0) + variance**2 / max(1, photographs - 1)
    return whole, whole**2 / inverse if inverse else math.inf


def exact_value(value: float, of_photographs: float = 0.0) -> Interval:
    """A value that does not depend on the seed, known from one evaluation."""
    return Interval(value, None, None, None, 1, exact=True, of_photographs=of_photographs)


def paired_difference(a: Mapping[int, float], b: Mapping[int, float], level: float = LEVEL) -> Interval | None:
    """Mean of a - b over the shared seeds with its interval; None if they share no seed.

    A seed gives both arms the same data order, masks and initialisation, so effects common to both cancel.
    """
    return mean_interval((a[seed] - b[seed] for seed in a if seed in b), level)


def more_seeds(interval: Interval, limit: float, level: float = LEVEL) -> int | None:
    """Number of further seeds after which the interval would exclude `limit` if mean and deviation stay the same.

    None if a thousand would not be enough, or if the standard deviation is unknown. The variance that is due to the
    test photographs stays.
    """
    if interval.sd is None:
        return None
    gap = abs(interval.mean - limit)
    for n in range(interval.n + 1, _MOST_SEEDS + interval.n + 1):
        if satterthwaite_half(interval.sd, n, interval.of_photographs, interval.photographs, level) < gap:
            return n - interval.n
    return None


# --- other statistics -------------------------------------------------------------------------------------------------


def interquartile_mean(values: Iterable[float], level: float = LEVEL) -> Interval | None:
    """Mean of the middle half of the values with a percentile bootstrap interval (Agarwal et al. 2021)."""
    from scipy.stats import bootstrap, trim_mean

    numbers = np.array([float(value) for value in values])
    if not len(numbers):
        return None
    mean, n = float(trim_mean(numbers, 0.25)), len(numbers)
    if n == 1 or np.ptp(numbers) == 0:
        low, high = (None, None) if n == 1 else (mean, mean)
    else:
        bounds = bootstrap(
            (numbers,),
            lambda sample, axis: trim_mean(sample, 0.25, axis=axis),
            method="percentile",
            n_resamples=_RESAMPLES,
            confidence_level=level,
            rng=np.random.default_rng(0),
        ).confidence_interval
        low, high = float(bounds.low), float(bounds.high)
    return Interval(mean, float(numbers.std(ddof=1)) if n > 1 else None, low, high, n)


def clustered_mean(values_by_seed: Mapping[int, Sequence[float]], level: float = LEVEL) -> Interval | None:
    """Mean of per-image values with a clustered bootstrap interval, which resamples seeds and then images within seeds.

    Images of one seed share a network, so their values are not independent (Davison and Hinkley 1997, section 3.8).
    From a thousand images on, the mean of a resample is drawn from its normal limit; the error of that is smaller than
    that of the finite number of resamples. The interval's n is the number of seeds. None without values; no interval
    for a single seed.
    """
    clusters = [np.asarray(values, dtype=np.float64) for values in values_by_seed.values() if len(values)]
    if not clusters:
        return None
    means = np.array([cluster.mean() for cluster in clusters])
    if len(clusters) == 1:
        return Interval(float(means[0]), None, None, None, 1)
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(clusters), size=(_RESAMPLES // 5, len(clusters)))
    resampled = np.empty(drawn.shape)
    for number, cluster in enumerate(clusters):
        there = drawn == number
        resampled[there] = _resampled_means(cluster, int(there.sum()), rng)
    wider = _expanded(len(clusters), level)
    low, high = np.quantile(resampled.mean(axis=1), [(1 - wider) / 2, (1 + wider) / 2])
    return Interval(float(means.mean()), float(means.std(ddof=1)), float(low), float(high), len(clusters))


def _resampled_means(values: np.ndarray[Any, Any], count: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Means of `count` resamples of the values, drawn in chunks to bound memory."""
    n = len(values)
    if n >= _MANY_IMAGES:
        return rng.normal(values.mean(), values.std() / math.sqrt(n), count)
    step = max(1, _AT_ONCE // n)
    parts = [min(step, count - start) for start in range(0, count, step)]
    return np.concatenate([np.empty(0), *(values[rng.integers(n, size=(part, n))].mean(axis=1) for part in parts)])


def kendall_tau_b(groups: Iterable[Sequence[tuple[float, float]]]) -> float | None:
    """Kendall's rank correlation with ties (tau-b, Biometrika 1945) of two values per item, from -1 to 1.

    groups: only pairs of items within a group are compared, which scipy's `kendalltau` cannot do.
    None if one of the two values is the same for every pair.
    """
    agreeing = untied_a = untied_b = 0
    for items in groups:
        for (a1, b1), (a2, b2) in itertools.combinations(items, 2):
            a, b = (a1 > a2) - (a1 < a2), (b1 > b2) - (b1 < b2)
            agreeing += a * b
            untied_a += abs(a)
            untied_b += abs(b)
    return agreeing / math.sqrt(untied_a * untied_b) if untied_a and untied_b else None
