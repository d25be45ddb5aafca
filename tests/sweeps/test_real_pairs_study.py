"""The study `real-pairs` on a small made set: windows of real photographs and their fakes, masks by difference."""

from __future__ import annotations

import csv
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from analysis import studies
from analysis.report import build as report
from sweeps.cli.main import main
from sweeps.store.local import FolderStore
from trainables.forgery import public_datasets
from trainables.forgery.config import resolve_set

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples/real_pairs/pairs_to_set.py"
SIZE = 64
USED = 23
"""Of 24 photographs: the fill of a hole in the sky of one differs from it by less than 8 grey levels."""


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def fake_of(real_hw3: np.ndarray[Any, Any], number: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A photograph after Telea's method filled a rectangle, and the rectangle."""
    mask_hw = np.zeros(real_hw3.shape[:2], np.uint8)
    y, x = (int(value) for value in np.random.default_rng(number).integers(20, 300, 2))
    mask_hw[y : y + 24 + number, x : x + 40] = 255
    return cv2.inpaint(real_hw3, mask_hw, 3, cv2.INPAINT_TELEA), mask_hw > 0


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    """Kodak photographs with one fake each; and pairs that cannot be used."""
    folder = tmp_path_factory.mktemp("pairs")
    for place in ("real", "fake/telea", "fake/copied"):
        (folder / place).mkdir(parents=True)
    for number, photograph in enumerate(sorted((data_root / "kodak24").glob("*.png"))):
        shutil.copy(photograph, folder / "real")
        real_hw3 = cv2.imread(str(photograph))
        cv2.imwrite(str(folder / "fake/telea" / photograph.name), fake_of(real_hw3, number)[0])
    shutil.copy(folder / "real/kodim01.png", folder / "fake/copied/kodim01.png")
    cv2.imwrite(str(folder / "fake/copied/kodim02.png"), np.zeros((512, 768, 3), np.uint8))
    cv2.imwrite(str(folder / "fake/copied/kodim03.png"), np.zeros((80, 80, 3), np.uint8))
    cv2.imwrite(str(folder / "fake/copied/holiday.png"), np.zeros((80, 80, 3), np.uint8))
    return folder


@pytest.fixture(scope="module")
def made(pairs: Path, script: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the set."""
    root = tmp_path_factory.mktemp("data")
    assert script["make"](pairs, root / "real-pairs", SIZE, 8) == USED
    return root


def test_masks_are_where_the_two_differ(pairs: Path, script: dict[str, Any]) -> None:
    for number in (0, 5, 20):
        name = f"kodim{number + 1:02}.png"
        real_hw3, fake_hw3 = (cv2.imread(str(pairs / place / name)) for place in ("real", "fake/telea"))
        found_hw = script["difference"](real_hw3, fake_hw3, 8)
        true_hw = fake_of(real_hw3, number)[1]
        near_hw = cv2.dilate(true_hw.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        assert not (found_hw & ~near_hw).any(), "nothing but the hole, and what closing adds at its edge"
        assert found_hw.sum() > 0.4 * true_hw.sum(), "a fill can be like the photograph in places"


def test_pairs_that_cannot_be_used_are_named(
    pairs: Path, script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script["make"](pairs, tmp_path, SIZE, 8) == USED
    said = capsys.readouterr().err
    for name, why in (
        ("kodim01.png", "do not differ"),
        ("kodim02.png", "raise --least"),
        ("kodim03.png", "has (512, 768) px"),
        ("holiday.png", "no photograph of its name"),
    ):
        assert any(name in line and why in line for line in said.splitlines()), said


def test_the_set_is_read_at_its_own_resolution(made: Path) -> None:
    found = public_datasets.load(resolve_set({"layout": "folder", "path": "real-pairs", "size": SIZE}), made)
    parts = [getattr(found, split) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [34, 4, 8]
    assert sum(map(len, parts)) == 2 * USED
    assert all(part.label_n.mean() == 0.5 for part in parts), "a real and a fake of each window"
    rows = list(csv.DictReader((made / "real-pairs/labels.csv").read_text().splitlines()))
    assert {row["inpainter"] for row in rows} == {"", "telea"}
    test = parts[2]
    for real, fake in zip(*(test.image_n3hw[test.label_n == label] for label in (0, 1)), strict=True):
        changed = (real != fake).any(0)
        assert 0 < changed.float().mean() < 0.7, "windows of one place"
    sources = [set(part.source) for part in parts]
    assert not sources[0] & sources[1] | sources[1] & sources[2] | sources[0] & sources[2]


def call(*arguments: object) -> tuple[int, str]:
    """Exit code and standard error of the script."""
    ended = subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True)
    return ended.returncode, ended.stderr


def few(folder: Path, *names: str) -> Path:
    """Small pairs of which none can be used, since the images do not differ."""
    for name in ("real/a.png", "fake/x/a.png", *names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), np.zeros((16, 16, 3), np.uint8))
    return folder


def test_a_set_is_not_overwritten(pairs: Path, script: dict[str, Any], made: Path) -> None:
    out = made / "real-pairs"
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit, match="it has files"):
        script["make"](pairs, out, 1024, 8)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_without_a_pair_nothing_is_written_and_the_exit_code_says_so(tmp_path: Path) -> None:
    code, said = call(few(tmp_path / "pairs"), tmp_path / "out", "--size", 8)
    assert code == 1
    assert "do not differ" in said
    assert "none of its pairs can be used" in said
    assert not (tmp_path / "out").exists()


def test_pairs_that_are_not_clear_are_refused(script: dict[str, Any], tmp_path: Path) -> None:
    for number, (name, words) in enumerate(
        {"real/a.jpg": "a.jpg has the same name", "fake/x/a.bmp": "a.bmp has the same name"}.items()
    ):
        with pytest.raises(SystemExit, match=words):
            script["make"](few(tmp_path / str(number), name), tmp_path / "out", 8, 8)
    with pytest.raises(SystemExit, match="the same name in the set, a-x-y"):
        script["make"](few(tmp_path / "joined", "fake/x-y/a.png", "fake/y/a-x.png"), tmp_path / "out", 8, 8)
    with pytest.raises(SystemExit, match="no folder real/"):
        script["make"](tmp_path, tmp_path / "out", 8, 8)
    assert not (tmp_path / "out").exists()


def test_sizes_out_of_range_are_refused_and_the_help_names_the_folders(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, words in (
        (["--size", "0"], "whole number from 8 to 1024"),
        (["--size", "6_4"], "whole number"),
        (["--least", "-1"], "from 0 to 254"),
    ):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(pairs), str(tmp_path / "out"), *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        assert ended.value.code == 2
        assert words in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "fake/INPAINTER" in capsys.readouterr().out


@pytest.mark.slow  # trains three small networks
def test_the_study_runs_on_it_and_says_what_the_baselines_do(made: Path, tmp_path: Path) -> None:
    changes = {
        "data.set.size": SIZE,
        "model.backbone": "shufflenet_v2_x0_5",
        "batch": 16,
        "epochs": 1,
        "seeds": 2,
    }
    settings = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    study = str(ROOT / "sweeps/detection/real_pairs.yaml")
    run = ["run", study, "--store", str(tmp_path), "--data", str(made), "--address", "in-process", *settings]
    assert main(run) == 0
    store = FolderStore(tmp_path)
    found = report.build(store, "real-pairs")
    first = "The same box for every image (“constant box”) reaches test mean IoU of the largest region 0."
    assert found.table.lead[0].startswith(first)
    assert [curve.levels for curve in found.robustness] == [["none", "95", "85", "75"]]
    assert found.thresholds is not None
    for arm in ("mask", "box", "constant box"):
        interval = studies.read(store, "real-pairs").interval(arm, "test/pixel_auc")
        assert interval is not None
        assert interval.photographs > 0
