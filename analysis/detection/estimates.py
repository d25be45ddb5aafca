"""Metrics of detectors from the scores of single images, each with the part that every photograph has in it.

The metrics are those of `trainables/detect/metrics.py`, computed anew, because the analysis imports no torch; a report
uses an estimate only where its value equals the recorded column. Metrics of counts and means are ratios of two sums,
for which the part of an image is (numerator - value * denominator) / sum of denominators. The part of an image in AUC
is its placement value (DeLong et al. 1988). The equal error rate and the true positive rate at a false positive rate
jump where an image passes the threshold, so they are computed on resamples of the photographs instead.

Two metrics have no estimate, so that their intervals cover the seeds alone: the calibration error, which is biased
upwards by as much as it varies, and the true positive rate at 1 % with fewer than `LEAST_NEGATIVES` negatives, of which
1 % are too few for resamples to show its variance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from analysis.detection.image_scores import Bools, Floats, SetScores
from analysis.statistics import rare_errors
from analysis.statistics.crossed import UNIT, SeedEstimate, by_photograph, by_resample
from analysis.statistics.rare_errors import Added

RESAMPLES = 400
"""Resamples of the photographs; the standard error that they give is right to about 4 %."""
LEAST_NEGATIVES = 300
"""Photographs with a negative from which on the true positive rate at 1 % has an estimate."""
_SHARES = ("recall", "precision", "f1", "accuracy", "iou_above_50")
"""Ratios of counts, as are those that begin with `fpr_`."""
_IN_UNIT = ("mean_iou", "mean_iou_tp", "pixel_f1", "pixel_iou")
"""Means of values from 0 to 1."""
Weights = npt.NDArray[np.float32]
_SHARE = re.compile(r"(?P<metric>.+)_share_(?P<low>\d+)_(?P<high>\d+)$")
_SHARP = re.compile(r"(?P<metric>.+)_sharp_(?P<third>low|mid|high)$")
_THIRDS = ("low", "mid", "high")
_ANY = (-np.inf, np.inf)


def estimate(scores: SetScores, metric: str) -> SeedEstimate | None:
    """A metric without split and test set, such as `f1_tuned` or `recall_share_10_20`; None if it is not one of these.

    Metrics over the pixels of all images together are none of these, since images do not add up to them.
    """
    positive_n = scores.label_n
    if match := _SHARE.match(metric):
        hole_n = scores.hole_share_n * 100
        positive_n = positive_n & (hole_n > int(match["low"])) & (hole_n <= int(match["high"]))
        metric = match["metric"]
    elif match := _SHARP.match(metric):
        known_n = positive_n & np.isfinite(scores.sharpness_n)
        if known_n.sum() < len(_THIRDS):
            return None
        limits = np.quantile(scores.sharpness_n[known_n], [1 / 3, 2 / 3])
        positive_n = known_n & (np.digitize(scores.sharpness_n, limits, right=True) == _THIRDS.index(match["third"]))
        metric = match["metric"]
    threshold = 0.0
    if metric.endswith("_tuned"):
        if scores.threshold is None:
            return None
        threshold, metric = scores.threshold, metric.removesuffix("_tuned")
    negative_n = ~scores.label_n
    if metric in ("auc", "eer", "tpr_at_fpr_1"):
        return _ranked(scores, metric, positive_n, negative_n)
    if metric == "balanced_accuracy":
        return _balanced(scores, threshold)
    return _ratio(scores, metric, positive_n, threshold)


# --- ratios of sums ---------------------------------------------------------------------------------------------------


def _ratio(scores: SetScores, metric: str, positive_n: Bools, threshold: float) -> SeedEstimate | None:
    predicted_n = scores.logit_n >= threshold
    if metric == "precision" and not predicted_n.any():  # defined as 0
        names = scores.photographs
        return SeedEstimate(0.0, names, np.zeros(len(names)), False, UNIT)
    sums = _sums(scores, metric, positive_n, predicted_n)
    if sums is None:
        return None
    share = metric in _SHARES or metric.startswith("fpr_")
    return _of_sums(scores, *sums, share=share, limits=UNIT if share or metric in _IN_UNIT else _ANY)


def _of_sums(
    scores: SetScores,
    numerator_n: Floats,
    denominator_n: Floats,
    share: bool = True,
    limits: tuple[float, float] = UNIT,
) -> SeedEstimate | None:
    """share: whether it is a ratio of counts, whose errors may be rare."""
    whole = denominator_n.sum()
    if not whole:
        return None
    value = float(numerator_n.sum() / whole)
    part_n = (numerator_n - value * denominator_n) / whole
    weight = np.bincount(scores.photograph_n, denominator_n)
    photographs = float(whole**2 / np.square(weight).sum())  # of equal weight (Kish 1965)
    rare = rare_errors.of_share(value, photographs) if share else Added()
    return by_photograph(value, part_n, scores.photograph_n, scores.photographs, limits, rare)


def _sums(scores: SetScores, metric: str, positive_n: Bools, predicted_n: Bools) -> tuple[Floats, Floats] | None:
    """Numerator and denominator of a metric for each image; None for other metrics."""
    right_n = (predicted_n & positive_n).astype(np.float64)
    predicted, positive = predicted_n.astype(np.float64), positive_n.astype(np.float64)
    if metric == "recall":
        return right_n, positive
    if metric == "precision":
        return right_n, predicted
    if metric == "f1":
        return 2 * right_n, predicted + positive
    if metric == "accuracy":
        return (predicted_n == positive_n).astype(np.float64), np.ones(len(positive))
    if metric.startswith("fpr_"):
        kind = metric.removeprefix("fpr_")
        of_kind_n = (scores.kind_n == ("real" if kind == "authentic" else kind)) & ~scores.label_n
        return (predicted_n & of_kind_n).astype(np.float64), of_kind_n.astype(np.float64)
    return _sums_of_places(scores, metric, positive, predicted)


def _sums_of_places(
    scores: SetScores, metric: str, positive: Floats, predicted: Floats
) -> tuple[Floats, Floats] | None:
    if (value_n := scores.extra.get(metric)) is not None:
        known_n = np.isfinite(value_n)
        return np.where(known_n, value_n, 0.0), known_n.astype(np.float64)
    if scores.iou_n is not None and metric in ("mean_iou", "mean_iou_tp", "iou_above_50"):
        value_n = (scores.iou_n > 0.5).astype(np.float64) if metric == "iou_above_50" else scores.iou_n
        among_n = positive * predicted if metric == "mean_iou_tp" else positive
        return value_n * among_n, among_n
    if scores.pixel_n3 is not None and metric in ("pixel_f1", "pixel_iou"):
        right, wrong, missed = scores.pixel_n3.T
        counted = 2 * right if metric == "pixel_f1" else right
        return counted / np.maximum(1, counted + wrong + missed) * positive, positive
    return None


def _balanced(scores: SetScores, threshold: float) -> SeedEstimate | None:
    """Mean of the true positive and the true negative rate."""
    right_n = ((scores.logit_n >= threshold) == scores.label_n).astype(np.float64)
    halves = [
        _of_sums(scores, right_n * among_n, among_n.astype(np.float64)) for among_n in (scores.label_n, ~scores.label_n)
    ]
    if halves[0] is None or halves[1] is None:
        return None
    value, part = (halves[0].value + halves[1].value) / 2, (halves[0].part + halves[1].part) / 2
    assert halves[0].rare is not None
    assert halves[1].rare is not None
    rare = halves[0].rare.plus(halves[1].rare).scaled(1 / 4)
    return SeedEstimate(value, scores.photographs, part, False, UNIT, rare)


# --- all thresholds ---------------------------------------------------------------------------------------------------


def _ranked(scores: SetScores, metric: str, positive_n: Bools, negative_n: Bools) -> SeedEstimate | None:
    if not positive_n.any() or not negative_n.any():
        return None
    if metric == "auc":
        return _auc(scores, positive_n, negative_n)
    negatives, positives = (_photographs(scores, among_n) for among_n in (negative_n, positive_n))
    if metric == "tpr_at_fpr_1" and negatives < LEAST_NEGATIVES:
        return None
    of_weights = _equal_error_rate if metric == "eer" else _rate_at_one_percent
    negative, positive = (_Class.of(scores, among_n) for among_n in (negative_n, positive_n))
    photographs = len(scores.photographs)
    value = float(of_weights(negative, positive, np.ones((1, photographs), dtype=np.float32))[0])
    with np.errstate(invalid="ignore"):
        resampled = of_weights(negative, positive, _weights(photographs))
    rare = rare_errors.of_share(value, min(negatives, positives) if metric == "eer" else positives)
    return by_resample(value, resampled, scores.photographs, rare)


def _photographs(scores: SetScores, among_n: Bools) -> int:
    """Number of photographs that have an image among these."""
    return len(np.unique(scores.photograph_n[among_n]))


def _auc(scores: SetScores, positive_n: Bools, negative_n: Bools) -> SeedEstimate:
    inside, outside = scores.logit_n[positive_n], scores.logit_n[negative_n]
    part_n = np.zeros(len(scores.logit_n))
    below = _share_below(outside, inside)
    value = float(below.mean())
    part_n[positive_n] = (below - value) / len(inside)
    part_n[negative_n] = (1 - _share_below(inside, outside) - value) / len(outside)
    rare = rare_errors.of_auc(value, _photographs(scores, positive_n), _photographs(scores, negative_n))
    return by_photograph(value, part_n, scores.photograph_n, scores.photographs, UNIT, rare)


def _share_below(among: Floats, of: Floats) -> Floats:
    """For each value of `of`, the share of `among` that is smaller; equal values count as half."""
    ordered = np.sort(among)
    below = np.searchsorted(ordered, of, "left") + np.searchsorted(ordered, of, "right")
    return np.asarray(below / (2 * len(among)), dtype=np.float64)


@lru_cache(maxsize=4)
def _weights(photographs: int) -> Weights:
    """How often each resample has each photograph, (resamples, photographs); the same for every metric and arm."""
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(photographs, np.full(photographs, 1 / photographs), RESAMPLES)
    return drawn.astype(np.float32)  # which has sums of whole numbers below 16 million exactly


@dataclass(frozen=True, eq=False)
class _Class:
    """The images of one class, from the largest logit to the smallest."""

    logit_c: Floats
    photograph_c: npt.NDArray[np.intp]

    @classmethod
    def of(cls, scores: SetScores, among_n: Bools) -> _Class:
        order = np.argsort(-scores.logit_n[among_n], kind="stable")
        return cls(scores.logit_n[among_n][order], scores.photograph_n[among_n][order])

    def counts(self, weight_bp: Weights) -> Weights:
        """Weight of the c images with the largest logits, for every c from 0 on; (resamples, images + 1)."""
        return np.pad(np.cumsum(weight_bp[:, self.photograph_c], axis=1), ((0, 0), (1, 0)))

    def from_threshold(self, least_k: Floats, above: bool = False) -> npt.NDArray[np.intp]:
        """Number of images at or above each threshold. above: only those above it."""
        return len(self.logit_c) - np.searchsorted(self.logit_c[::-1], least_k, "right" if above else "left")


def _equal_error_rate(negative: _Class, positive: _Class, weight_bp: Weights) -> Floats:
    """By linear interpolation between the thresholds; see `trainables.detect.metrics.equal_error_rate`."""
    threshold_k = np.unique(np.concatenate([negative.logit_c, positive.logit_c]))[::-1]
    rates = []
    for of_class in (negative, positive):
        count_bc = of_class.counts(weight_bp)
        number_k = np.insert(of_class.from_threshold(threshold_k), 0, 0)
        rates.append(count_bc[:, number_k].astype(np.float64) / count_bc[:, -1:])
    false_bk, gap_bk = rates[0], rates[0] - (1 - rates[1])
    after_b = (gap_bk >= 0).argmax(axis=1)
    row_b = np.arange(len(gap_bk))
    low, high = gap_bk[row_b, after_b - 1], gap_bk[row_b, after_b]
    share = -low / np.where(high == low, 1.0, high - low)
    before = false_bk[row_b, after_b - 1]
    return np.asarray(before + share * (false_bk[row_b, after_b] - before), dtype=np.float64)


def _rate_at_one_percent(negative: _Class, positive: _Class, weight_bp: Weights) -> Floats:
    """The share of positives above the first negative with which more than 1 % of the negatives pass."""
    count_bc = negative.counts(weight_bp).astype(np.float64)
    passing_b = (count_bc[:, 1:] / count_bc[:, -1:] <= 0.01).sum(axis=1)  # below all: the last one has all of them
    number_b = positive.from_threshold(negative.logit_c[passing_b], above=True)
    found_bc = positive.counts(weight_bp)
    return np.asarray(found_bc[np.arange(len(found_bc)), number_b] / found_bc[:, -1], dtype=np.float64)
