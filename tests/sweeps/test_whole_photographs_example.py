"""The example `whole_photographs`: its sweeps run, and its script measures what their detectors find."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path
from typing import Any

import pytest

from sweeps.cli.main import main

FOLDER = Path(__file__).resolve().parents[2] / "examples/whole_photographs"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "measure.py"))


@pytest.fixture(scope="module")
def made(script: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    """A data root with the crops and the splits."""
    root: Path = tmp_path_factory.mktemp("data")
    script["cut"](data_root / "kodak24", root)
    return root


def test_no_photograph_is_in_two_splits(made: Path) -> None:
    rows = list(csv.DictReader((made / "whole-photographs/crops.csv").read_text().splitlines()))
    assert len(rows) == 640
    parts = [{row["file"][:2] for row in rows if row["split"] == split} for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [12, 3, 1]
    assert len(set.union(*parts)) == 16


@pytest.mark.parametrize("name", ["fillers", "finders"])
def test_the_sweeps_are_planned(name: str, made: Path, tmp_path: Path, data_root: Path) -> None:
    roots = ["--data", str(data_root), "--data", str(made)]
    assert main(["plan", str(FOLDER / f"{name}.yaml"), "--store", str(tmp_path / "store"), *roots]) == 0


def test_boxes_are_compared(script: dict[str, Any]) -> None:
    assert script["hole"]((768, 512), 0.05) == (269, 179, 295, 205)
    assert script["overlap"](None, (0, 0, 4, 4)) == 0
    assert script["overlap"]((0, 0, 4, 4), (0, 0, 4, 4)) == 1
    assert script["overlap"]((2, 0, 6, 4), (0, 0, 4, 4)) == pytest.approx(1 / 3)
    assert script["overlap"]((5, 5, 6, 6), (0, 0, 4, 4)) == 0


@pytest.mark.slow
def test_the_measurement_runs(
    script: dict[str, Any], made: Path, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its smallest size, with one photograph and one hole."""
    monkeypatch.chdir(tmp_path)
    find = script["find"]
    monkeypatch.setitem(find.__globals__, "TESTED", [17])
    monkeypatch.setitem(find.__globals__, "SHARES", [0.1])
    monkeypatch.setitem(find.__globals__, "KNOWN", [13, 14])
    roots = ["--data", str(data_root), "--data", str(made)]
    assert main(["run", str(FOLDER / "finders.yaml"), "--tiny", "--store", "store", *roots]) == 0
    find(data_root / "kodak24", "store", "-tiny")
    rows = list(csv.DictReader(Path("found.csv").read_text().splitlines()))
    forgers = ("authentic", "Telea", "U-Net", "diffusion")
    assert [(row["detector"], row["forger"]) for row in rows] == [
        (detector, forger) for forger in forgers for detector in ("Telea", "all three")
    ]
    assert {row[way] for row in rows for way in ("resized", "scan", "known", "single")} <= {"True", "False"}
    assert {row["side"] for row in rows if row["forger"] != "authentic"} == {"51"}
    assert all(float(row["psnr_db"]) < 50 for row in rows if row["forger"] != "authentic")
