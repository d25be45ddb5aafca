"""Metrics of detectors: how well they separate inpainted images from others, and locate the hole.

An image is classified as inpainted if its probability is 0.5 or more. Positives are the inpainted images.

    precision, recall, f1, accuracy     at that threshold; precision is 0 if no image is classified as inpainted
    ..._tuned                           the same at `threshold`, which maximises F1 on the validation images
    auc, eer, tpr_at_fpr_1              over all thresholds: area under the ROC curve; equal error rate, interpolated
                                        between thresholds; true positive rate at a false positive rate of at most 1 %
    fpr_authentic, fpr_<kind>           false positive rate on untouched photographs, or on one kind of control
    ece                                 expected calibration error over 15 bins of the probability
    mean_iou, iou_above_50              of the boxes, over all positives: mean IoU, and share with an IoU above 0.5
    mean_iou_tp                         mean IoU over the true positives
    pixel_f1, pixel_iou                 of the mask, or of the filled box, mean over positives
    average_precision_pixel             of the mask, over all pixels of positives, ranked by their logits
    ..._share_10_20                     SHARE_METRICS of the positives whose hole covers more than 10 and up to 20 %
    ..._sharp_low, _mid, _high          SHARE_METRICS of a third of the positives, by the sharpness of the fill
                                        relative to the photograph there; `auc` compares with all negatives

Metrics that cannot be computed, or say nothing because a class has no images, are left out: of fakes alone there remain
recall, accuracy and all that compares places, of photographs alone accuracy and the false positive rates. All are in
float64 on the CPU.
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
"""Bins of the probability, for the calibration error."""
SHARE_METRICS = ("recall", "auc", "mean_iou", "pixel_f1")
THIRDS = ("low", "mid", "high")
OF_BOTH_CLASSES = ("precision", "f1", "ece")
"""Metrics that need positives and negatives: where there are no negatives, each fake found is a precision of 1."""
CONTROLS = ("fake_real", "pasted", "resaved")


@dataclass(frozen=True)
class LabelledPredictions:
    """Predictions for n images, with their labels."""

    logit_n: Floats
    """Predicted logit of "inpainted"."""
    label_n: Bools
    """True for inpainted images."""
    kind: Sequence[str]
    """Kind of each image, one of `forged_images.KINDS`."""
    hole_share_n: Floats
    """Share of the pixels in the hole."""
    sharpness_n: Floats
    """Sharpness of the fill relative to the photograph there; NaN without a hole."""
    iou_n: Floats | None = None
    """IoU of the predicted with the true box; None if the detector gives no place."""
    pixel_n3: Floats | None = None
    """True positive, false positive and false negative pixels of the predicted mask."""
    average_precision_pixel: float | None = None
    """Average precision of the pixels of positives; None if the detector gives no mask, or there are no positives."""

    @property
    def finite(self) -> bool:
        numbers = (self.logit_n, self.iou_n, self.average_precision_pixel)
        return all(bool(np.isfinite(one).all()) for one in numbers if one is not None)


def scores(predictions: LabelledPredictions, threshold: float | None = None, shares: bool = False) -> dict[str, float]:
    """All metrics that can be computed; only `accuracy`, as NaN, if a prediction is not finite.

    threshold: the logit chosen on the validation images.
    shares: also compute SHARE_METRICS by share of the hole and by sharpness.
    """
    if not predictions.finite:
        return {"accuracy": float("nan")}
    label, logit = predictions.label_n, predictions.logit_n
    values = at_threshold(logit, label, 0.0)
    if threshold is not None:
        values |= {f"{name}_tuned": value for name, value in at_threshold(logit, label, threshold).items()}
        values["threshold"] = float(probability(np.array(threshold)))
    values |= _of_all_thresholds(logit, label) | _false_positives(predictions)
    values["ece"] = calibration_error(probability(logit), label)
    if label.all() or not label.any():
        values = {name: value for name, value in values.items() if not name.startswith(OF_BOTH_CLASSES)}
    values |= _of_holes(predictions, label)
    detected = label & (logit >= 0)
    if predictions.iou_n is not None and detected.any():
        values["mean_iou_tp"] = float(predictions.iou_n[detected].mean())
    if predictions.average_precision_pixel is not None:
        values["average_precision_pixel"] = predictions.average_precision_pixel
    return values | (_by_group(predictions) if shares else {})


def probability(logit: Floats) -> Floats:
    """Probability of being inpainted."""
    with np.errstate(over="ignore"):
        p: Floats = 1 / (1 + np.exp(-logit))
    return p


def at_threshold(logit_n: Floats, label_n: Bools, threshold: float) -> dict[str, float]:
    """precision, recall, f1 and accuracy if logits of `threshold` or more mean inpainted."""
    predicted_n = logit_n >= threshold
    right, predicted, true = int((predicted_n & label_n).sum()), int(predicted_n.sum()), int(label_n.sum())
    values = {"precision": right / max(1, predicted), "accuracy": float((predicted_n == label_n).mean())}
    if true:
        values |= {"recall": right / true, "f1": 2 * right / (predicted + true)}
    return values


def best_threshold(logit_n: Floats, label_n: Bools) -> float | None:
    """The logit threshold with the highest F1, halfway between two predicted logits.

    Among equally good thresholds, the highest. None if there are no positives, or if a logit is not finite.
    """
    if not label_n.any() or not np.isfinite(logit_n).all():
        return None
    levels, right, predicted = _cumulated(logit_n, label_n)
    f1 = 2 * right / (predicted + label_n.sum())
    best = int(f1.argmax())
    return float(levels[best] if best + 1 == len(levels) else (levels[best] + levels[best + 1]) / 2)


def _cumulated(logit_n: Floats, label_n: Bools) -> tuple[Floats, Floats, Floats]:
    """(logits, positives, images): the distinct logits in descending order, and the counts at or above each."""
    order = np.argsort(-logit_n, kind="stable")
    logit, label = logit_n[order], label_n[order]
    ends = np.append(np.flatnonzero(np.diff(logit)), len(logit) - 1)
    right: Floats = np.cumsum(label)[ends].astype(np.float64)
    return logit[ends], right, (ends + 1).astype(np.float64)


def roc(logit_n: Floats, label_n: Bools) -> tuple[Floats, Floats]:
    """(false positive rate, true positive rate) at descending thresholds from infinity on; needs both classes."""
    from sklearn.metrics import roc_curve  # more than a second, so it is imported where it is needed

    false, true, _ = roc_curve(label_n, logit_n, drop_intermediate=False)
    return false, true


def auc(logit_n: Floats, label_n: Bools) -> float | None:
    """Area under the ROC curve: the probability that a positive scores higher than a negative; None without either.

    Taken over all points of the curve: `roc_auc_score` drops collinear ones, which changes the last bit.
    """
    if label_n.all() or not label_n.any():
        return None
    from sklearn.metrics import auc as area_under

    return float(area_under(*roc(logit_n, label_n)))


def _of_all_thresholds(logit_n: Floats, label_n: Bools) -> dict[str, float]:
    area = auc(logit_n, label_n)
    if area is None:
        return {}
    false, true = roc(logit_n, label_n)
    return {
        "auc": area,
        "eer": equal_error_rate(false, true),
        "tpr_at_fpr_1": float(true[false <= 0.01].max()),
    }


def equal_error_rate(false_k: Floats, true_k: Floats) -> float:
    """The rate at which false positives and misses are equal, by linear interpolation between points of the ROC curve.

    false_k, true_k: false and true positive rates of the points, both rising from 0 to 1.
    """
    gap_k = false_k - (1 - true_k)  # rises from -1 to 1
    after = int((gap_k >= 0).argmax())
    before = after - 1
    share = -gap_k[before] / (gap_k[after] - gap_k[before])
    return float(false_k[before] + share * (false_k[after] - false_k[before]))


def _false_positives(predictions: LabelledPredictions) -> dict[str, float]:
    kind_n, predicted_n = np.array(predictions.kind), predictions.logit_n >= 0
    values = {}
    for kind in ("real", *CONTROLS):
        of_kind = (kind_n == kind) & ~predictions.label_n
        if of_kind.any():
            values[f"fpr_{'authentic' if kind == 'real' else kind}"] = float(predicted_n[of_kind].mean())
    return values


def calibration_error(probability_n: Floats, label_n: Bools) -> float:
    """Mean of |mean probability - share of positives| over equal bins, weighted by the number of images in each."""
    bin_n = np.minimum((probability_n * BINS).astype(int), BINS - 1)
    gap = np.bincount(bin_n, probability_n - label_n, BINS)
    return float(np.abs(gap).sum() / len(label_n))


def _of_holes(predictions: LabelledPredictions, among_n: Bools) -> dict[str, float]:
    """Metrics of the boxes and masks of the selected positives."""
    values: dict[str, float] = {}
    if not among_n.any():
        return values
    if predictions.iou_n is not None:
        iou = predictions.iou_n[among_n]
        values |= {"mean_iou": float(iou.mean()), "iou_above_50": float((iou > 0.5).mean())}
    if predictions.pixel_n3 is not None:
        right, wrong, missed = predictions.pixel_n3[among_n].T
        either = np.maximum(1, right + wrong + missed)
        values["pixel_f1"] = float((2 * right / np.maximum(1, 2 * right + wrong + missed)).mean())
        values["pixel_iou"] = float((right / either).mean())
    return values


def _by_group(predictions: LabelledPredictions) -> dict[str, float]:
    """SHARE_METRICS and numbers of images of the positives, by share of the hole and by sharpness of the fill."""
    groups = {}
    for low, high in itertools.pairwise(SHARES):
        hole = predictions.hole_share_n * 100
        groups[f"share_{low}_{high}"] = predictions.label_n & (hole > low) & (hole <= high)
    sharp = predictions.label_n & np.isfinite(predictions.sharpness_n)
    if sharp.sum() >= len(THIRDS):
        first, second = np.quantile(predictions.sharpness_n[sharp], [1 / 3, 2 / 3])
        place = np.digitize(predictions.sharpness_n, [first, second], right=True)
        groups |= {f"sharp_{name}": sharp & (place == i) for i, name in enumerate(THIRDS)}
    values: dict[str, float] = {}
    for label, among in groups.items():
        if among.any():
            values |= {f"{name}_{label}": value for name, value in _of_group(predictions, among).items()}
            values[f"images_{label}"] = int(among.sum())
    return values


def _of_group(predictions: LabelledPredictions, among_n: Bools) -> dict[str, float]:
    compared = among_n | ~predictions.label_n
    area = auc(predictions.logit_n[compared], predictions.label_n[compared])
    values = {"recall": float((predictions.logit_n[among_n] >= 0).mean()), **({} if area is None else {"auc": area})}
    return {
        name: value for name, value in {**values, **_of_holes(predictions, among_n)}.items() if name in SHARE_METRICS
    }
