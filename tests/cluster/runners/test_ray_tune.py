"""The interface to Tune and Ray: what is pickled, and what a cluster holds."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from cluster.driver.queue.trial_queue import TrialQueue
from cluster.runners import ray_tune
from sweeps.errors import SweepError
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from tests.cluster.small import Planned, Watched, run


def test_what_tune_pickles_is_empty(store: Store) -> None:
    """`Tuner` pickles searcher, scheduler and callbacks; a store or a lock in them must not be pickled."""
    searcher = ray_tune.QueueSearcher(TrialQueue(store, [], Watched()), concurrent=2)
    assert searcher.set_max_concurrency(2), "no limiter is wrapped around it"
    again = pickle.loads(pickle.dumps(searcher))
    assert vars(again) == {}
    assert vars(pickle.loads(pickle.dumps(ray_tune.QueueScheduler(searcher)))) == {}


def test_addresses_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tune changes a worker's folder: a relative store would be in another place."""
    monkeypatch.chdir(tmp_path)
    assert FolderStore(Path("here")).uri == str(tmp_path / "here")


@pytest.mark.parametrize(("changed", "given"), [("resources.cpus=64", "64 CPUs"), ("resources.gpus=3", "3 GPUs")])
def test_more_than_the_cluster_has_is_told(
    planned: Planned, store: Store, data_root: Path, ray_address: str, changed: str, given: str
) -> None:
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
    monkeypatch.setattr(ray_tune.ray, "nodes", lambda: nodes)
    assert ray_tune.fits_at_once(1, 0) == 10
    assert ray_tune.fits_at_once(1, 0.25) == 8
    assert ray_tune.fits_at_once(1, 1) == 2
    assert ray_tune.fits_at_once(8, 1) == 1
    assert ray_tune.fits_at_once(16, 0) == 0
