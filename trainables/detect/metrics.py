"""How well a detector tells inpainted images from others, and finds the hole.

An image is said to be inpainted where its probability is 0.5 or more. Positives are the inpainted images.

    precision, recall, f1, accuracy     at that threshold; precision is 0 where nothing is said to be inpainted
    ..._tuned                           the same at the threshold with the best F1 on the validation images, `threshold`
    auc, eer, tpr_at_fpr_1              area under the ROC curve, equal error rate, share of positives found where at
                                        most 1 % of the others are: of all thresholds
    fpr_authentic, fpr_<kind>           share of the untouched photographs, or of a kind of control, that it fires on
    ece                                 expected calibration error over 15 bins of the probability
    mean_iou, iou_above_50              of the boxes over all positives: mean, and share above 0.5
    mean_iou_tp                         the mean over the positives that are found
    pixel_f1, pixel_iou                 of the mask, or of the box painted as one, mean over positives
    average_precision_pixel             of the mask, over all pixels of positives
    ..._share_10_20                     SHARE_METRICS of the positives whose hole is above 10 and up to 20 %
    ..._sharp_low, _mid, _high          SHARE_METRICS of a third of the positives, by how sharp their fill is beside
                                        the photograph there; `auc` is against all images that are no positives

What cannot be computed (of a class that no image has, say) is left out. Everything is in float64 on the CPU.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainables.inpaint.evaluation.metrics import SHARES

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BINS = 15
"""Of the probability, for the calibration error."""
LEVELS = 1000
"""Of a pixel's probability, for its average precision."""
SHARE_METRICS = ("recall", "auc", "mean_iou", "pixel_f1")
THIRDS = ("low", "mid", "high")
CONTROLS = ("fake_real", "pasted", "resaved")


@dataclass(frozen=True)
class Judged:
    """What a detector said of n images, beside what is true.

    pixel_n3: pixels that are rightly, wrongly and wrongly not in its mask. levels: (2, LEVELS), how many pixels of
    positives outside and inside the hole have a probability in each of so many equal steps.
    """

    logit_n: Floats
    label_n: Bools
    kind: Sequence[str]
    hole_share_n: Floats
    sharpness_n: Floats
    iou_n: Floats | None = None
    pixel_n3: Floats | None = None
    levels: Floats | None = None

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.logit_n).all() and (self.iou_n is None or np.isfinite(self.iou_n).all()))


def scores(judged: Judged, threshold: float | None = None, shares: bool = False) -> dict[str, float]:
    """Every metric that can be computed; NaN in `accuracy` alone where the detector gave no number.

    threshold: the logit that was chosen on the validation images. shares: also by share of hole and sharpness.
    """
    if not judged.finite:
        return {"accuracy": float("nan")}
    label, logit = judged.label_n, judged.logit_n
    values = at_threshold(logit, label, 0.0)
    if threshold is not None:
        values |= {f"{name}_tuned": value for name, value in at_threshold(logit, label, threshold).items()}
        values["threshold"] = float(probability(np.array(threshold)))
    values |= _of_all_thresholds(logit, label) | _false_positives(judged)
    values["ece"] = calibration_error(probability(logit), label)
    values |= _of_holes(judged, label)
    found = label & (logit >= 0)
    if judged.iou_n is not None and found.any():
        values["mean_iou_tp"] = float(judged.iou_n[found].mean())
    if judged.levels is not None and judged.levels[1].sum():
        values["average_precision_pixel"] = average_precision(judged.levels)
    return values | (_by_group(judged) if shares else {})


def probability(logit: Floats) -> Floats:
    """Of being inpainted."""
    with np.errstate(over="ignore"):
        p: Floats = 1 / (1 + np.exp(-logit))
    return p


def at_threshold(logit_n: Floats, label_n: Bools, threshold: float) -> dict[str, float]:
    """precision, recall, f1 and accuracy where logits of `threshold` or more say inpainted."""
    said_n = logit_n >= threshold
    right, said, true = int((said_n & label_n).sum()), int(said_n.sum()), int(label_n.sum())
    values = {"precision": right / max(1, said), "accuracy": float((said_n == label_n).mean())}
    if true:
        values |= {"recall": right / true, "f1": 2 * right / (said + true)}
    return values


def best_threshold(logit_n: Floats, label_n: Bools) -> float | None:
    """The logit from which on images are said to be inpainted so that F1 is best; halfway between two of them.

    None where no image is a positive, or a logit is no number. Of equally good ones, the highest.
    """
    if not label_n.any() or not np.isfinite(logit_n).all():
        return None
    levels, right, said = _cumulated(logit_n, label_n)
    f1 = 2 * right / (said + label_n.sum())
    best = int(f1.argmax())
    return float(levels[best] if best + 1 == len(levels) else (levels[best] + levels[best + 1]) / 2)


