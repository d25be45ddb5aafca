"""The wheel: built without network, it has every study and module, and its command works away from the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("sweeps", "trainables", "cluster", "analysis")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (wheel,) = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel."""
    folder = tmp_path_factory.mktemp("installed")
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


@pytest.mark.slow  # its other command runs, and test_discovery.py runs studies by name
def test_it_runs_a_study_by_name(installed: Path, data_root: Path, tmp_path: Path) -> None:
    """`--set` leaves fills without training, which take no time."""
    changes = ["--set", "model={name: mean_fill}", "--set", "arms=[]", "--set", "claims=[]", "--set", "seeds=1"]
    where = ["--store", str(tmp_path), "--data", str(data_root)]
    done = run(installed, "run", "partial_conv", "--tiny", *changes, *where)
    assert done.returncode == 0, done.stderr
    assert "partial-conv-tiny" in done.stdout


# --- a user in a fresh environment ------------------------------------------------------------------------------------


@pytest.fixture
def environment(wheel: Path, tmp_path: Path) -> Path:
    """An environment with the wheel, and the packages that it needs from the environment of the tests."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (own,) = folder.glob("lib/python*/site-packages")
    (own / "packages.pth").write_text(sysconfig.get_paths()["purelib"])  # whose own .pth files do not count
    return folder


TWO_LINES = """\
# Does my network learn?
{name: mine, task: inpaint, base: {data: {name: cifar10, train: 32, val: 8, test: 8}, mask: {name: lines}, \
model: {name: ./net.py, width: 4}, loss: {l2: 1.0}, batch: 8}, resources: {workers: 2, gpus: 0}}
"""


@pytest.mark.slow
def test_a_user_ablates_a_network_of_their_own(environment: Path, tmp_path: Path, data_root: Path) -> None:
    """In an empty folder: a new file, a sweep of two lines, two workers on Ray, a report; then an edit."""
    folder = tmp_path / "empty"
    folder.mkdir()
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    variables |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "SWEEPS_DATA": str(data_root)}
    variables["PATH"] = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def sweeps(*arguments: str) -> str:
        command = [str(environment / "bin" / "sweeps"), *arguments]
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return " ".join(done.stdout.split())

    where = subprocess.run(
        [str(environment / "bin" / "python"), "-c", "import sweeps; print(sweeps.__file__)"],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert Path(where.stdout.strip()).is_relative_to(environment), "the wheel is used, not the checkout"

    sweeps("new", "method", "net.py")
    (folder / "s.yaml").write_text(TWO_LINES)
    assert "0 done before, 1 to run" in sweeps("run", "s.yaml", "--store", "results", "--address", "local")
    sweeps("report", "mine", "--store", "results", "--out", "report")
    assert "Does my network learn?" in (folder / "report" / "mine.md").read_text()
    assert "nothing to run" in sweeps("run", "s.yaml", "--store", "results", "--address", "local")

    net = folder / "net.py"
    net.write_text(net.read_text().replace("nn.ReLU()", "nn.Tanh()"))
    assert "0 done before, 1 to run" in sweeps("plan", "s.yaml", "--store", "results")
    sweeps("run", "s.yaml", "--store", "results", "--address", "local")
    older = "1 finished trial was made by older code (./net.py changed since) and is not shown."
    assert older in sweeps("status", "mine", "--store", "results")
    sweeps("report", "mine", "--store", "results", "--out", "report")
    assert older in " ".join((folder / "report" / "mine.md").read_text().split())
    attempts = [json.loads(file.read_text()) for file in (folder / "results" / "trials").glob("*/attempts/0001.json")]
    assert [one["provenance"]["workers"] for one in attempts] == [2, 2]
