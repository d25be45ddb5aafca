"""Metrics, data sets and tasks of an installed package, by the names of its entry points."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps import api
from sweeps.cli import common
from sweeps.cli.main import main
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore

Write = Callable[[dict[str, str]], Path]
PACKAGE = {
    "pyproject.toml": """
        [build-system]
        requires = ["hatchling"]
        build-backend = "hatchling.build"

        [project]
        name = "their-package"
        version = "1.2"

        [project.entry-points."inpaint_sweeps.metrics"]
        their_error = "their_package.scores:error"

        [project.entry-points."inpaint_sweeps.datasets"]
        their_images = "their_package.images:Ramps"

        [project.entry-points."inpaint_sweeps.tasks"]
        their_task = "their_package.tasks:learn"
    """,
    "their_package/__init__.py": "",
    "their_package/scores.py": """
        from .images import BRIGHTEST

        def error(prediction, target, scale: float = 1.0):
            return scale * BRIGHTEST * (prediction - target).abs().mean((1, 2, 3))
        error.better = "min"
    """,
    "their_package/images.py": """
        import torch

        BRIGHTEST = 1.0

        class Ramps:
            def __init__(self, size, count: int = 40):
                self.size, self.count = size, count

            def __len__(self):
                return self.count

            def __getitem__(self, index):
                return torch.linspace(0, BRIGHTEST * index / self.count, self.size).expand(3, self.size, self.size)
    """,
    "their_package/tasks.py": """
        metrics = {"val/steps": "max"}

        def learn(context, by: int = 2):
            for epoch in context.epochs:
                yield {"val/steps": by * epoch}
    """,
}
INPAINT = """\
# Do they work?
name: theirs
task: inpaint
base:
  data: {name: their_images, size: 8, count: 60}
  mask: {name: lines}
  model: {name: mean_fill}
report: {metrics: [test/their_error], extra: [{name: their_error, scale: 2.0}]}
"""
TASK = """\
# Does it work?
name: their-task
task: their_task
base: {by: 3, epochs: 2}
"""


@pytest.fixture
def installed(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an environment into which the wheel of the package is installed."""
    project = write(PACKAGE)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "built")]
    done = subprocess.run(build, cwd=project, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "built").glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site-packages")
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    return tmp_path / "site-packages"


@pytest.mark.usefixtures("installed")
def test_they_run_by_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = FolderStore(tmp_path / "store")
    for name, text in (("theirs", INPAINT), ("their-task", TASK)):
        (tmp_path / f"{name}.yaml").write_text(text)
        where = ["--store", store.uri, "--address", "in-process"]
        assert main(["run", str(tmp_path / f"{name}.yaml"), *where]) == common.DONE
    found = {name: api.open(store)[name].records for name in ("theirs", "their-task")}
    assert found["their-task"]["val/steps"].tolist() == [3, 6]
    assert found["theirs"]["test/their_error"].tolist() == pytest.approx([2 * v for v in found["theirs"]["test/l1"]])
    codes = {
        name.partition(":")[0]
        for sweep in found
        for name in stored_plans.user_code(stored_plans.require_plan(store, sweep)).values()
    }
    assert codes == {f"their_package/{file}.py" for file in ("scores", "images", "tasks")}

    capsys.readouterr()
    for kind, name in (("metrics", "their_error"), ("datasets", "their_images"), ("tasks", "their_task")):
        assert main(["list", kind]) == common.DONE
        listed = capsys.readouterr().out
        assert name in listed
        assert "their-package 1.2" in " ".join(listed.split())


def test_an_edit_of_the_installed_package_makes_new_trials(installed: Path, tmp_path: Path) -> None:
    def ids() -> set[str]:
        found = set()
        for name, text in (("theirs", INPAINT), ("their-task", TASK)):
            (tmp_path / f"{name}.yaml").write_text(text)
            found |= {trial.id for trial, _ in api.plan(api.load(tmp_path / f"{name}.yaml")).runs()}
        return found

    first = ids()
    for file, old, new in (("images.py", "BRIGHTEST = 1.0", "BRIGHTEST = 0.5"), ("tasks.py", "by * epoch", "epoch")):
        source = installed / "their_package" / file
        source.write_text(source.read_text().replace(old, new))
    assert not ids() & first
