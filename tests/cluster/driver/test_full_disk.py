"""A full disk ends a run, not its trials: the same command continues, and `--retry` covers the tries of a search."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from cluster.driver import driver, pending_work
from cluster.driver.early_stopping import EarlyStopping
from cluster.driver.queue.leases import Leases
from cluster.driver.queue.trial_queue import SearchWork, TrialQueue
from cluster.multi_worker import groups
from cluster.multi_worker.group_host import LOST
from cluster.worker.storage_errors import STORAGE, storage_error, storage_state
from cluster.worker.worker import FAILED, WorkerOptions, run_trial
from sweeps.errors import StorageError
from sweeps.run_options import RunOptions
from sweeps.search.search import stored_searches
from sweeps.store import attempts as stored_attempts
from sweeps.store import layout
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from tests.cluster.small import SMALL, Planned, Watched, histories, run
from trainables import schema

SEARCHED = SMALL.replace("test_epochs: [1]", "test_epochs: []") + (
    "search:\n"
    "  space: {optimiser.lr: {float: [1.0e-4, 1.0e-1], log: true}}\n"
    "  trials: 2\n"
    "  metric: val/psnr_db\n"
    "  goal: max\n"
    "  sampler: random\n"
    "  tune_seeds: [100]\n"
)


class Disk:
    """A disk that is full while `full`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.full, self._sync = False, os.fsync
        patch.setattr(os, "fsync", self.sync)

    def sync(self, descriptor: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._sync(descriptor)


def states(store: Store) -> list[str]:
    return [ask.state for ask in stored_searches(store, "small")["base"].asks()]


def test_a_full_disk_ends_the_run_and_no_try(
    planned: Planned, store: Store, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    monkeypatch.setattr(Leases.__init__, "__defaults__", (0.5, time.monotonic))  # this process has not died

    class Filling(Watched):
        def record(self, job: Any, row: dict[str, Any]) -> None:
            super().record(job, row)
            disk.full = True

    plan = planned("arms=[]", "epochs=2", text=SEARCHED)
    work = pending_work.work_left(plan, store, schema)
    driver.write(plan, store, ())
    options = RunOptions(address="in-process", data=data_root, checkpoint_every_s=0)
    with pytest.raises(StorageError, match="the disk is full"):
        driver.run(work, store, schema, options, Filling())
    disk.full = False
    assert states(store) == ["running"], "the try has not failed"
    watched = run(plan, store, data_root)
    assert states(store) == ["complete", "complete"]
    assert {state for state, _ in watched.events} <= {"added", "started", "done"}


@pytest.mark.parametrize("damage", ["deleted", "damaged"])
def test_a_definition_that_is_lost_while_a_run_goes_on_ends_the_run_and_no_trial(
    planned: Planned, store: Store, data_root: Path, damage: str
) -> None:
    plan = planned("epochs=1")
    work = pending_work.work_left(plan, store, schema)
    driver.write(plan, store, ())
    for job in work.jobs:
        key = layout.trial_key(job.trial_id)
        store.delete([key]) if damage == "deleted" else store.put(key, b"{")
    options = RunOptions(address="in-process", data=data_root)
    with pytest.raises(StorageError, match="deleted or damaged since the run began"):
        driver.run(work, store, schema, options, Watched())
    left = pending_work.work_left(plan, store, schema)
    assert not left.failed
    driver.restore(plan, left.jobs, store)
    assert {state for state, _ in run(plan, store, data_root).events} <= {"started", "done"}


@pytest.mark.slow  # below: the same in one process; through Ray it takes a minute
@pytest.mark.parametrize(
    "changes",
    [["epochs=3"], pytest.param(["epochs=3", "resources.workers=2"], marks=pytest.mark.slow)],
    ids=["one process", "two workers"],
)
def test_on_ray_a_store_that_is_gone_ends_the_run_and_no_trial(
    planned: Planned,
    tmp_path: Path,
    data_root: Path,
    ray_address: str,
    monkeypatch: pytest.MonkeyPatch,
    changes: list[str],
) -> None:
    """As if a disk was unmounted while trials train, and is mounted again before the next run."""
    monkeypatch.setattr(Leases.__init__, "__defaults__", (0.5, time.monotonic))  # actors of the shared Ray live on
    store, away = FolderStore(tmp_path / "store"), tmp_path / "away"

    class Unmounting(Watched):
        def record(self, job: Any, row: dict[str, Any]) -> None:
            super().record(job, row)
            if not away.exists():
                store.root.rename(away)

    plan = planned("arms=[]", "report.test_epochs=[]", *changes, text=SEARCHED)
    work = pending_work.work_left(plan, store, schema)
    driver.write(plan, store, ())
    settings = {"address": ray_address, "checkpoint_every_s": 0}
    with pytest.raises(StorageError, match="deleted or unmounted"):
        driver.run(work, store, schema, RunOptions(data=data_root, **settings), Unmounting())
    assert not store.root.exists(), "nothing has begun it anew"
    away.rename(store.root)
    assert not pending_work.work_left(plan, store, schema).failed
    watched = run(plan, store, data_root, **settings)
    assert states(store) == ["complete", "complete"]
    assert {state for state, _ in watched.events} <= {"added", "started", "done"}
    undisturbed = FolderStore(tmp_path / "undisturbed")
    run(plan, undisturbed, data_root, ray_address)
    assert histories(plan, store) == histories(plan, undisturbed)


def test_an_error_of_the_storage_in_the_drivers_own_work_halts_the_queue(
    planned: Planned, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tune calls these methods, and would take an error in them for one of the trial."""
    plan = planned("arms=[]", "epochs=2", text=SEARCHED)
    driver.write(plan, store, ())
    work = pending_work.work_left(plan, store, schema)
    (tuning,) = work.searches
    stopping = EarlyStopping(tuning.spec.early_stopping, tuning.spec.metrics[0], tuning.spec.goals[0], 2)
    queue = TrialQueue(store, work.jobs, Watched(), [SearchWork(tuning, stopping, lambda: [])])
    taken = queue.take()
    assert taken is not None
    disk = Disk(monkeypatch)
    disk.full = True
    queue.give_back(taken[0], FAILED)
    assert queue.storage_error is not None
    assert "the disk is full" in queue.storage_error.why
    assert queue.take() is None
    assert queue.finished
    disk.full = False
    assert states(store) == ["running"], "nothing is told that is not so"


def test_an_error_of_the_storage_on_one_worker_is_not_the_trials(store: FolderStore) -> None:
    store.put("a", b"1")
    attempt = stored_attempts.claim(store, "t", 0, {})
    assert attempt is not None
    error = StorageError("store", "it is not mounted here", "a store", "mount it")
    options = WorkerOptions(store.uri, "small", "run")
    state = groups._lost(options, {"trial": "t", "after": 0}, LOST, [{STORAGE: storage_state(error)}])
    found = storage_error(state)
    assert found is not None
    assert found.why == error.why
    assert layout.get_json(store, attempt.end_key)["state"] == "stopped"


def test_a_worker_does_not_make_the_folder_of_a_store(tmp_path: Path) -> None:
    options = WorkerOptions(str(tmp_path / "not mounted"), "small", "run")
    found = storage_error(run_trial(options, "t", 1, 0, lambda _: None))
    assert found is not None
    assert "unmounted" in found.why
    assert not (tmp_path / "not mounted").exists()


def test_retry_tries_failed_suggestions_again(planned: Planned, store: Store, data_root: Path) -> None:
    plan = planned("arms=[]", "epochs=1", text=SEARCHED)
    (tuning,) = pending_work.work_left(plan, store, schema).searches
    for _ in range(2):
        suggestion = tuning.ask()
        assert suggestion is not None
        tuning.failed(suggestion.number)
    assert pending_work.work_left(plan, store, schema).searches == []
    run(plan, store, data_root, retry=True)
    assert states(store) == ["complete", "complete"]


def test_out_of_inodes_is_named(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    store.put("a", b"1")
    full = os.statvfs(store.root)
    values = [full.f_bsize, full.f_frsize, full.f_blocks, 10**6, 10**6, 100, 0, 0, 0, 255]
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(values))
    disk.full = True
    with pytest.raises(StorageError, match="inodes"):
        store.put("a", b"2")
    assert store.get("a") == b"1"
    assert [*store.root.iterdir()] == [store.root / "a"], "no leftover"


def test_a_deleted_store_is_named(store: FolderStore) -> None:
    store.put("a", b"1")
    (store.root / "a").unlink()
    store.root.rmdir()
    with pytest.raises(StorageError, match="deleted or unmounted"):
        store.put("trials/t", b"2")
    assert not store.root.exists(), "a store that was there is not begun anew"
