"""The wheel: built without network, it has every study and module, and its command works away from the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("sweeps", "trainables", "cluster", "analysis")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel."""
    built, folder = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


def run(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command of the wheel, in a folder without sweep files."""
    command = [sys.executable, "-m", "sweeps", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    folder = installed / "elsewhere"
    folder.mkdir(exist_ok=True)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_it_has_the_files_of_the_packages(installed: Path) -> None:
    suffixes = {".py", ".yaml", ".csv", ".html", ".css"}
    for package in PACKAGES:
        files = [path for path in (ROOT / package).rglob("*") if path.suffix in suffixes and path.is_file()]
        assert [path for path in files if not (installed / path.relative_to(ROOT)).is_file()] == []


def test_its_command_knows_every_name(installed: Path) -> None:
    listed = {}
    for kind in ("studies", "methods", "masks"):
        done = run(installed, "list", kind, "--json")
        assert done.returncode == 0, done.stderr
        listed[kind] = [entry["name"] for entry in json.loads(done.stdout)]
    assert len(listed["studies"]) == len(list((ROOT / "sweeps").glob("*/*.yaml")))
    assert "glcic" in listed["methods"]
    assert "free_form" in listed["masks"]


def test_it_runs_a_study_by_name(installed: Path, data_root: Path, tmp_path: Path) -> None:
    """`--set` leaves fills without training, which take no time."""
    changes = ["--set", "model={name: mean_fill}", "--set", "arms=[]", "--set", "claims=[]", "--set", "seeds=1"]
    where = ["--store", str(tmp_path), "--data", str(data_root)]
    done = run(installed, "run", "partial_conv", "--tiny", *changes, *where)
    assert done.returncode == 0, done.stderr
    assert "partial-conv-tiny" in done.stdout
