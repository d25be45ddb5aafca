"""What a table of methods can decide: ranks with ties, stability, and the differences that its size can show.

Every pair of methods is compared over the seeds or images that both have, by a sign-flip test corrected for all pairs
(Holm 1979). A method's best possible rank is one more than the number of methods that are better than it beyond
chance, and its worst possible rank counts those that are worse: the ranks of all methods hold together in 95 % of
tables (Mogstad, Romano, Shaikh and Wilhelm, Review of Economic Studies 2024). Power uses Student's t at the level that
remains for one pair of the family.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.audit.values import MethodTable
from analysis.statistics import intervals, significance
from analysis.statistics.intervals import Interval

POWER = 0.8
"""Probability with which a difference shall be found."""
_RESAMPLES = 2000
_VALUES = 2**22
"""Values that are drawn at a time; bounds the memory to 32 MB."""
_MOST = 10_000
"""Numbers of seeds above this are not looked for."""


@dataclass(frozen=True)
class RankedMethod:
    name: str
    mean: Interval
    best_rank: int
    """1 for the best; with `worst_rank`, the ranks that the table leaves open."""
    worst_rank: int
    first: float | None
    """Share of the resamples of seeds or images in which the method has the best mean; None for one seed."""


@dataclass(frozen=True)
class Pair:
    """The better method of two by its mean, and the other."""

    better: str
    worse: str
    difference: Interval
    """Better minus worse over the shared seeds or images; negative where lower is better."""
    decided: bool
    """Whether they differ beyond chance, corrected for all pairs."""
    adjusted_p: float | None
    """None for fewer than two shared seeds or images."""
    correlation: float | None
    """Of the paired values; None for fewer than three pairs, or constant values."""
    smallest: float | None
    """The true difference that this sample would show with 80 % probability; None for fewer than two pairs."""
    needed: int | None
    """Seeds or images with which a true difference as large as the measured one is shown with 80 % probability; None
    where it is not known, or above 10,000."""


@dataclass(frozen=True)
class Audit:
    table: MethodTable
    goal: str
    """`max` if higher is better, else `min`."""
    methods: Sequence[RankedMethod]
    """From the best mean to the worst."""
    pairs: Sequence[Pair]
    ties: Sequence[Sequence[str]]
    """Largest groups of methods of which no two can be told apart."""
    same_order: float | None
    """Share of the resamples in which all methods keep their order."""
    tau: float | None
    """Mean of Kendall's rank correlation between the order of a resample and that of the table."""

    @property
    def tested(self) -> bool:
        """Whether any pair has two shared values, without which nothing can be tested."""
        return any(pair.adjusted_p is not None for pair in self.pairs)


def audit(table: MethodTable, goal: str) -> Audit:
    """goal: `max` or `min`, what is better."""
    sign = 1 if goal == "max" else -1
    means = {name: _mean(values) for name, values in table.values.items()}
    order = sorted(means, key=lambda name: -sign * means[name].mean)
    pairs = _pairs(table, order)
    beaten = {name: [pair.better for pair in pairs if pair.decided and pair.worse == name] for name in order}
    beats = {name: [pair.worse for pair in pairs if pair.decided and pair.better == name] for name in order}
    first, same_order, tau = _stability(table, order, sign)
    methods = [
        RankedMethod(name, means[name], 1 + len(beaten[name]), len(order) - len(beats[name]), first.get(name))
        for name in order
    ]
    return Audit(table, goal, methods, pairs, _ties(order, pairs), same_order, tau)


def _mean(values: Mapping[str, float]) -> Interval:
    interval = intervals.mean_interval(values.values())
    assert interval is not None, "a method has at least one value"
    return interval


