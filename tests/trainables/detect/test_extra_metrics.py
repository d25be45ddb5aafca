"""Metrics of detectors that a sweep asks for, against scikit-learn and by brute force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation, binary_erosion, label
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_recall_curve, roc_auc_score
from torchvision.ops import box_iou

from sweeps.results import columns as record_columns
from tests.trainables.detect.test_detect import LABEL, MASK
from tests.trainables.forgery.forged_small import InMemory, configured, small
from trainables.detect.evaluation import extra_metrics
from trainables.detect.metrics import LabelledPredictions
from trainables.detect.output import DetectorOutput
from trainables.errors import TrialError
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession


def run(root: Path, names: tuple[str, ...], **changes: Any) -> MemorySession:
    config = configured(epochs=1, **changes)
    session = MemorySession(Goal(1, extra=names), Machine(data_root=root))
    fit(InMemory(small(root), {"noise": small(root, fill="noise")}), config, session)  # type: ignore[arg-type]
    return session


def test_the_names_that_a_sweep_may_ask_for() -> None:
    assert record_columns.DETECTION_EXTRA == extra_metrics.NAMES
    assert all(record_columns.describe(f"test/{name}_on_bench")[2] for name in extra_metrics.NAMES)


@pytest.mark.parametrize("ties", [False, True])
def test_pixels_of_an_image_as_scikit_learn_has_them(ties: bool) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        true_n = rng.random(300) < 0.2
        map_n = rng.normal(size=300) + true_n
        map_n = np.round(map_n) if ties else map_n
        precision, recall, _ = precision_recall_curve(true_n, map_n)
        both = np.maximum(precision + recall, 1e-12)
        assert extra_metrics.best_f1(map_n, true_n) == pytest.approx((2 * precision * recall / both).max())
        assert extra_metrics.pixel_auc(map_n, true_n) == pytest.approx(roc_auc_score(true_n, map_n))


def test_an_inverted_map_finds_as_much_as_the_map_itself() -> None:
    true_hw = np.zeros((32, 32), dtype=np.bool_)
    true_hw[4:20, 6:30] = True
    for sign in (1.0, -1.0):
        found = extra_metrics._of_image(sign * (true_hw - 0.5), true_hw, False, True)
        assert found["pixel_f1_best_either"] == 1
        assert (found["pixel_f1_best"] == 1) == (sign > 0)
        assert found["pixel_auc"] == (sign > 0)


def test_stray_pixels_do_not_enlarge_the_box_of_the_largest_region() -> None:
    true_hw = np.zeros((32, 32), dtype=np.bool_)
    true_hw[4:20, 6:30] = True
    rng = np.random.default_rng(0)
    for _ in range(20):
        detected_hw = (rng.random(true_hw.shape) < 0.1) | (true_hw & (rng.random(true_hw.shape) < 0.6))
        found = extra_metrics._of_image(detected_hw - 0.5, true_hw, False, True)["mean_iou_region"]
        region_hw, count = label(detected_hw, np.ones((3, 3)))
        sizes = [(region_hw == number).sum() for number in range(1, count + 1)]
        places = np.nonzero(region_hw == 1 + int(np.argmax(sizes)))
        box = [places[1].min(), places[0].min(), places[1].max() + 1, places[0].max() + 1]
        expected = box_iou(torch.tensor([box]), torch.tensor([[6, 4, 30, 20]])).item()
        assert found == pytest.approx(expected)
    stray_hw = true_hw.copy()
    stray_hw[31, 0] = True
    assert extra_metrics._of_image(stray_hw - 0.5, true_hw, False, True)["mean_iou_region"] == 1
    assert extra_metrics._of_image(np.full((32, 32), -1.0), true_hw, False, True)["mean_iou_region"] == 0


@pytest.mark.parametrize(("side", "inner", "outer"), [(256, 7, 5), (64, 1, 1), (32, 1, 0)])
def test_the_border_of_a_hole_is_left_out(side: int, inner: int, outer: int) -> None:
    true_hw = np.zeros((side, side), dtype=np.bool_)
    true_hw[side // 4 : side // 2, side // 8 : side // 2] = True
    inside_hw, outside_hw = extra_metrics.without_border(true_hw)
    square = np.ones((3, 3), dtype=np.bool_)
    assert np.array_equal(inside_hw, binary_erosion(true_hw, square, inner))
    assert np.array_equal(outside_hw, ~(binary_dilation(true_hw, square, outer) if outer else true_hw))
    map_hw = binary_erosion(true_hw, square, inner) - 0.5  # misses the border alone
    found = extra_metrics._of_image(map_hw, true_hw, False, True)
    assert found["pixel_f1_no_border"] == 1
    kept = inside_hw | outside_hw
    map_hw = np.random.default_rng(0).normal(size=true_hw.shape)
    found = extra_metrics._of_image(map_hw, true_hw, False, True)
    assert found["pixel_f1_no_border"] == pytest.approx(f1_score(inside_hw[kept], map_hw[kept] >= 0))


def test_the_border_is_as_wide_in_a_photograph_that_is_turned() -> None:
    true_hw = np.zeros((64, 256), dtype=np.bool_)
    true_hw[10:40, 30:150] = True
    kept, turned = extra_metrics.without_border(true_hw), extra_metrics.without_border(true_hw.T)
    assert all(np.array_equal(one, other.T) for one, other in zip(kept, turned, strict=True))
    assert np.array_equal(kept[0], binary_erosion(true_hw, np.ones((3, 3), dtype=np.bool_), 1))


def test_labels_as_scikit_learn_has_them() -> None:
    rng = np.random.default_rng(0)
    label_n = rng.random(200) < 0.3
    logit_n = rng.normal(size=200) + label_n
    kind = ["inpainted" if one else "pasted" if i % 3 else "real" for i, one in enumerate(label_n)]
    predictions = LabelledPredictions(logit_n, label_n, kind, np.zeros(200), np.zeros(200))
    found = extra_metrics.of_labels(predictions, 0.7, extra_metrics.NAMES)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(label_n, logit_n >= 0))
    assert found["balanced_accuracy_tuned"] == pytest.approx(balanced_accuracy_score(label_n, logit_n >= 0.7))
    real = np.array(kind) == "real"
    assert found["fpr_authentic_tuned"] == (logit_n[real] >= 0.7).mean()
    assert set(extra_metrics.of_labels(predictions, None, extra_metrics.NAMES)) == {"balanced_accuracy"}


def test_false_alarms_are_counted_on_photographs_alone(data_root: Path) -> None:
    part = small(data_root).test

    def everything(image_b3hw: torch.Tensor) -> DetectorOutput:
        return DetectorOutput(image_b3hw.new_ones(len(image_b3hw)), None, image_b3hw.mean(1, keepdim=True) - 0.5)

    values = extra_metrics.of_pixels(everything, part, extra_metrics.NAMES)["pixel_fpr_authentic"]
    real = torch.tensor([kind == "real" for kind in part.kind])
    assert np.isfinite(values).tolist() == real.tolist()
    bright = (part.image_n3hw[real].float().div(255).mean(1) >= 0.5).double().mean((1, 2))
    np.testing.assert_allclose(values[real.numpy()], bright.numpy())


def test_a_trial_has_the_columns_it_is_asked_for_on_every_test_set(data_root: Path) -> None:
    asked = ("pixel_auc", "balanced_accuracy")
    changes: dict[str, Any] = {"test_changes": {"blurred": {"blur": 1.0}}}
    row = run(data_root, asked, model=MASK, **changes).rows[-1]
    for name in asked:
        assert all(0 <= row[f"test/{name}{on}"] <= 1 for on in ("", "_on_blurred", "_on_noise"))
    assert row["test/pixel_auc"] != row["test/pixel_auc_on_blurred"]
    without = run(data_root, (), model=MASK, **changes).rows[-1]
    assert not {name for name in without if name.startswith(tuple(f"test/{one}" for one in asked))}
    assert {name for name in row if name not in without} == {
        f"test/{name}{on}" for name in asked for on in ("", "_on_blurred", "_on_noise")
    }
    labels = run(data_root, asked, model=LABEL).rows[-1]
    assert "test/balanced_accuracy" in labels
    assert "test/pixel_auc" not in labels, "it gives no place"
    box = run(data_root, extra_metrics.PIXELS).rows[-1]
    assert box["test/pixel_f1_best_either"] >= box["test/pixel_f1_best"] >= box["test/pixel_f1"] - 1e-9


def test_scores_of_fills_are_refused(data_root: Path) -> None:
    with pytest.raises(TrialError, match="does not fill images"):
        run(data_root, ("fid",))
