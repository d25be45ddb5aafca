"""The Python interface: `import sweeps as sw`, and a sweep that is run, resumed, read and reported through it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sweeps as sw
from sweeps import api
from sweeps.errors import SweepError
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from tests.plans import MINIMAL
from tests.sweeps.cli.test_cli import FILL

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fill(tmp_path: Path) -> Path:
    file = tmp_path / "fill.yaml"
    file.write_text(FILL)
    return file


def test_sweeps_exports_the_interface() -> None:
    assert [name for name in sw.__all__ if getattr(sw, name) is not getattr(api, name)] == []
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        sw.lod  # noqa: B018


def test_a_sweep_from_file_to_report(
    fill: Path, tmp_path: Path, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = sw.RunOptions(address="in-process", data=data_root)
    sweep, store = sw.load(fill, changes=["data.test=4"]), sw.open(tmp_path / "store")
    assert [arm.name for arm in sw.plan(sweep).arms] == ["base"]
    assert len(api.work_left(sw.plan(sweep, store), store).jobs) == 1
    result = sw.run(sweep, store, options)
    assert result.complete
    assert sw.resume(tmp_path / "store", "fill", options).stored == result.stored
    assert sw.read(store, "fill").seeds == [0]
    assert sw.report(store, "fill").study.name == "fill"
    assert capsys.readouterr() == ("", ""), "nothing is printed"
    with pytest.raises(SweepError, match="no sweep of this name"):
        sw.stop(store, "fil")


@pytest.mark.parametrize("name", ["smal", "other", "../small", "", "unplanned"])
def test_an_unknown_sweep_is_one_error_everywhere(name: str, tmp_path: Path) -> None:
    """In the Python interface, the analysis and the dashboard."""
    from analysis import studies
    from analysis.dashboard.data.reader import Reader

    store = FolderStore(tmp_path)
    stored_plans.write_plan(store, "small", {**MINIMAL, "name": "small"}, "", 0.0)
    stored_plans.request_stop(store, "unplanned")  # a folder without a plan
    reads: list[Callable[[], object]] = [
        lambda: api.newest_plan(store, name),
        lambda: studies.read(store, name),
        lambda: Reader(store).plan(name),
    ]
    errors = []
    for read in reads:
        with pytest.raises(SweepError) as raised:
            read()
        errors.append(str(raised.value))
    assert len(set(errors)) == 1
    assert f"sweep {name!r}" in errors[0]
    assert ("it is a path" if name in ("", "../small") else "no sweep of this name") in errors[0]
    assert raised.value.allowed == ("small" if name == "unplanned" else "small, unplanned")
    assert ("did you mean `small`?" in errors[0]) == (name in ("smal", "../small"))


def test_a_run_reports_its_events(fill: Path, tmp_path: Path, data_root: Path) -> None:
    from cluster.driver.execution import NoEvents

    class Events(NoEvents):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def planned(self, work: Any) -> None:
            self.seen.append(f"{len(work.jobs)} to run")

        def ended(self, job: Any, state: str) -> None:
            self.seen.append(f"{job.label} {state}")

        def finished(self, result: Any, store: Any) -> None:
            self.seen.append(f"complete: {result.complete}")

    events = Events()
    sw.run(sw.load(fill, tiny=True), tmp_path / "store", sw.RunOptions(data=data_root), events)
    assert events.seen == ["1 to run", "base done", "complete: True"]


def test_the_state_claims_and_comparison_of_sweeps(fill: Path, tmp_path: Path, data_root: Path) -> None:
    store = sw.open(tmp_path / "store")
    assert sw.list_sweeps(store) == []
    sw.run(sw.load(fill), store, sw.RunOptions(address="in-process", data=data_root))
    state = sw.status(store, "fill")
    assert [one.state for one in state.trials.values()] == ["done"]
    assert [one.plan["name"] for one in sw.list_sweeps(store)] == ["fill"]
    assert sw.claims(store, ["fill"]) == []
    assert any(line.verdict == "not run" for line in sw.claims(store)), "the studies of the package"
    same = sw.compare(store, "fill", after_store=store)
    assert ([line.arm for line in same.arms], same.unmatched, same.drifted) == (["base"], [], False)
    built = sw.report(store, "fill")
    assert sw.write_report(built, tmp_path / "out", ["csv"]) == [tmp_path / "out" / "fill.csv"]
    assert sw.publish_report(built, store, ["csv"]) == ["reports/fill/fill.csv"]


def test_test_images_for_another_system(fill: Path, tmp_path: Path, data_root: Path) -> None:
    options = sw.RunOptions(data=data_root)
    sw.run(sw.load(fill, tiny=True), tmp_path / "store", options)
    assert sw.export_test(tmp_path / "store", "fill-tiny", tmp_path / "out", data=data_root) == 4
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 4
    with pytest.raises(SweepError, match="--arm 'bas'"):
        sw.export_test(tmp_path / "store", "fill-tiny", tmp_path / "out", arm="bas", data=data_root)


def test_a_job_gets_the_options_as_arguments(fill: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster.connection.jobs import submit

    submitted: list[submit.Submission] = []
    monkeypatch.setattr(submit, "submit", lambda given: submitted.append(given) or "job_1")
    options = sw.RunOptions(data="/data", retry=True, fresh=True, time_budget_s=90.0, max_concurrent=2)
    job = sw.ClusterJob("http://head:8265", fill.parent, quiet=True)
    assert sw.submit(sw.load(fill, tiny=True, changes=["batch=8"]), "s3://bucket/prefix", job, options) == "job_1"
    (given,) = submitted
    assert given.arguments == (
        "fill.yaml",
        "--set=batch=8",
        "--size=tiny",
        "--store=s3://bucket/prefix",
        "--data=/data",
        "--max-concurrent=2",
        "--time-budget=90s",
        "--checkpoint-every=20",
        "--retry",
        "--fresh",
        "--quiet",
    )
    assert (given.folder, given.skipped) == (fill.parent, (Path("/data"),))
    with pytest.raises(SweepError, match="deleted with the job"):
        sw.submit(sw.load(fill), "store", job)


# --- packages in the way ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "first", "named"),
    [
        (["cluster/__init__.py"], "", "cluster"),
        (["analysis.py"], "", "analysis.py"),
        (["analysis.py"], "import analysis; ", "analysis.py"),  # theirs was imported before
        (["trainables/__init__.py"], "", "trainables"),
    ],
)
def test_a_package_in_the_way_is_an_error(files: list[str], first: str, named: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    code = f"{first}import sweeps as sw; sw.load"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode
    assert f"package `{named.removesuffix('.py')}`" in done.stderr
    assert f"why:     {tmp_path / files[0]} is imported under this name" in done.stderr
    assert f"rename {tmp_path / named}, or run from another folder" in done.stderr


def test_a_folder_without_code_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "plots.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    code = "import sweeps as sw; sw.load"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


def test_a_package_in_the_way_that_is_installed_is_uninstalled(tmp_path: Path) -> None:
    from sweeps import _remedy

    assert "pip uninstall cluster" in _remedy("cluster", tmp_path / "site-packages" / "cluster" / "__init__.py")


def test_the_data_root_is_that_of_the_environment(
    fill: Path, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPS_DATA", str(data_root))
    assert sw.run(sw.load(fill, tiny=True), tmp_path / "store").complete
    assert sw.export_test(tmp_path / "store", "fill-tiny", tmp_path / "out") == 4