def _pairs(table: MethodTable, order: Sequence[str]) -> list[Pair]:
    names = list(itertools.combinations(order, 2))
    paired = {pair: _shared(table, *pair) for pair in names}
    testable = [pair for pair in names if len(paired[pair]) >= 2]
    tests = significance.compare([[a - b for a, b in paired[pair]] for pair in testable])
    found = dict(zip(testable, tests, strict=True))
    level = intervals.simultaneous_level(len(testable))
    pairs = []
    for pair in names:
        difference = intervals.mean_interval(a - b for a, b in paired[pair])
        if difference is None:  # no shared seed or image: the means are all that is known
            gap = _mean(table.values[pair[0]]).mean - _mean(table.values[pair[1]]).mean
            difference = Interval(gap, None, None, None, 0)
        test = found.get(pair)
        pairs.append(
            Pair(
                *pair,
                difference,
                test is not None and test.differs,
                test.adjusted_p if test else None,
                _correlation(paired[pair]),
                _smallest(difference, level),
                _needed(difference, level, len(testable)),
            )
        )
    return pairs


def _shared(table: MethodTable, one: str, other: str) -> list[tuple[float, float]]:
    a, b = table.values[one], table.values[other]
    return [(a[key], b[key]) for key in a if key in b]


def _correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    a, b = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _smallest(difference: Interval, level: float) -> float | None:
    if difference.sd is None or difference.n < 2:
        return None
    return _reach(difference.n, level) * difference.sd


def _reach(n: int, level: float) -> float:
    """The true difference that n pairs show with 80 % probability, in standard deviations of the paired difference."""
    from scipy.special import stdtrit

    return (intervals.t_quantile(n, level) + float(stdtrit(n - 1, POWER))) / math.sqrt(n)


def _needed(difference: Interval, level: float, family: int) -> int | None:
    if difference.sd is None or difference.mean == 0:
        return None
    least = max(2, significance.seeds_needed(family))
    if difference.sd == 0:
        return least
    effect = abs(difference.mean) / difference.sd
    low, high = least, _MOST
    if _reach(high, level) > effect:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _reach(middle, level) <= effect else (middle + 1, high)
    return low


def _stability(
    table: MethodTable, order: Sequence[str], sign: int
) -> tuple[dict[str, float], float | None, float | None]:
    """Share of first places by method, share of resamples with the same order, mean rank correlation (Kendall)."""
    shared = table.shared
    if len(shared) < 2:
        return {}, None, None
    values = sign * np.array([[table.values[name][key] for key in shared] for name in order])
    rng = np.random.default_rng(0)
    at_once = max(1, _VALUES // values.size)
    sizes = [min(at_once, _RESAMPLES - start) for start in range(0, _RESAMPLES, at_once)]
    drawn = (rng.integers(len(shared), size=(size, len(shared))) for size in sizes)
    means = np.concatenate([values[:, index].mean(2).T for index in drawn])
    is_best = means == means.max(1, keepdims=True)
    best = (is_best / is_best.sum(1, keepdims=True)).sum(0) / _RESAMPLES  # methods that are equal share a first place
    steps: np.ndarray[Any, Any] = np.sign(means[:, :, None] - means[:, None, :])
    upper = np.triu_indices(len(order), 1)
    signs = steps[:, upper[0], upper[1]]
    return dict(zip(order, best.tolist(), strict=True)), float((signs > 0).all(1).mean()), float(signs.mean())


def _ties(order: Sequence[str], pairs: Sequence[Pair]) -> list[list[str]]:
    """Largest groups without a decided pair (Bron and Kerbosch 1973), in the order of the table."""
    open_pairs = {frozenset((pair.better, pair.worse)) for pair in pairs if not pair.decided}
    beside = {name: {other for other in order if frozenset((name, other)) in open_pairs} for name in order}
    found: list[set[str]] = []

    def grow(group: set[str], candidates: set[str], seen: set[str]) -> None:
        if not candidates and not seen:
            found.append(group)
            return
        pivot = max(candidates | seen, key=lambda name: (len(beside[name] & candidates), -order.index(name)))
        for name in sorted(candidates - beside[pivot], key=order.index):
            grow(group | {name}, candidates & beside[name], seen & beside[name])
            candidates, seen = candidates - {name}, seen | {name}

    grow(set(), set(order), set())
    groups = [sorted(group, key=order.index) for group in found if len(group) > 1]
    return sorted(groups, key=lambda group: [order.index(name) for name in group])
