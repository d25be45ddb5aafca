"""`sweeps run --log`: records reach the tools while trials train, below the store, with the names of the sweep."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analysis import trackers
from analysis.trackers import TrackedRun
from cluster.driver.execution import NoEvents
from cluster.driver.queue.trial_queue import Job
from sweeps.api import tracking
from sweeps.cli.main import main
from sweeps.errors import SweepError
from sweeps.run_options import RunOptions
from sweeps.store import listing
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from tests.analysis.test_export_to import scalars
from tests.sweeps.cli.test_reporting import TINY
from tests.sweeps.conftest import SMALL


def test_tensorboard_below_the_store(tmp_path: Path, data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process, where the loggers of Ray Tune cannot write."""
    store = FolderStore(tmp_path / "store")
    (tmp_path / "small.yaml").write_text(SMALL)
    arguments = ["run", str(tmp_path / "small.yaml"), *TINY, "--store", store.uri, "--data", str(data_root)]
    arguments += ["--set", "seeds=1", "--set", "epochs=2", "--address", "in-process", "--log", "tensorboard"]
    assert main(arguments) == 0
    place = tmp_path / "store" / "logs" / "tensorboard" / "small"
    assert f"--log tensorboard: {place}" in capsys.readouterr().err
    arms = {arm["name"]: arm for arm in stored_plans.require_plan(store, "small")["arms"] if arm["trains"]}
    folders = {folder.name.partition("-seed0-")[0]: folder for folder in place.iterdir()}
    assert folders.keys() >= set(arms)
    for name, arm in arms.items():
        assert folders[name].name.endswith(arm["trials"]["0"]["id"][:8])
        assert [step for step, _ in scalars(folders[name])["val/psnr_db"]] == [1, 2]
        assert [step for step, _ in scalars(folders[name])["test/psnr_db"]] == [2]
    assert list(listing.foreign(store)) == [], "doctor knows these files"


@pytest.mark.parametrize("kind", ["folder", "other"])
def test_a_run_goes_on_in_tensorboard(kind: str, tmp_path: Path) -> None:
    """A store that is not a folder gets copies of the files. Earlier epochs are written where the run is not there."""
    store = FolderStore(tmp_path / "store")
    folder = store.root / "logs" / "tensorboard"
    tracker = trackers.TensorBoard("s", *((folder, None) if kind == "folder" else (None, (store, "logs/tensorboard"))))
    run = TrackedRun("s", "base", 0, "0123456789abcdef", store.uri, {"epochs": 3})
    for first in (2, 3):
        earlier = [{"epoch": float(epoch), "val/l1": 0.1} for epoch in range(1, first)]
        writer = tracker.begin(run, earlier)
        writer.log({"epoch": first, "val/l1": 0.1, "val/l2": float("nan")})
        writer.end("stopped")
    assert tracker.place == str(folder / "s")
    assert sorted(scalars(folder / "s" / run.slug)["val/l1"]) == [(e, pytest.approx(0.1)) for e in (1, 2, 3)]
    assert "val/l2" not in scalars(folder / "s" / run.slug)


def test_a_run_goes_on_in_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow is no dependency: this test runs where it is installed."""
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    monkeypatch.delenv(trackers.TRACKING_URI, raising=False)
    store = FolderStore(tmp_path / "store")
    tracker = trackers.live("mlflow", "s", store, None)
    assert tracker.place == f"sqlite:///{store.root}/logs/mlflow/mlflow.db"
    many = {f"option{number}": number for number in range(150)}
    run = TrackedRun("s", "base", 0, "0123456789abcdef", store.uri, many)
    for first, state in ((0, "stopped"), (2, "done")):
        earlier = [{"epoch": float(epoch), "val/l1": 0.1} for epoch in range(first)]
        writer = tracker.begin(run, earlier)
        writer.log({"epoch": first, "val/l1": 0.1, "test/l1": float("nan")})
        writer.end(state)
    client = MlflowClient(tracking_uri=tracker.place)
    [found] = client.search_runs([client.get_experiment_by_name("s").experiment_id])
    assert (found.info.run_name, found.info.status) == ("base, seed 0", "FINISHED")
    assert len(found.data.params) == 150
    assert [metric.step for metric in client.get_metric_history(found.info.run_id, "val/l1")] == [0, 1, 2]
    assert found.data.tags["show"] == f"sweeps show {run.trial} --store {store.uri}"


class Recorded:
    """A tracker that keeps what it gets."""

    place = "a server"

    def __init__(self, failing: bool = False) -> None:
        self.failing = failing
        self.runs: list[TrackedRun] = []
        self.rows: list[Mapping[str, float]] = []
        self.states: list[str] = []

    def begin(self, run: TrackedRun, earlier: Sequence[Mapping[str, float]] = ()) -> Recorded:
        if self.failing:
            raise ConnectionError("no answer\nand more")
        self.runs.append(run)
        self.rows += earlier
        return self

    def log(self, row: Mapping[str, float]) -> None:
        self.rows.append(row)

    def end(self, state: str) -> None:
        self.states.append(state)


def test_a_tool_that_fails_does_not_end_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = FolderStore(tmp_path)
    store.put("trials/t/trial.json", b'{"task":"inpaint","config":{"model":{"name":"x"}},"seed":7}')
    plan: Any = SimpleNamespace(name="sweep", arms=[])
    for tracker in (Recorded(), Recorded(failing=True)):
        listener = tracking.TrackedListener(NoEvents(), tracker, plan, store)
        for epoch in (1, 2):
            listener.record(Job("t", 2, "base · suggestion 3 · seed 7"), {"epoch": epoch, "val/l1": 0.5})
        listener.close()
        assert tracker.states == ([] if tracker.failing else ["stopped"]), "it had not ended"
        assert [row["epoch"] for row in tracker.rows] == ([] if tracker.failing else [1, 2])
        for run in tracker.runs:
            assert run.name == "base · suggestion 3 · seed 7, seed 7"
            assert run.config == {"model.name": "x", "epochs": 2}
            assert run.tags["show"] == f"sweeps show t --store {store.uri}"
    said = capsys.readouterr().err
    assert said == (
        "--log: a server failed and gets no more records (ConnectionError: no answer); "
        "`sweeps export-to` writes the finished trials later\n"
    )
    assert not any(thread.name == "tracker" for thread in threading.enumerate())


def test_mistakes_are_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bucket: Any = SimpleNamespace(uri="s3://bucket/prefix")
    with pytest.raises(SweepError, match="no tool is named"):
        tracking.tracked(NoEvents(), FolderStore(tmp_path), RunOptions(log_to="here"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SweepError, match="pip install wandb"):
        tracking.tracked(NoEvents(), FolderStore(tmp_path), RunOptions(log="wandb"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    monkeypatch.delenv(trackers.TRACKING_URI, raising=False)
    with pytest.raises(SweepError, match="cannot keep its runs"):
        tracking.tracked(NoEvents(), bucket, RunOptions(log="mlflow"))
    assert isinstance(
        tracking.tracked(NoEvents(), bucket, RunOptions(log="mlflow", log_to="http://server:5000")),
        tracking.TrackedEvents,
    )
