"""Intervals over seeds and test photographs together: every network of an arm is tested on the same photographs.

A metric of a detector varies with the seed, and with the photographs that happen to be in the test set. Both are
samples. Repeating seeds shows the first variance only, and resampling images within seeds counts a photograph that all
networks find hard once for each of them. In radiology, readers who all rate the same cases are this design, and the
interval of the mean over readers is that of Obuchowski and Rockette (1995) with the degrees of freedom of Hillis (2007;
single modality: Hillis 2014, Statistics in Medicine 33:330):

    variance = MS / s + C
    MS       variance between the values of the s seeds on these photographs
    C        covariance of the values of two seeds that is due to the photographs, mean over pairs; at least 0
    df       (MS / s + C)^2 / ((MS / s)^2 / (s - 1) + C^2 / (p - 1))        (Satterthwaite; p photographs)

The term with p is not in Hillis's formula; it counts with few photographs, and where there is one evaluation. With
C = 0 it is Student's interval over seeds. An arm that does not depend on the seed has one value; its variance is that
due to the photographs, with p - 1 degrees of freedom. The difference of two arms is treated like a metric of its own:
what a photograph does to both cancels, as does what a seed does to both.

The covariance is computed from the part that each photograph has in each value (the infinitesimal jackknife; Efron
1982, chapter 6). All images made from one photograph, real and inpainted, count together, for AUC as in Obuchowski
(1997, Biometrics 53:567). `tests/analysis/statistics/test_crossed.py` shows the coverage by simulation.

Near 0 and 1 the photographs show too little variance, and none where there is no error; `rare_errors` adds to C what
pseudo-counts would, and gives differences a least C. Where the whole variance is 0 nevertheless, there is no interval.
Intervals end where the metric does, at 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.statistics.intervals import LEVEL, Interval, satterthwaite_half
from analysis.statistics.rare_errors import Added

Floats = npt.NDArray[np.float64]
Names = npt.NDArray[Any]
UNIT = (0.0, 1.0)
LEAST_RESAMPLES = 350
"""With fewer resamples on which all estimates of an interval are defined, it does not cover photographs."""
_ROUNDING = 1e-12
"""A half-width at most this is a rounding error of none."""


@dataclass(frozen=True, eq=False)
class SeedEstimate:
    """A metric of one network on one test set."""

    value: float
    photographs: Names
    """Names of the photographs, sorted."""
    part: Floats
    """The part of each photograph in the value: its covariance with another estimate is the sum of the products of
    their parts. For a bootstrap, the value on each resample, NaN where it is not defined."""
    resampled: bool = False
    """Whether `part` is by resample."""
    limits: tuple[float, float] = (-math.inf, math.inf)
    """Smallest and largest value of the metric."""
    rare: Added | None = field(default_factory=Added)
    """What rare errors change in the variance; None for a number that depends on no photograph."""


def by_photograph(
    value: float,
    part_n: Floats,
    photograph_n: npt.NDArray[np.intp],
    names: Names,
    limits: tuple[float, float] = (-math.inf, math.inf),
    rare: Added | None = None,
) -> SeedEstimate:
    """The estimate of a smooth metric.

    part_n: change of the value for a small weight more on each image. photograph_n: index of its photograph in `names`.
    """
    count = len(names)
    part: Floats = np.bincount(photograph_n, part_n, count) * np.float64(math.sqrt(count / max(1, count - 1)))
    return SeedEstimate(value, names, part, False, limits, rare or Added())


def by_resample(value: float, resampled_b: Floats, names: Names, rare: Added | None = None) -> SeedEstimate:
    """The estimate of a share from its values on resamples of the photographs, the same ones for all estimates.

    resampled_b: NaN for a resample on which the metric is not defined.
    """
    return SeedEstimate(value, names, resampled_b, True, UNIT, rare or Added())


def constant(value: float, like: SeedEstimate) -> SeedEstimate:
    """A number that depends on no photograph, to be compared with an estimate."""
    return SeedEstimate(value, like.photographs, np.zeros_like(like.part), like.resampled, (value, value), None)


def share_gained(one: SeedEstimate, floor: SeedEstimate) -> SeedEstimate | None:
    """The share of the way from another estimate to 1; None where that is 1, or for resamples."""
    left = 1 - floor.value
    if left <= 0:
        return None
    gradient = (1 / left, (one.value - 1) / left**2)
    return _derived((one.value - floor.value) / left, gradient, (one, floor), (-math.inf, 1.0))


def ratio(one: SeedEstimate, other: SeedEstimate) -> SeedEstimate | None:
    """The ratio of two estimates; None where the second is 0, or for resamples."""
    if not other.value:
        return None
    gradient = (1 / other.value, -one.value / other.value**2)
    return _derived(one.value / other.value, gradient, (one, other), (-math.inf, math.inf))


def _derived(
    value: float,
    gradient: tuple[float, float],
    estimates: tuple[SeedEstimate, SeedEstimate],
    limits: tuple[float, float],
) -> SeedEstimate | None:
    """A function of two estimates, by the delta method."""
    if any(one.resampled for one in estimates):
        return None
    names = np.unique(np.concatenate([one.photographs for one in estimates]))
    part, rare = np.zeros(len(names)), Added()
    for slope, one in zip(gradient, estimates, strict=True):
        part[np.searchsorted(names, one.photographs)] += slope * one.part
        rare = rare.plus((one.rare or Added()).scaled(slope**2))
    return SeedEstimate(value, names, part, False, limits, rare)


def crossed_interval(
    estimates: Mapping[int, SeedEstimate], level: float = LEVEL, exact: bool = False
) -> Interval | None:
    """The mean over seeds with its interval over seeds and photographs; None without estimates.

    estimates: by seed. exact: they do not depend on the seed, so the first one counts, and the interval covers the
    photographs alone. A single seed of others has no interval. None if resamples are of different photographs, or if
    too few of them have a value of every estimate.
    """
    chosen = list(estimates.values())[: 1 if exact else None]
    if not chosen:
        return None
    values = np.array([one.value for one in chosen])
    aligned = _aligned(chosen)
    if aligned is None:
        return None
    part_sp, photographs = aligned
    added = sum(one.rare.alone for one in chosen if one.rare) / len(chosen)
    return _interval(values, part_sp, photographs, level, exact, added, chosen[0].limits)


def crossed_difference(
    a: Mapping[int, SeedEstimate], b: Mapping[int, SeedEstimate], level: float = LEVEL, exact: bool = False
) -> Interval | None:
    """The mean of a - b over the seeds that both have, with its interval; see `crossed_interval`."""
    seeds = [seed for seed in a if seed in b][: 1 if exact else None]
    if not seeds:
        return None
    aligned = _aligned([*(a[seed] for seed in seeds), *(b[seed] for seed in seeds)])
    if aligned is None:
        return None
    part, photographs = aligned
    values = np.array([a[seed].value - b[seed].value for seed in seeds])
    pairs = [(a[seed].rare, b[seed].rare) for seed in seeds]
    added = sum(one.alone for pair in pairs if None in pair for one in pair if one) / len(seeds)
    floor = sum(one.paired for pair in pairs if None not in pair for one in pair if one) / len(seeds)
    (low, high), (least, most) = a[seeds[0]].limits, b[seeds[0]].limits
    parts = part[: len(seeds)] - part[len(seeds) :]
    return _interval(values, parts, photographs, level, exact, added, (low - most, high - least), floor)


def _aligned(estimates: Sequence[SeedEstimate]) -> tuple[Floats, int] | None:
    """Parts of the same photographs side by side, (estimates, photographs), and the number of photographs."""
    names = estimates[0].photographs
    same = all(one.photographs is names or np.array_equal(one.photographs, names) for one in estimates)
    if any(one.resampled != estimates[0].resampled for one in estimates) or (estimates[0].resampled and not same):
        return None
    if estimates[0].resampled:
        kept = _of_resamples(np.stack([one.part for one in estimates]))
        return None if kept is None else (kept, len(names))
    if same:
        return np.stack([one.part for one in estimates]), len(names)
    union = np.unique(np.concatenate([one.photographs for one in estimates]))
    parts = np.zeros((len(estimates), len(union)))
    for row, one in zip(parts, estimates, strict=True):
        row[np.searchsorted(union, one.photographs)] = one.part
    return parts, len(union)


def _of_resamples(value_sb: Floats) -> Floats | None:
    """The part of each resample on which all estimates are defined; None if these are too few."""
    kept_sb = value_sb[:, np.isfinite(value_sb).all(axis=0)]
    if kept_sb.shape[1] < LEAST_RESAMPLES:
        return None
    return np.asarray((kept_sb - kept_sb.mean(axis=1, keepdims=True)) / math.sqrt(kept_sb.shape[1] - 1))


def _interval(
    values: Floats,
    part_sp: Floats,
    photographs: int,
    level: float,
    exact: bool,
    added: float,
    limits: tuple[float, float],
    floor: float = 0.0,
) -> Interval:
    """added, floor: variance to add because of rare errors, and the least. limits: where the interval ends."""
    mean, n = float(values.mean()), len(values)
    if exact:
        sd, variance = None, max(float(part_sp[0] @ part_sp[0]) + added, floor)
    elif n == 1:
        return Interval(mean, None, None, None, 1)
    else:
        sd = float(values.std(ddof=1))
        total = part_sp.sum(axis=0)
        covariance = (float(total @ total) - float(np.square(part_sp).sum())) / (n * (n - 1))
        variance = max(max(covariance, 0.0) + added, floor)
    half = satterthwaite_half(sd or 0.0, n, variance, photographs, level)
    if half <= _ROUNDING:
        return Interval(mean, sd, None, None, n, exact, photographs, variance)
    low, high = max(mean - half, limits[0]), min(mean + half, limits[1])
    return Interval(mean, sd, low, high, n, exact, photographs, variance)
