"""`sweeps new`: every file runs as it is written, none is overwritten, and unusable names are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.cli.common import DONE, USER_ERROR
from sweeps.cli.main import main
from sweeps.cli.new.skeletons import SWEEPS, TEXTS
from sweeps.store.local import FolderStore


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and an empty cache of code."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    return tmp_path / "mine"


def tiny(store: Path, data_root: Path, *changes: str) -> list[dict[str, list[float]]]:
    """Run the tiny form of s.yaml with changes; returns the records of its trials."""
    options = [word for change in changes for word in ("--set", change)]
    where = ["--store", str(store), "--data", str(data_root), "--address", "in-process"]
    assert main(["run", "s.yaml", "--tiny", *where, *options]) == DONE
    kept = FolderStore(store)
    return [json.loads(kept.get(key))["history"] for key in kept.keys("trials/") if "/result/" in key]


def test_a_new_sweep_runs(tmp_path: Path, data_root: Path) -> None:
    assert main(["new", "sweep", "s.yaml"]) == DONE
    assert len(tiny(tmp_path / "store", data_root)) == 4


def test_new_code_runs_in_a_new_sweep(tmp_path: Path, data_root: Path) -> None:
    files = {"sweep": "s.yaml", "method": "net.py", "loss": "my-loss.py", "mask": "holes.py"}
    for kind, file in {**files, "metric": "hole_error.py", "dataset": "images.py"}.items():
        assert main(["new", kind, file]) == DONE
    code = ("model={name: ./net.py, width: 4}", "loss={l2: 1.0, ./my-loss.py: 0.1}", "mask.name=./holes.py")
    changes = (*code, "data.name=./images.py", "report.extra=[./hole_error.py]", "report.metrics=[test/hole_error]")
    histories = tiny(tmp_path / "store", data_root, *changes)
    assert sum("train/my-loss" in history for history in histories) == 2
    for history in histories:
        assert history["test/hole_error"] == pytest.approx(history["test/l1_hole"], abs=1e-5)
    assert {round(history["test/hole_fraction"][-1], 2) for history in histories} == {0.25}


@pytest.mark.parametrize("kind", SWEEPS)
def test_a_new_task_or_program_gets_a_sweep_that_runs(
    kind: str, folder: Path, tmp_path: Path, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", kind, "s.py"]) == DONE
    assert "sweeps run s.yaml --tiny" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ["s.py", "s.yaml"]
    errors = [history["test/error"][-1] for history in tiny(tmp_path / "store", data_root)]
    assert len(set(errors)) == 3
    assert max(errors) < 1
    (folder / "s.py").unlink()
    assert main(["new", kind, "s.py"]) == USER_ERROR
    assert f"a {kind} gets a sweep beside it" in capsys.readouterr().err
    assert not (folder / "s.py").exists()


def test_a_new_program_runs_alone_and_continues_from_its_checkpoint(folder: Path) -> None:
    def records(out: str, *arguments: str) -> list[str]:
        command = [sys.executable, "-I", "fit.py", "--out", out, *arguments]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.splitlines()

    assert main(["new", "command", "fit.py"]) == DONE
    whole = records("whole", "--epochs", "4")
    assert [json.loads(line.removeprefix("@sweeps "))["epoch"] for line in whole] == [1, 2, 3, 4]
    assert records("parts", "--epochs", "2") + records("parts", "--epochs", "4") == whole
    assert records("other", "--epochs", "4", "--seed", "1") != whole


def test_it_says_what_to_do_next(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "sub").mkdir()
    assert main(["new", "method", "sub/net.py"]) == DONE
    assert "model: {name: ./net.py}" in capsys.readouterr().out
    assert main(["new", "sweep", "sub/s.yaml"]) == DONE
    assert "sweeps run sub/s.yaml --tiny" in capsys.readouterr().out


@pytest.mark.parametrize("kind", TEXTS)
def test_no_placeholder_is_left(folder: Path, kind: str) -> None:
    file = folder / ("x.yaml" if kind == "sweep" else "x.py")
    assert main(["new", kind, file.name]) == DONE
    for written in folder.iterdir():
        assert not any(word in written.read_text() for word in ("FILE", "NAME", "CODE", "SWEEP"))


@pytest.mark.parametrize(
    ("kind", "file", "says"),
    [
        ("method", "there.py", "it exists"),
        ("method", "net", "do:      sweeps new method net.py"),
        ("sweep", "s.py", "do:      sweeps new sweep s.yaml"),
        ("loss", "my loss.py", "do:      sweeps new loss my_loss.py"),
        ("command", "train.sh", "do:      sweeps new command train.py"),
        ("command", "random.py", "do:      sweeps new command my_random.py"),
        ("mask", "random.py", "do:      sweeps new mask my_random.py"),
        ("metric", "My-Error2.py", "do:      sweeps new metric my_error2.py"),
        ("method", "torch.py", "would hide the module torch"),
        ("method", "sweeps.py", "would hide the module sweeps"),
        ("method", "nowhere/net.py", "do:      mkdir -p nowhere"),
    ],
)
def test_what_cannot_be_written_is_refused(
    folder: Path, kind: str, file: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "there.py").write_text("mine")
    assert main(["new", kind, file]) == USER_ERROR
    err = capsys.readouterr().err
    assert says in err
    assert all(part in err for part in ("why:", "allowed:", "do:"))
    assert [path.name for path in folder.iterdir()] == ["there.py"]
    assert (folder / "there.py").read_text() == "mine"
