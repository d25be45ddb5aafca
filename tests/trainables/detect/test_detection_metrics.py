"""Metrics of detectors: by hand, against torchmetrics and scikit-learn, and for perfect and constant detectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from sklearn.metrics import roc_curve
from torchmetrics.functional import classification as theirs

from trainables.detect import metrics as ours
from trainables.detect.metrics import LabelledPredictions


def drawn(n: int = 400, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(seed)
    label = source.random(n) < 0.4
    logit = source.normal(size=n) + label
    return (np.round(logit * 2) / 2 + 0.01 if ties else logit), label


def judged(logit: list[float] | np.ndarray, label: list[int] | np.ndarray, **changes: object) -> LabelledPredictions:
    of = np.asarray(label, dtype=bool)
    nothing = np.full(len(of), np.nan)
    usual = {
        "logit_n": np.asarray(logit, dtype=float),
        "label_n": of,
        "kind": ["inpainted" if one else "real" for one in of],
        "hole_share_n": np.where(of, 0.15, 0.0),
        "sharpness_n": nothing,
    }
    return LabelledPredictions(**{**usual, **changes})  # type: ignore[arg-type]


# --- against others ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
def test_labels_are_scored_as_by_torchmetrics(ties: bool) -> None:
    logit, label = drawn(ties=ties)
    found = ours.scores(judged(logit, label))
    p, t = torch.from_numpy(ours.probability(logit)), torch.from_numpy(label.astype(int))
    false, true, _ = theirs.binary_roc(p, t)
    expected = {
        "precision": theirs.binary_precision(p, t),
        "recall": theirs.binary_recall(p, t),
        "f1": theirs.binary_f1_score(p, t),
        "accuracy": theirs.binary_accuracy(p, t),
        "auc": theirs.binary_auroc(p, t),
        "ece": theirs.binary_calibration_error(p, t, n_bins=ours.BINS, norm="l1"),
        "tpr_at_fpr_1": true[false <= 0.01].max(),
        "fpr_authentic": 1 - theirs.binary_specificity(p, t),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value.item(), abs=2e-6), name


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [8, 30, 400])
def test_equal_error_rate_is_where_the_roc_curve_crosses_the_diagonal(n: int, ties: bool) -> None:
    for seed in range(20):
        logit, label = drawn(n, seed, ties)
        false, true, _ = roc_curve(label, logit)
        expected = brentq(lambda rate: 1 - rate - np.interp(rate, false, true), 0, 1)  # noqa: B023 - called at once
        assert ours.scores(judged(logit, label))["eer"] == pytest.approx(expected, abs=1e-9)


def test_the_best_threshold_is_the_best_of_all() -> None:
    for ties in (False, True):
        logit, label = drawn(200, seed=3, ties=ties)
        threshold = ours.best_threshold(logit, label)
        assert threshold is not None
        best = max(ours.at_threshold(logit, label, level)["f1"] for level in logit)
        assert ours.at_threshold(logit, label, threshold)["f1"] == best
        assert not (logit == threshold).any(), "it lies between two"


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_a_perfect_detector_scores_one() -> None:
    label = [1, 0, 1, 0]
    pixels = np.array([[10.0, 0, 0], [0, 0, 0], [20, 0, 0], [0, 0, 0]])
    iou = np.array([1.0, 0, 1, 0])
    perfect = judged([9, -9, 9, -9], label, iou_n=iou, pixel_n3=pixels, average_precision_pixel=1.0)
    found = ours.scores(perfect, threshold=0.0)
    ones = ("precision", "recall", "f1", "accuracy", "auc", "tpr_at_fpr_1", "mean_iou", "mean_iou_tp", "iou_above_50")
    assert {found[name] for name in (*ones, "pixel_f1", "pixel_iou", "average_precision_pixel", "f1_tuned")} == {1.0}
    assert found["eer"] == found["fpr_authentic"] == 0
    assert found["ece"] < 1e-3


def test_boxes_and_pixels_by_hand() -> None:
    iou, pixel = np.array([0.4, 0.9, 0.6, 0.8]), np.array([[6.0, 2, 2], [5, 0, 5], [1, 1, 1], [0, 9, 0]])
    found = ours.scores(judged([-1, 1, 1, 1], [1, 1, 1, 0], iou_n=iou, pixel_n3=pixel))
    assert found["mean_iou"] == pytest.approx((0.4 + 0.9 + 0.6) / 3), "the negative's does not count"
    assert found["mean_iou_tp"] == pytest.approx(0.75)
    assert found["iou_above_50"] == pytest.approx(2 / 3)
    assert found["pixel_iou"] == pytest.approx((0.6 + 0.5 + 1 / 3) / 3)
    assert found["pixel_f1"] == pytest.approx((12 / 16 + 10 / 15 + 2 / 4) / 3)


@pytest.mark.parametrize(
    ("logit", "label", "expected"),
    [
        ([3, 2, 1, 0], [1, 0, 1, 0], 1 / 2),  # from (0, 1/2) up to (1/2, 1/2)
        ([2, 1, 1, 1, 0], [1, 1, 0, 0, 0], 2 / 7),  # from (0, 1/2) to (2/3, 1): the nearest point gave 1/4
        ([0, 0, 0], [1, 0, 0], 1 / 2),  # from (0, 0) to (1, 1)
        ([0, 1, 1], [1, 0, 0], 1),  # the wrong way round
        ([1, 0, 0], [1, 0, 0], 0),
    ],
)
def test_equal_error_rate_by_hand(logit: list[float], label: list[int], expected: float) -> None:
    assert ours.scores(judged(logit, label))["eer"] == pytest.approx(expected)


def test_calibration_by_hand() -> None:
    logit = np.log([0.9 / 0.1, 0.9 / 0.1, 0.1 / 0.9, 0.1 / 0.9])
    assert ours.scores(judged(logit, [1, 0, 0, 0]))["ece"] == pytest.approx((0.4 + 0.1) / 2)


def test_controls_are_told_apart_from_photographs() -> None:
    kind = ["inpainted", "real", "real", "pasted", "resaved", "fake_real"]
    found = ours.scores(judged([1, -1, 1, 1, -1, -1], [1, 0, 0, 0, 0, 0], kind=kind))
    assert found["fpr_authentic"] == 0.5
    assert (found["fpr_pasted"], found["fpr_resaved"], found["fpr_fake_real"]) == (1, 0, 0)


def test_shares_of_hole_and_thirds_of_sharpness() -> None:
    share, sharp = np.array([0.05, 0.1, 0.15, 0.5, 0, 0]), np.array([3, 1, 2, 0.5, np.nan, np.nan])
    logit = [2, -1, 2, 3, -2, 0.5]
    found = ours.scores(judged(logit, [1, 1, 1, 1, 0, 0], hole_share_n=share, sharpness_n=sharp), shares=True)
    assert found["images_share_0_10"] == 2
    assert found["recall_share_0_10"] == 0.5
    assert found["auc_share_10_20"] == 1
    assert found["images_share_40_50"] == 1
    assert "images_share_60_100" not in found
    assert found["images_sharp_low"] + found["images_sharp_mid"] + found["images_sharp_high"] == 4
    assert found["recall_sharp_high"] == 1


def test_what_cannot_be_computed_is_left_out() -> None:
    found = ours.scores(judged([1.0, -1.0], [0, 0]), threshold=0.0)
    assert found["accuracy"] == 0.5
    assert not {"auc", "recall", "f1", "eer", "mean_iou"} & set(found)
    assert ours.best_threshold(np.zeros(2), np.zeros(2, bool)) is None


def test_a_detector_that_gives_no_number_is_told() -> None:
    assert np.isnan(ours.scores(judged([1.0, np.nan], [0, 1]))["accuracy"])
    for changes in ({"iou_n": np.array([0, np.nan])}, {"average_precision_pixel": np.nan}):
        assert np.isnan(ours.scores(judged([1.0, 1.0], [0, 1], **changes))["accuracy"])
