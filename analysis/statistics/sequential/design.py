"""Decides claims about paired differences at planned looks, and stops when more pairs would hardly decide one.

A claim says that the mean difference lies in a range: above 0, at least 0.5, within ± 0.2. At a look it holds if the
repeated confidence interval (Jennison and Turnbull 1989) lies inside the range, and does not hold if it lies outside.
The interval has every value that the sign-flip test of `sign_flips` has not rejected, so that all intervals of all
claims of a study, at all looks, cover their means with a probability of at least 95 % if differences are symmetric
(Bonferroni over the comparisons). Verdicts are final: a later look cannot take one back.

Whether a claim is worth more pairs is judged by the probability that it will be decided at the last look, given the
pairs so far (conditional power, averaged over what is known of the mean; Spiegelhalter et al. 1986). Stopping there, or
not, cannot raise the error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.statistics.sequential.sign_flips import crossing
from analysis.statistics.sequential.spending import Spending, normal_boundaries, shares, spent
from analysis.statistics.significance import ALPHA

State = Literal["holds", "does not hold", "open", "futile", "at most"]
FUTILE_BELOW = 0.1
"""Conditional power below which a claim gets no more pairs."""
_HALVINGS = 12
"""Bisections for a bound of an interval; its error is below a thousandth of the range of the differences."""


@dataclass(frozen=True)
class Range:
    """The values of the mean difference for which a claim is true."""

    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Design:
    """The looks that were planned, and how many comparisons share the error."""

    looks: tuple[int, ...]
    """Planned numbers of pairs, ascending."""
    comparisons: int = 1
    spending: Spending = "root"

    @property
    def side(self) -> float:
        """The error of one side of one comparison over all looks."""
        return ALPHA / 2 / max(self.comparisons, 1)

    @property
    def allowed(self) -> tuple[float, ...]:
        """The error of one side that may be spent by each look."""
        return tuple(spent(self.spending, share, self.side) for share in shares(self.looks))

    @property
    def first_decision(self) -> int | None:
        """The first look at which any claim can be decided; None if none can."""
        able = (look for look, limit in zip(self.looks, self.allowed, strict=True) if 0.5**look <= limit)
        return next(able, None)


@dataclass(frozen=True)
class Decision:
    """What the looks so far say about a claim."""

    state: State
    """`open`: more pairs could decide it; `futile`: hardly; `at most`: the last look is over."""
    look: int
    """Number of the look that decided the claim, from 0; otherwise the newest one."""
    pairs: int
    """Number of pairs at this look."""
    power: float | None
    """Probability that the last look decides an open or futile claim; None with fewer than two pairs."""

    @property
    def decided(self) -> bool:
        return self.state in ("holds", "does not hold")

    @property
    def goes_on(self) -> bool:
        """Whether the claim needs more pairs."""
        return self.state == "open"


def decide(design: Design, differences: Sequence[float], counts: Sequence[int], claim: Range) -> Decision:
    """Judge a claim at each look that is over, and stop at the first that decides it.

    differences: in the order of the seeds. counts: how many of them each look has; fewer than planned where trials
    failed or have not finished.
    """
    if not counts or not counts[-1]:
        return Decision("open", max(len(counts) - 1, 0), 0, None)
    for look, count in enumerate(counts):
        state = _verdict(design, differences, counts[: look + 1], claim)
        if state is not None:
            return Decision(state, look, count, None)
    newest = len(counts) - 1
    if len(counts) == len(design.looks):
        return Decision("at most", newest, counts[-1], None)
    power = conditional_power(design, differences[: counts[-1]], claim)
    return Decision("futile" if power is not None and power < FUTILE_BELOW else "open", newest, counts[-1], power)


def _verdict(
    design: Design, differences: Sequence[float], counts: Sequence[int], claim: Range
) -> Literal["holds", "does not hold"] | None:
    """What the newest look alone says, which depends on nothing that came later."""
    values, allowed = np.asarray(differences, dtype=np.float64), design.allowed[: len(counts)]
    low, high = (
        crossing(values - limit, counts, allowed) if math.isfinite(limit) else None for limit in (claim.low, claim.high)
    )
    if low == -1 or high == 1:
        return "does not hold"
    return "holds" if low in (1, None) and high in (-1, None) else None


def repeated_interval(
    design: Design, differences: Sequence[float], counts: Sequence[int], limits: Sequence[float] = ()
) -> tuple[float, float] | None:
    """The repeated confidence interval at the newest of these looks; None if the pairs are too few for one.

    limits: values that the interval excludes exactly where `decide` excludes them.
    """
    values = np.asarray(differences[: counts[-1]], dtype=np.float64)
    if not len(values):
        return None
    allowed = design.allowed[: len(counts)]

    def side(value: float) -> int:
        return crossing(values - value, counts, allowed)

    reach = float(np.ptp(values)) or 1.0
    bounds = []
    for sign, far in ((1, float(values.min()) - reach), (-1, float(values.max()) + reach)):
        rejected, kept = far, float(values.mean())
        if side(rejected) != sign:
            return None
        inside = sorted((limit for limit in limits if (limit - far) * (kept - limit) > 0), key=lambda x: abs(x - far))
        for limit in inside:
            rejected, kept = (limit, kept) if side(limit) == sign else (rejected, limit)
        for _ in range(_HALVINGS):
            middle = (rejected + kept) / 2
            rejected, kept = (middle, kept) if side(middle) == sign else (rejected, middle)
        bounds.append((rejected + kept) / 2)
    return bounds[0], bounds[1]


def conditional_power(design: Design, differences: Sequence[float], claim: Range) -> float | None:
    """The probability that the last look decides a claim, given these pairs; None with fewer than two.

    For normal differences: the mean at the last look has a t distribution around today's mean, and the interval there
    has the width of the boundary for normal data. The chance of an earlier decision is left out.
    """
    from scipy.special import stdtr

    n, most = len(differences), design.looks[-1]
    if n < 2:
        return None
    mean, sd = float(np.mean(differences)), float(np.std(differences, ddof=1))
    if sd == 0:
        return float(mean not in (claim.low, claim.high))
    half = normal_boundaries(design.spending, shares(design.looks), design.side)[-1] * sd / math.sqrt(most)
    spread = sd * math.sqrt(max(most - n, 0) / (most * n))

    def below(value: float) -> float:
        """The probability that the mean of all pairs is below this value."""
        if math.isinf(value) or spread == 0:
            return float(mean < value)
        return float(stdtr(n - 1, (value - mean) / spread))

    fails = below(claim.low - half) + 1 - below(claim.high + half)
    return fails + max(0.0, below(claim.high - half) - below(claim.low + half))