def _cumulated(logit_n: Floats, label_n: Bools) -> tuple[Floats, Floats, Floats]:
    """(levels, positives, images) at and above each level that a logit has, from the highest down."""
    order = np.argsort(-logit_n, kind="stable")
    logit, label = logit_n[order], label_n[order]
    ends = np.append(np.flatnonzero(np.diff(logit)), len(logit) - 1)
    right: Floats = np.cumsum(label)[ends].astype(np.float64)
    return logit[ends], right, (ends + 1).astype(np.float64)


def roc(logit_n: Floats, label_n: Bools) -> tuple[Floats, Floats]:
    """(false positive rate, true positive rate) from threshold infinity down; both classes have to be there."""
    _, right, said = _cumulated(logit_n, label_n)
    negatives, positives = (~label_n).sum(), label_n.sum()
    return np.append(0.0, (said - right) / negatives), np.append(0.0, right / positives)


def auc(logit_n: Floats, label_n: Bools) -> float | None:
    """Area under the ROC curve: how often a positive scores higher than another; None where one class is missing."""
    if label_n.all() or not label_n.any():
        return None
    false, true = roc(logit_n, label_n)
    return float(np.trapezoid(true, false))


def _of_all_thresholds(logit_n: Floats, label_n: Bools) -> dict[str, float]:
    area = auc(logit_n, label_n)
    if area is None:
        return {}
    false, true = roc(logit_n, label_n)
    nearest = int(np.abs(false - (1 - true)).argmin())
    return {
        "auc": area,
        "eer": float(false[nearest] + 1 - true[nearest]) / 2,
        "tpr_at_fpr_1": float(true[false <= 0.01].max()),
    }


def _false_positives(judged: Judged) -> dict[str, float]:
    kind_n, said_n = np.array(judged.kind), judged.logit_n >= 0
    values = {}
    for kind in ("real", *CONTROLS):
        of_kind = (kind_n == kind) & ~judged.label_n
        if of_kind.any():
            values[f"fpr_{'authentic' if kind == 'real' else kind}"] = float(said_n[of_kind].mean())
    return values


def calibration_error(probability_n: Floats, label_n: Bools) -> float:
    """Mean over equal bins of |mean probability - share of positives|, weighted by the images in each."""
    bin_n = np.minimum((probability_n * BINS).astype(int), BINS - 1)
    gap = np.bincount(bin_n, probability_n - label_n, BINS)
    return float(np.abs(gap).sum() / len(label_n))


def _of_holes(judged: Judged, among_n: Bools) -> dict[str, float]:
    """Boxes and masks of some of the positives."""
    values: dict[str, float] = {}
    if not among_n.any():
        return values
    if judged.iou_n is not None:
        iou = judged.iou_n[among_n]
        values |= {"mean_iou": float(iou.mean()), "iou_above_50": float((iou > 0.5).mean())}
    if judged.pixel_n3 is not None:
        right, wrong, missed = judged.pixel_n3[among_n].T
        either = np.maximum(1, right + wrong + missed)
        values["pixel_f1"] = float((2 * right / np.maximum(1, 2 * right + wrong + missed)).mean())
        values["pixel_iou"] = float((right / either).mean())
    return values


def average_precision(levels: Floats) -> float:
    """Of (2, LEVELS) counts of negatives and positives: precision at each step of recall, summed, without drawing."""
    negative, positive = np.cumsum(levels[:, ::-1], 1)
    precision = positive / np.maximum(1, negative + positive)
    return float((np.diff(positive, prepend=0) * precision).sum() / positive[-1])


def _by_group(judged: Judged) -> dict[str, float]:
    """SHARE_METRICS, and how many images, of the positives by share of hole and by sharpness of the fill."""
    groups = {}
    for low, high in itertools.pairwise(SHARES):
        hole = judged.hole_share_n * 100
        groups[f"share_{low}_{high}"] = judged.label_n & (hole > low) & (hole <= high)
    sharp = judged.label_n & np.isfinite(judged.sharpness_n)
    if sharp.sum() >= len(THIRDS):
        first, second = np.quantile(judged.sharpness_n[sharp], [1 / 3, 2 / 3])
        place = np.digitize(judged.sharpness_n, [first, second], right=True)
        groups |= {f"sharp_{name}": sharp & (place == i) for i, name in enumerate(THIRDS)}
    values: dict[str, float] = {}
    for label, among in groups.items():
        if among.any():
            values |= {f"{name}_{label}": value for name, value in _of_group(judged, among).items()}
            values[f"images_{label}"] = int(among.sum())
    return values


def _of_group(judged: Judged, among_n: Bools) -> dict[str, float]:
    there = among_n | ~judged.label_n
    area = auc(judged.logit_n[there], judged.label_n[there])
    values = {"recall": float((judged.logit_n[among_n] >= 0).mean()), **({} if area is None else {"auc": area})}
    return {name: value for name, value in {**values, **_of_holes(judged, among_n)}.items() if name in SHARE_METRICS}
