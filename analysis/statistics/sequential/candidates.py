"""Decides a stream of candidate changes, each from paired differences to an incumbent that come one by one.

A difference is candidate minus incumbent on the same seed, in the direction of the goal. Two rules end a candidate:

- **Discard** (futility): the normal log likelihood ratio of "better by one standard deviation of a difference"
  against "no better" falls to `FUTILITY_LOG_RATIO`. To discard a useless candidate is no error, so any difference may
  count.
- **Keep**: bets on the signs of the differences have multiplied their stake by 1 / level. A bet wins on one sign what
  it loses on the other, and its size is fixed before the difference is known. So none is favourable if differences are
  symmetric around zero, whatever their distribution (a test martingale; Ville 1939, Shafer 2021), or stochastically
  smaller than such differences. A negative mean alone does not suffice: bets limit outliers, so a candidate that is
  usually better and rarely much worse can be kept. Only pairs on seeds that were drawn for this candidate are bet on:
  for a candidate that changes nothing, their differences are symmetric given all that was seen before.

The error is spent over the stream as a gambler spends money. A candidate gets a level out of what is left, and gives
back what its bets are worth when it is discarded, at most the level. What is left, with 1 added once a useless
candidate was kept, does not grow in the mean (a supermartingale that begins at 0.05). So the chance that a session
keeps any useless candidate is at most 5 %, however its candidates are chosen from all that was seen before. See
docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from analysis.statistics.significance import ALPHA

Values: TypeAlias = Any
"""A number, or an array with one element for each of many candidates."""

SCREENING = 10
"""Most pairs that can only discard a candidate; the incumbent's runs in them are shared by all its candidates."""
PASS_LOG_RATIO = 3.0
"""Log likelihood ratio at which the screening ends early."""
MAX_PAIRS = 64
"""Pairs of a candidate at most."""
FUTILITY_LOG_RATIO = -1.15
"""Log likelihood ratio at which a candidate is discarded."""
TYPICAL_PAIRS = 8
"""Pairs for which the typical spread of earlier candidates counts in that of a new one."""
LEAST_PAIRS = 3
"""Fewest pairs that end the screening of a candidate while no spread is known from earlier ones."""
LARGEST_BET = 2.0
"""Standard deviations beyond which a difference counts no more, so that one outlier does not lose all."""
TESTED_SHARE = 0.15
"""Expected share of candidates that pass the screening, and so use up error."""


@dataclass
class Evidence:
    """What the differences so far say about one candidate, or about many at once: fields are numbers or arrays."""

    typical: Values = math.nan
    """Standard deviation of a difference, as known from earlier candidates; NaN or 0: unknown."""
    pairs: int = 0
    mean: Values = 0.0
    squares: Values = 0.0
    """Sum of the squared deviations from the mean."""
    log_e: Values = 0.0
    """Logarithm of what the bets have made of a stake of 1."""
    screened: Values = False
    """Whether the screening is over: the next pair is on a seed of the candidate's own, and is bet on."""

    @property
    def spread(self) -> Values:
        """Standard deviation of a difference, shrunk towards the typical one; NaN while unknown."""
        known = self._typical_known
        weight = np.where(known, TYPICAL_PAIRS, 0)
        prior = np.where(known, self.typical, 0.0) ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt((weight * prior + self.squares) / (weight + max(self.pairs - 1, 0)))

    def add(self, difference: Values) -> None:
        """One more pair, which is bet on if the screening was over before it."""
        if np.any(self.screened):
            self.log_e = self.log_e + np.where(self.screened, log_bet(difference, self.spread), 0.0)
        self.pairs += 1
        before = difference - self.mean
        self.mean = self.mean + before / self.pairs
        self.squares = self.squares + before * (difference - self.mean)
        passed = (self._judges & (self.log_ratio >= PASS_LOG_RATIO)) | (self.pairs >= SCREENING)
        self.screened = self.screened | passed

    def add_lost_bet(self) -> None:
        """Count a pair without a value as a lost bet, so that a program that hides bad results gains nothing."""
        self.log_e = self.log_e + np.where(self.screened, log_bet(-math.inf, 1.0), 0.0)

    @property
    def log_ratio(self) -> Values:
        """Log likelihood ratio of a mean of one standard deviation against zero; -inf if all differences are 0."""
        with np.errstate(invalid="ignore", divide="ignore"):
            standardised = np.where(self.mean == 0, 0.0, self.mean / self.spread)
            ratio = self.pairs * (standardised - 0.5)
        return np.where((self.spread == 0) & (np.asarray(self.mean) == 0), -np.inf, ratio)

    @property
    def _typical_known(self) -> Values:
        return np.isfinite(self.typical) & (np.asarray(self.typical) > 0)

    @property
    def _judges(self) -> Values:
        """Whether the spread is known well enough to judge by it; never before the first pair."""
        return np.asarray((self._typical_known & (self.pairs > 0)) | (self.pairs >= LEAST_PAIRS))

    @property
    def futile(self) -> Values:
        """Whether the candidate is worth no further pair."""
        return np.asarray(self._judges & (self.log_ratio <= FUTILITY_LOG_RATIO))

    def reaches(self, level: Values) -> Values:
        """Whether the bets have multiplied their stake by 1 / level, and the mean difference is above 0."""
        return np.asarray((self.log_e >= -np.log(level)) & (np.asarray(self.mean) > 0))


def log_bet(difference: Values, spread: Values) -> Values:
    """Logarithm of what a bet on one difference multiplies its stake by.

    2 / (1 + exp(-2z)), the likelihood ratio of the sign of z given its size if z is normal around 1 with variance 1.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        standardised = np.where(np.asarray(difference) == 0, 0.0, difference / np.asarray(spread))
    limited = np.clip(standardised, -LARGEST_BET, LARGEST_BET)
    return np.asarray(math.log(2) - np.logaddexp(0.0, -2 * limited))


def typical_spread(evidence: Iterable[tuple[int, float]]) -> float:
    """The median standard deviation over earlier candidates, robust to one that broke everything; NaN without any.

    evidence: pairs and squares (as in `Evidence`) of each. Left out are those with fewer than two pairs, and those
    whose differences were all equal: a candidate without any effect says nothing about the noise of others.
    """
    spreads = [median_unbiased(pairs, squares) for pairs, squares in evidence if pairs > 1 and squares > 0]
    return float(np.median(spreads)) if spreads else math.nan


def median_unbiased(pairs: Values, squares: Values) -> Any:
    """The standard deviation of normal values, too high as often as too low (Wilson and Hilferty 1931)."""
    freedom = pairs - 1
    return np.sqrt(squares / freedom) / (1 - 2 / (9 * freedom)) ** 1.5


# --- the stream -------------------------------------------------------------------------------------------------------


def level(left: Values, candidates_left: int) -> Any:
    """The error that the next candidate may use. left: of the session. candidates_left: with this one."""
    return left / (1 + TESTED_SHARE * (candidates_left - 1))


def spent(level: Values, log_e: Values, kept: Values) -> Any:
    """The error that a candidate has used up: all of it if kept, otherwise what its bets have lost."""
    return level * np.where(kept, 1.0, 0.0 - np.expm1(np.minimum(log_e, 0.0)))


SESSION_ALPHA = ALPHA
"""The chance that a session keeps any useless candidate is at most this."""
