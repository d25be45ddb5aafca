"""Comparison of two sweeps, and of two histories of one trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import studies
from analysis.report import compare_sweeps
from analysis.study import Study
from sweeps.errors import SweepError
from tests.analysis.make_store import NOW, ArmSpec, make_store

PSNR = "test/psnr_db"


def study(root: Path, *arms: ArmSpec, seeds: int = 8) -> Study:
    return studies.read(make_store(root, arms, range(seeds), []), "partial-conv", NOW)


def test_drift_is_told_from_noise(tmp_path: Path) -> None:
    fill = ArmSpec("fill", 20.0, trains=False)
    before = study(tmp_path / "a", ArmSpec("same", 26.0), ArmSpec("better", 26.0), ArmSpec("wide", 26.0, sd=1.0), fill)
    after = study(tmp_path / "b", ArmSpec("same", 26.0), ArmSpec("better", 27.0), ArmSpec("wide", 26.01, sd=2.0), fill)
    found = {line.arm: line for line in compare_sweeps.compare(before, after) if line.metric == PSNR}
    assert {name: line.verdict for name, line in found.items()} == {
        "same": compare_sweeps.SAME,
        "better": compare_sweeps.DRIFT,
        "wide": compare_sweeps.NOISE,
        "fill": compare_sweeps.SAME,
    }
    assert found["better"].difference is not None
    assert found["better"].difference.mean == pytest.approx(1.0)


def test_a_fill_has_no_noise(tmp_path: Path) -> None:
    before = study(tmp_path / "a", ArmSpec("fill", 20.0, trains=False))
    after = study(tmp_path / "b", ArmSpec("fill", 20.001, trains=False))
    assert compare_sweeps.compare(before, after)[0].verdict == compare_sweeps.DRIFT


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    before = study(tmp_path / "a", ArmSpec("net", 20.0), seeds=1)
    after = study(tmp_path / "b", ArmSpec("net", 25.0), seeds=1)
    assert compare_sweeps.compare(before, after)[0].verdict == compare_sweeps.OPEN


def test_arms_are_matched_by_name(tmp_path: Path) -> None:
    before, after = study(tmp_path / "a", ArmSpec("one", 20.0)), study(tmp_path / "b", ArmSpec("two", 20.0))
    with pytest.raises(SweepError) as caught:
        compare_sweeps.compare(before, after)
    assert "have no arm in common" in str(caught.value)
    assert [sentence[-6:] for sentence in compare_sweeps.unmatched_arms(before, after)] == ["“one”.", "“two”."]


def test_what_changed_in_a_history() -> None:
    before = {
        "epoch": [1, 2, 3],
        "val/l2": [0.3, 0.2, 0.1],
        "test/l2": [None, None, 0.1],
        "sys/time_s": [1.0, 1.0, 1.0],
    }
    again = {**before, "sys/time_s": [2.0, 2.0, 2.0]}
    assert compare_sweeps.history_change(before, again) is None
    found = compare_sweeps.history_change(before, {**again, "val/l2": [0.3, 0.2 + 1e-9, 0.11]})
    assert found is not None
    (change,) = found.columns
    assert (change.column, change.epoch) == ("val/l2", 2)
    assert (change.largest, change.relative) == (pytest.approx(0.01), pytest.approx(0.01 / 0.11))
    assert str(found) == "differs from epoch 2 on, at most: val/l2 by 0.01 (9.1 %)"
    assert found.exceeds(0.05)
    assert not found.exceeds(0.1)
    shorter = compare_sweeps.history_change(before, {name: values[:2] for name, values in again.items()})
    assert shorter is not None
    assert [one.column for one in shorter.columns if one.relative == float("inf")] == ["epoch", "val/l2", "test/l2"]


def test_columns_of_different_units_are_compared_by_share() -> None:
    before = {"epoch": [1], "train/gradient": [5e6], "test/psnr_db": [20.0], "test/l2": [1e-9]}
    rounded = {"epoch": [1], "train/gradient": [5e6 + 8.8e3], "test/psnr_db": [20.2], "test/l2": [2e-9]}
    found = compare_sweeps.history_change(before, rounded)
    assert found is not None
    assert [one.column for one in found.columns] == ["test/l2", "test/psnr_db", "train/gradient"]
    assert found.exceeds(0.005)
    assert not found.exceeds(0.02), "1e-9 is nothing beside 1e-3"
