"""What paired differences are worth when there are many: a test of each, corrected for the whole family.

Every difference is tested by the exact sign-flip test, which assumes nothing but symmetry around zero and so cannot
reject with few pairs: where it could not in a family of this size, a difference is `underpowered` rather than equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

Correction = Literal["holm", "benjamini-hochberg"]
ALPHA = 0.05
"""Probability of a difference being called one in a family without any."""
_EXACT_PAIRS = 16
"""Up to so many pairs every assignment of signs is counted; beyond, `_DRAWS` of them."""
_DRAWS = 2**16 - 1


@dataclass(frozen=True)
class Comparison:
    """What a paired difference is worth, as one of a family of `family` comparisons.

    p: two-sided sign-flip test (Fisher 1935): of all 2^n ways to flip the signs of the n differences, the share whose
        mean is at least as far from zero. adjusted_p: after the correction for the family.
    effect: Hedges' g of the differences (their mean in standard deviations, corrected for few pairs); None where all
        are equal. improvement: share of pairs with a positive difference, ties counted half.
    """

    p: float
    adjusted_p: float
    effect: float | None
    improvement: float
    n: int
    family: int

    @property
    def underpowered(self) -> bool:
        """Whether so few pairs could not make one difference of this family significant, however large."""
        return self.n < seeds_needed(self.family)

    @property
    def differs(self) -> bool:
        return not self.underpowered and self.adjusted_p <= ALPHA


def seeds_needed(family: int) -> int:
    """The fewest pairs with which a sign-flip test can reject one of `family` hypotheses: 2^(1-n) * family <= 0.05."""
    return math.ceil(1 + math.log2(max(family, 1) / ALPHA))


def compare(differences: Sequence[Sequence[float]], correction: Correction = "holm") -> list[Comparison]:
    """Each of a family of paired differences (one a seed, at least one each) tested against zero.

    holm: the chance of any false positive in the family stays below 5 % (Holm 1979). benjamini-hochberg: the expected
    share of false ones among the positives does (Benjamini and Hochberg 1995).
    """
    ps = [sign_flip_p(pairs) for pairs in differences]
    adjusted = adjust(ps, correction)
    return [
        Comparison(p, new, _hedges_g(pairs), _improvement(pairs), len(pairs), len(ps))
        for pairs, p, new in zip(differences, ps, adjusted, strict=True)
    ]


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p of the sign-flip test that the differences are symmetric around zero.

    Exact up to 16 pairs; beyond, from 65,535 drawn assignments and the one at hand.
    """
    values = np.abs(np.asarray(differences, dtype=np.float64))
    observed = abs(math.fsum(differences))
    n = len(values)
    tolerance = 1e-12 * float(values.sum())  # sums that are equal but for rounding count as equal
    if n <= _EXACT_PAIRS:
        return float(np.mean(np.abs(_signs(n) @ values) >= observed - tolerance))
    signs = np.random.default_rng(0).choice(np.array([-1.0, 1.0]), size=(_DRAWS, n))
    return float((1 + np.sum(np.abs(signs @ values) >= observed - tolerance)) / (_DRAWS + 1))


@cache
def _signs(n: int) -> np.ndarray[Any, Any]:
    """(2^(n-1), n): all assignments of signs, but for a common one, which changes no absolute sum."""
    codes = np.arange(2 ** (n - 1))
    return 1.0 - 2.0 * ((codes[:, None] >> np.arange(n)) & 1)


def adjust(ps: Sequence[float], correction: Correction = "holm") -> list[float]:
    """Adjusted p values, in the order given; equal to statsmodels' `multipletests`, whose import takes two seconds."""
    found, m = np.asarray(ps, dtype=np.float64), len(ps)
    order = np.argsort(found)
    steps = found[order] * (m - np.arange(m) if correction == "holm" else m / np.arange(1, m + 1))
    running = np.maximum.accumulate(steps) if correction == "holm" else np.minimum.accumulate(steps[::-1])[::-1]
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(running, 1.0)
    return adjusted.tolist()


def _hedges_g(differences: Sequence[float]) -> float | None:
    n = len(differences)
    sd = float(np.std(differences, ddof=1)) if n > 1 else 0.0
    return float(np.mean(differences)) / sd * (1 - 3 / (4 * (n - 1) - 1)) if sd > 0 and n > 1 else None


def _improvement(differences: Sequence[float]) -> float:
    signs = np.sign(differences)
    return float(np.mean(np.where(signs == 0, 0.5, signs > 0)))
