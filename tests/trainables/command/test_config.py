"""The configuration of task `command`: parameters, placeholders, files, identity, and what mistakes get."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.trainables.command.programs import METRICS
from trainables import schema
from trainables.code import cache
from trainables.command.arguments import command_line
from trainables.errors import TrialError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text("print('hello')\n")
    (tmp_path / "src" / "parts").mkdir(parents=True)
    (tmp_path / "src" / "parts" / "net.txt").write_text("1")
    (tmp_path / "src" / "__pycache__").mkdir()
    (tmp_path / "src" / "__pycache__" / "net.pyc").write_text("x")
    return tmp_path


def resolve(folder: Path, **changes: Any) -> dict[str, Any]:
    base = {"run": ["python", "train.py", "--lr", "{lr}"], "code": ["train.py"], "lr": 0.1, "metrics": METRICS}
    return schema.resolve("command", {**base, **changes}, folder)


def identity(folder: Path, **changes: Any) -> dict[str, Any]:
    return schema.identity("command", resolve(folder, **changes), 0)


def test_keys_of_the_base_are_parameters_and_resolving_again_changes_nothing(folder: Path) -> None:
    found = resolve(folder, model="unet", data={"size": 3}, off=None)
    assert found["parameters"] == {"lr": 0.1, "model": "unet", "data": {"size": 3}}
    assert schema.resolve("command", found, folder) == found
    assert schema.resolve("command", found) == found  # without the folder the hash stays
    assert schema.trains(found)


def test_the_files_are_hashed_and_kept(folder: Path) -> None:
    one = resolve(folder, code=["train.py", "src/**"])
    assert sorted(cache.kept_files(one["code_hash"])) == ["src/parts/net.txt", "train.py"]
    assert schema.needs("command", one, 0).code == (one["code_hash"],)
    (folder / "src" / "parts" / "net.txt").write_text("22")
    assert resolve(folder, code=["train.py", "src/**"])["code_hash"] != one["code_hash"]
    assert (
        resolve(folder, code=["train.py", "src"])["code_hash"] == resolve(folder, code=["*.py", "src/**"])["code_hash"]
    )


def test_files_are_hashed_again_in_another_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though names, times and sizes are equal, by which unchanged files are known."""
    found = []
    for text in ("1", "2"):
        (tmp_path / text).mkdir()
        monkeypatch.chdir(tmp_path / text)
        Path("train.py").write_text(f"print({text})\n")
        os.utime("train.py", (0, 0))
        found.append(resolve(Path())["code_hash"])
    assert found[0] != found[1]


@pytest.mark.parametrize("changes", [{"timeout": 5.0}, {"grace": 1.0}, {"code": ["*.py"]}, {"off": None}])
def test_what_changes_no_result_is_no_part_of_the_identity(folder: Path, changes: dict[str, Any]) -> None:
    assert identity(folder, **changes) == identity(folder)


def test_epochs_are_part_of_the_identity_unless_results_do_not_depend_on_their_total(folder: Path) -> None:
    assert identity(folder, epochs=1) != identity(folder, epochs=2)
    assert identity(folder, epochs=1, extend=True) == identity(folder, epochs=2, extend=True)
    assert identity(folder, lr=0.2) != identity(folder)


def test_placeholders_become_arguments() -> None:
    values = {"lr": 1e-05, "n": 3, "on": True, "widths": [8, 16], "a": {"b": "x y"}}
    run = ["p", "--lr={lr}", "{widths}", "{a.b}", '{"json": {n}}', "{{n}}", "{on}", 7]
    expected = ["p", "--lr=1e-05", "8", "16", "x y", '{"json": 3}', "{n}", "true", "7"]
    assert command_line(run, values) == expected
    shell = command_line("echo {a.b} {widths} > {n}", values)
    assert shell == ["/bin/sh", "-c", "echo 'x y' 8 16 > 3"]


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"run": ["python", "{rate}"]}, "run", "`rate`, which `base` does not have"),
        ({"run": "python train.py"}, "run", "only a shell"),
        ({"run": ["python"], "shell": True}, "run", "requires text"),
        ({"run": []}, "run", "at least 1"),
        ({"run": [""]}, "run", "names no program"),
        ({"run": ["p", "--w={lr}"], "lr": [1, 2]}, "run", "several arguments"),
        ({"run": ["python", "src/parts/net.txt"]}, "code", "`code` does not contain it"),
        ({"code": ["nothing/*.py"]}, "code", "matches it"),
        ({"code": ["../*"]}, "code", "leaves the folder"),
        ({"code": ["/etc/passwd"]}, "code", "leaves the folder"),
        ({"code": ["link"]}, "code", "leaves the folder"),
        ({"code": ["train.py", "big.bin"]}, "code", "MB together"),
        ({"code": ["train.py", "broken.py"]}, "code", "does not parse"),
        ({"code": ["train.py", "null.py"]}, "code", "line 2 does not parse"),
        ({"metrics": {}}, "metrics", "at least 1"),
        ({"metrics": {"psnr": "max"}}, "metrics.psnr", "pattern"),
        ({"metrics": {"val/psnr_db": "up"}}, "metrics.val/psnr_db", "'max' or 'min'"),
        ({"seed": 3}, "seed", "set by the trial"),
        ({"Width": 3}, "Width", "no name of a parameter"),
        ({"width": float("nan")}, "width", "cannot have this value"),
        ({"epochs": 0}, "epochs", "greater than or equal to 1"),
        ({"timeout": -1.0}, "timeout", "greater than 0"),
    ],
)
def test_mistakes(folder: Path, changes: dict[str, Any], key: str, words: str) -> None:
    (folder / "link").symlink_to("/etc/hostname")
    (folder / "broken.py").write_text("def f(:\n")
    (folder / "null.py").write_text("\n\0")
    with (folder / "big.bin").open("wb") as file:
        file.truncate(11_000_000)
    with pytest.raises(TrialError) as caught:
        resolve(folder, **changes)
    assert caught.value.key.startswith(key)
    assert words in str(caught.value)
    assert all((caught.value.given, caught.value.why, caught.value.allowed, caught.value.fix))


def test_the_configuration_is_checked_without_torch() -> None:
    code = "import sys; from trainables import schema; schema.resolve('command', {'run': ['a'], 'metrics': {'val/a': 'max'}}); print('torch' in sys.modules)"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
