"""Names, units and meanings of the columns of records."""

from __future__ import annotations

import pytest

from analysis import wording
from sweeps.results import columns as record_columns

KNOWN = [
    ("test/psnr_db", "dB", "max"),
    ("val/psnr_db_hole_pooled", "dB", "max"),
    ("test/ssim_share_50_60", "", "max"),
    ("test/psnr_db_hole_share_0_10", "dB", "max"),
    ("test/images_share_0_10", "", ""),
    ("test/l1_seam", "", "min"),
    ("test/cross_entropy", "nats", "min"),
    ("test/dice_squared", "", "max"),
    ("test/lpips_alex", "", "min"),
    ("val/f1", "", "max"),
    ("test/f1_tuned", "", "max"),
    ("test/f1_tuned_on_telea", "", "max"),
    ("test/mean_iou_on_jpeg50", "", "max"),
    ("test/recall_share_10_20", "", "max"),
    ("test/auc_sharp_low", "", "max"),
    ("test/images_sharp_high", "", ""),
    ("test/fpr_authentic", "", "min"),
    ("val/threshold", "", ""),
    ("train/loss", "", "min"),
    ("train/adversarial_local", "", "min"),
    ("train/discriminator_accuracy_fake", "", "max"),
    ("train/discriminator_local_accuracy_real", "", "max"),
    ("train/discriminator_loss", "", "min"),
    ("train/discriminator_global_gradient_norm", "", ""),
    ("train/gradient_norm", "", ""),
    ("train/saturated", "", "min"),
    ("sys/images_per_s", "images/s", "max"),
    ("sys/time_s", "s", "min"),
    ("sys/peak_memory_mb", "MiB", "min"),
]


@pytest.mark.parametrize(("column", "unit", "better"), KNOWN)
def test_unit_direction_and_meaning(column: str, unit: str, better: str) -> None:
    assert record_columns.is_column(column)
    assert record_columns.describe(column)[:2] == (unit, better)
    assert record_columns.describe(column)[2]


@pytest.mark.parametrize(
    "column",
    [
        "test/pnsr_db",
        "test/psnr_db_holes",
        "test/share_0_10",
        "val/lpips_vgg",
        "val/l1_share_0_10",
        "val/f1_tuned",
        "test/f1_hole",
        "test/auc_tuned",
        "sys/images",
        "epoch",
        "l2",
    ],
)
def test_what_no_trial_reports_is_unknown(column: str) -> None:
    assert record_columns.describe(column) == ("", "", "")


def test_meanings_tell_a_metric_from_the_loss_term_of_its_name() -> None:
    assert record_columns.describe("val/l2")[2] == "mean squared error, images in [0, 1]"
    assert "in the model's own value range" in record_columns.describe("train/l2")[2]
    assert record_columns.describe("train/discriminator_local_loss")[2].startswith("local discriminator: ")


def test_labels() -> None:
    assert wording.label("test/psnr_db_hole_share_10_20") == "test PSNR hole at 10 to 20 % hole"
    assert wording.label("test/dice_soft") == "test Dice soft"
    assert wording.label("sys/images_per_s") == "training speed"
