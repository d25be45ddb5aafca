"""Photographs in two splits stop a run; accepted ones are told by everything that shows its results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from sweeps.cli.common import DONE, USER_ERROR
from sweeps.cli.main import main
from sweeps.results.leaks import leaks_key
from sweeps.store.local import FolderStore

SWEEP = """\
# Does anybody notice?
name: leaking
task: inpaint
base:
  data: {name: folder, path: photos, size: 16, crops: 10, split: split.csv}
  mask: {name: centre}
  model: {name: mean_fill}
seeds: 1
report: {metrics: [test/psnr_db]}
"""
NOTE = "Leaks: 1 photograph of the data of 1 finished trial are in two splits (accepted with --accept-leaks)"
Run = Callable[..., int]


@pytest.fixture
def root(tmp_path: Path, data_root: Path) -> Path:
    """Six photographs in three splits, and a mirrored copy of a training photograph among the test images."""
    folder = tmp_path / "data"
    (folder / "photos").mkdir(parents=True)
    rows = ["file,split"]
    for number, file in enumerate(sorted((data_root / "kodak24").glob("*.png"))[:6]):
        with Image.open(file) as image:
            small = image.reduce(4)
        small.save(folder / "photos" / f"{number}.png")
        rows.append(f"{number}.png,{('train', 'val', 'test')[number % 3]}")
        if number == 0:
            ImageOps.mirror(small).save(folder / "photos" / "taken_again.jpg")
    (folder / "split.csv").write_text("\n".join([*rows, "taken_again.jpg,test"]))
    return folder


@pytest.fixture
def run(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "leaking.yaml").write_text(SWEEP)
    where = ["--store", str(tmp_path / "store"), "--data", str(root), "--address", "in-process"]
    return lambda *arguments: main(["run", str(tmp_path / "leaking.yaml"), *where, *arguments])


def test_leaks_stop_a_run_before_anything_is_stored(
    run: Run, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == USER_ERROR
    said = capsys.readouterr().err
    told = "photos/taken_again.jpg (test) is a mirrored copy of photos/0.png (train)"
    assert all(words in said for words in ("1 photograph in two splits", told, "--accept-leaks")), said
    assert not list(FolderStore(tmp_path / "store").keys("sweeps/"))
    (root / "photos" / "taken_again.jpg").unlink()
    (root / "split.csv").write_text((root / "split.csv").read_text().replace("taken_again.jpg,test", ""))
    assert run() == DONE
    assert FolderStore(tmp_path / "store").get_many([leaks_key("leaking")]) == {}


def test_accepted_leaks_are_told_until_the_trials_are_trained_without(
    run: Run, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--accept-leaks") == DONE
    assert run() == DONE, "nothing is left to run"
    store = ["--store", str(tmp_path / "store")]
    for verb in (["status"], ["report", "--out", str(tmp_path / "report")], ["claims"]):
        capsys.readouterr()
        assert main([*verb, "leaking", *store]) == DONE
        assert NOTE in " ".join(capsys.readouterr().out.split()) or verb == ["claims"]
    assert NOTE in " ".join((tmp_path / "report" / "leaking.md").read_text().split())

    (root / "split.csv").write_text(
        (root / "split.csv").read_text().replace("taken_again.jpg,test", "taken_again.jpg,train")
    )
    assert run("--retrain-stale") == DONE
    capsys.readouterr()
    assert main(["status", "leaking", *store]) == DONE
    assert "Leaks" not in capsys.readouterr().out


def test_a_training_photograph_of_the_protocol_stops_a_run(
    run: Run, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "photos" / "taken_again.jpg").unlink()
    (root / "split.csv").write_text((root / "split.csv").read_text().replace("taken_again.jpg,test", ""))
    (root / "rated").mkdir()
    with Image.open(root / "photos" / "3.png") as image:
        image.save(root / "rated" / "harbour.jpg", quality=50)
    file = tmp_path / "leaking.yaml"
    file.write_text(SWEEP.replace("base:", "protocol: {name: lines-32, images: rated}\nbase:"))
    file.write_text(file.read_text().replace("mask: {name: centre}", "mask: {name: lines}"))
    assert run() == USER_ERROR
    assert "rated/harbour.jpg (test) is a copy of photos/3.png (train)" in capsys.readouterr().err
    (root / "rated" / "harbour.jpg").unlink()
    with Image.open(root / "photos" / "5.png") as image:
        image.save(root / "rated" / "test.png")
    assert run() == DONE, "the test photographs may be rated twice"
