"""Curves and the picture grid."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import studies
from analysis.report import figures
from analysis.report.sections import pictures
from analysis.statistics import intervals
from tests.analysis.make_store import EPOCHS, NOW, ArmSpec, make_store


def test_bands_are_intervals_by_epoch(tmp_path: Path) -> None:
    study = studies.read(make_store(tmp_path), "partial-conv", NOW)
    rows = study.records[study.records["arm"] == "partial convolution"]
    mean, low, high = figures.bands(rows, "val/psnr_db")
    assert len(mean) == EPOCHS
    expected = intervals.mean_interval(rows.loc[rows["epoch"] == 7, "val/psnr_db"])
    assert expected is not None
    assert (low[7], mean[7], high[7]) == pytest.approx((expected.low, expected.mean, expected.high))


def test_validation_is_drawn_where_test_has_few_epochs(tmp_path: Path) -> None:
    study = studies.read(make_store(tmp_path), "partial-conv", NOW)
    assert figures.curve_columns(study) == ["val/psnr_db", "val/l2_raw", "val/ssim"]


@pytest.mark.parametrize(("form", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_curves_are_the_same_every_time(tmp_path: Path, form: str, start: bytes) -> None:
    study = studies.read(make_store(tmp_path), "partial-conv", NOW)
    first = figures.curves(study, form)
    assert first is not None
    assert first.startswith(start)
    assert figures.curves(study, form) == first


@pytest.mark.parametrize("name", ["$x^{2$", "_hidden", "模型", "<b>&", "long " * 40, "line\nbreak"])
def test_any_name_can_be_drawn(tmp_path: Path, name: str) -> None:
    store = make_store(tmp_path, [ArmSpec(name, 25.0), ArmSpec("fill", 20.0, trains=False)], [0], [])
    study = studies.read(store, "partial-conv", NOW)
    assert figures.curves(study) is not None
    assert pictures.picture_grid(study) is not None


def test_many_arms_can_be_drawn(tmp_path: Path) -> None:
    study = studies.read(
        make_store(tmp_path, [ArmSpec(f"arm {n}", 20.0 + n) for n in range(50)], [0], []), "partial-conv"
    )
    assert figures.curves(study) is not None


def test_no_curves_without_epochs(tmp_path: Path) -> None:
    fills = [ArmSpec("a", 25.0, trains=False), ArmSpec("b", 25.0, trains=False)]
    assert figures.curves(studies.read(make_store(tmp_path, fills, [0], []), "partial-conv", NOW)) is None
    failed = [ArmSpec("a", 25.0, states={0: "failed"})]
    study = studies.read(make_store(tmp_path / "failed", failed, [0], []), "partial-conv", NOW)
    assert figures.curves(study) is None
    assert pictures.picture_grid(study) is None
