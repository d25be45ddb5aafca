"""What Tune and Ray do around a run: pickling, another Ray on the machine, a full sweep through a Ray of its own."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import drive, tuner
from cluster.feed import Feed
from sweeps.errors import SweepError
from sweeps.store import FolderStore, Store
from tests.cluster.small import SMALL, Planned, Watched


def test_what_tune_pickles_is_empty(store: Store) -> None:
    """`Tuner` pickles searcher, scheduler and callbacks; a store or a lock in them must not travel."""
    searcher = tuner.FeedSearcher(Feed(store, [], Watched()), concurrent=2)
    assert searcher.set_max_concurrency(2), "no limiter is wrapped around it"
    again = pickle.loads(pickle.dumps(searcher))
    assert vars(again) == {}
    assert vars(pickle.loads(pickle.dumps(tuner.FeedScheduler(searcher)))) == {}


def test_addresses_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tune changes a worker's folder: a relative store would land somewhere else."""
    monkeypatch.chdir(tmp_path)
    assert FolderStore(Path("here")).uri == str(tmp_path / "here")


def test_a_ray_of_its_own_beside_another_and_a_stale_address(tmp_path: Path, data_root: Path, ray_address: str) -> None:
    """The command starts its own Ray whatever runs on the machine, or was left by one that was killed."""
    assert ray_address
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    command = [sys.executable, "-m", "sweeps.cli", "run", str(file), "--store", "store", "--data", str(data_root)]
    command += ["--set", "epochs=1", "--set", "report.test_epochs=[]"]
    environment = {**os.environ, "RAY_ADDRESS": "127.0.0.1:1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "3 done" in done.stdout
    assert (tmp_path / "store" / "sweeps" / "small").is_dir()


def test_a_logger_without_its_package_is_told(planned: Planned) -> None:
    plan = planned()
    with pytest.raises(SweepError, match="pip install wandb"):
        drive.check(plan, drive.Settings(log="wandb"))
    with pytest.raises(SweepError, match="nothing runs on Ray"):
        drive.check(plan, drive.Settings(log="wandb", address=drive.IN_PROCESS))


@pytest.mark.parametrize(("changed", "given"), [("resources.cpus=64", "64 CPUs"), ("resources.gpus=3", "3 GPUs")])
def test_more_than_the_cluster_has_is_told(
    planned: Planned, store: Store, data_root: Path, ray_address: str, changed: str, given: str
) -> None:
    from tests.cluster.small import run

    with pytest.raises(SweepError) as caught:
        run(planned(changed), store, data_root, ray_address)
    assert given in caught.value.given
    assert "up to 2 CPUs and 0 GPUs (the largest node, " in caught.value.allowed


def test_fractions_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}},
        {"Alive": True, "Resources": {"CPU": 2.0}},
        {"Alive": False, "Resources": {"CPU": 99.0, "GPU": 99.0}},
    ]
    monkeypatch.setattr(tuner.ray, "nodes", lambda: nodes)
    assert tuner.fits_at_once(1, 0) == 10
    assert tuner.fits_at_once(1, 0.25) == 8
    assert tuner.fits_at_once(1, 1) == 2
    assert tuner.fits_at_once(8, 1) == 1
    assert tuner.fits_at_once(16, 0) == 0
