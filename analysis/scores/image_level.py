"""Metrics of detectors that give one number for a photograph, with intervals and paired differences.

AUC, balanced accuracy and F1 are no means over photographs. Their variance is that of their influence on each
photograph, separately for manipulated and authentic ones; for AUC this is the method of DeLong, DeLong and
Clarke-Pearson (Biometrics 1988), for F1 and precision the delta method at the given share of manipulated photographs,
at which accuracy is taken as well. Two detectors are compared on the same photographs, so that the influences are
subtracted before the variance is taken. Detectors with few errors or none show too little variance;
`analysis.statistics.rare_errors` says how it is raised.

Legend: n photographs, p manipulated, q authentic.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.statistics import rare_errors
from analysis.statistics.intervals import Interval
from analysis.statistics.rare_errors import Added
from analysis.statistics.significance import Comparison, adjust
from sweeps.protocols.scores import FillScores, Scores

Floats = npt.NDArray[np.float64]
Z = 1.959963984540054
"""Quantile of the normal distribution for 95 % intervals."""
FEW = 10
"""With fewer photographs of a kind, no difference is called significant: the normal approximation needs more."""


@dataclass(frozen=True)
class Influence:
    """A metric, and what each photograph contributes to it."""

    value: float
    manipulated_p: Floats
    authentic_q: Floats
    rare: Added
    """What rare errors change in the variance."""
    difference: bool = False
    """Whether it is the difference of a metric."""

    def minus(self, other: Influence) -> Influence:
        return Influence(
            self.value - other.value,
            self.manipulated_p - other.manipulated_p,
            self.authentic_q - other.authentic_q,
            self.rare.plus(other.rare),
            True,
        )

    @property
    def error(self) -> float | None:
        """Standard error; None with fewer than two photographs of a kind, or if nothing varies."""
        parts = (self.manipulated_p, self.authentic_q)
        if min(map(len, parts)) < 2:
            return None
        variance = sum(float(part.var(ddof=1)) / len(part) for part in parts)
        return math.sqrt(max(variance, self.rare.paired) if self.difference else variance + self.rare.alone)

    def interval(self) -> Interval:
        error, n = self.error, len(self.manipulated_p) + len(self.authentic_q)
        if not error:
            return Interval(self.value, None, None, None, n)
        low, high = max(-1.0 if self.difference else 0.0, self.value - Z * error), min(1.0, self.value + Z * error)
        return Interval(self.value, error * math.sqrt(n), low, high, n, photographs=n)


def influence(metric: str, score_n: Floats, label_n: npt.NDArray[np.bool_], threshold: float) -> Influence:
    """A metric of one run of a detector. threshold: a score above it is detected."""
    inside_p, outside_q = score_n[label_n], score_n[~label_n]
    if metric == "auc":
        above_p, above_q = _shares_below(inside_p, outside_q), 1 - _shares_below(outside_q, inside_p)
        auc = float(above_p.mean())
        return Influence(auc, above_p, above_q, rare_errors.of_auc(auc, len(inside_p), len(outside_q)))
    found_p, alarms_q = (inside_p > threshold).astype(float), (outside_q > threshold).astype(float)
    hits, alarms, p, q = found_p.sum(), alarms_q.sum(), len(inside_p), len(outside_q)
    if metric in ("accuracy", "balanced_accuracy"):
        right_p, right_q = found_p, 1 - alarms_q
        of_p, of_q = (0.5, 0.5) if metric == "balanced_accuracy" else (p / (p + q), q / (p + q))
        rare_p, rare_q = (rare_errors.of_share(float(right.mean()), len(right)) for right in (right_p, right_q))
        value = float(of_p * right_p.mean() + of_q * right_q.mean())
        return Influence(value, of_p * right_p, of_q * right_q, rare_p.scaled(of_p**2).plus(rare_q.scaled(of_q**2)))
    if metric == "recall":
        recall = float(found_p.mean())
        return Influence(recall, found_p, np.zeros(q), rare_errors.of_share(recall, p))
    if metric == "precision":
        detected = max(hits + alarms, 1)
        precision = float(hits / detected)  # 0 if nothing is detected
        by_hit, by_alarm = alarms / detected**2, -hits / detected**2
        rare = rare_errors.of_share(precision, detected)
        return Influence(precision, p * by_hit * found_p, q * by_alarm * alarms_q, rare)
    assert metric == "f1", metric
    whole = hits + alarms + p
    by_hit, by_alarm = 2 * (alarms + p) / whole**2, -2 * hits / whole**2
    value = float(2 * hits / whole)
    return Influence(value, p * by_hit * found_p, q * by_alarm * alarms_q, rare_errors.of_share(value, p))


def _shares_below(of_n: Floats, among_m: Floats) -> Floats:
    """For each value the share of the others that is smaller; equal ones count half."""
    ordered = np.sort(among_m)
    smaller, up_to = (np.searchsorted(ordered, of_n, side) for side in ("left", "right"))
    shares: Floats = (smaller + up_to) / (2 * len(ordered))
    return shares


def of_fill(scores: Scores, fill: FillScores, metric: str) -> list[Influence]:
    """A metric of each run of a detector."""
    label_n = np.array(scores.hole_fractions) > 0
    threshold = float(scores.evaluation["scores"]["threshold"])
    return [influence(metric, np.array(run.values["score"], float), label_n, threshold) for run in fill.runs]


def mean(runs: Sequence[Influence]) -> Influence:
    """The mean over the runs of a detector."""
    value = math.fsum(run.value for run in runs) / len(runs)
    manipulated_p = np.mean([run.manipulated_p for run in runs], axis=0)
    authentic_q = np.mean([run.authentic_q for run in runs], axis=0)
    added = [run.rare.scaled(1 / len(runs)) for run in runs]
    rare = Added(math.fsum(one.alone for one in added), math.fsum(one.paired for one in added))
    return Influence(value, manipulated_p, authentic_q, rare)


def compare(scores: Scores, metric: str) -> list[tuple[str, str, Interval, Comparison]]:
    """(better, worse, difference, test) of every two detectors, and of each with the baseline; corrected by Holm."""
    own = {fill.name: mean(of_fill(scores, fill, metric)) for fill in scores.fills}
    trained = [fill.name for fill in scores.fills if not fill.untrained]
    untrained = [fill.name for fill in scores.fills if fill.untrained]
    couples = [*itertools.combinations(trained, 2), *itertools.product(trained, untrained[:1])]
    ordered = [sorted(couple, key=lambda name: -own[name].value) for couple in couples]
    gaps = [own[better].minus(own[worse]) for better, worse in ordered]
    ps = [_p(gap) for gap in gaps]
    found = []
    for (better, worse), gap, p, adjusted in zip(ordered, gaps, ps, adjust(ps), strict=True):
        test = Comparison(p, adjusted, None, 0.5, len(scores.names), len(ps))
        found.append((better, worse, gap.interval(), test))
    return found


def few(scores: Scores) -> bool:
    """Whether a kind has so few photographs that no difference is called significant."""
    manipulated = sum(fraction > 0 for fraction in scores.hole_fractions)
    return min(manipulated, len(scores.names) - manipulated) < FEW


def _p(gap: Influence) -> float:
    """Two-sided p value of the normal approximation; 1 if nothing varies, or with few photographs."""
    error = None if min(len(gap.manipulated_p), len(gap.authentic_q)) < FEW else gap.error
    return math.erfc(abs(gap.value) / error / math.sqrt(2)) if error else 1.0
