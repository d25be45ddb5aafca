"""When groups start and end (at their bound, when idle, for each trial), and on which addresses they listen."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import ray

from cluster.driver.queue.trial_queue import Job
from cluster.multi_worker import groups
from sweeps.holders import this_process
from sweeps.store import attempts as stored_attempts
from sweeps.store import layout
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from tests.cluster import small
from tests.cluster.connection.sockets import beyond_loopback
from tests.cluster.multi_worker.test_groups import TWO, close, holders
from tests.cluster.small import Planned, Watched, histories, run
from tests.conftest import MARK, _started_with

ONE = TWO.replace("epochs: 4", "epochs: 2")


@pytest.mark.slow
def test_a_group_of_one_is_replaced_at_its_bound_and_gives_the_same_bits(
    planned: Planned, tmp_path: Path, data_root: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = _leaders("{train: true}", planned, tmp_path, data_root, ray_address, monkeypatch)
    assert first == second != third


@pytest.mark.slow
def test_a_fresh_group_for_each_trial_gives_the_same_bits(
    planned: Planned, tmp_path: Path, data_root: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "{train: true, group: fresh}"
    assert len(set(_leaders(text, planned, tmp_path, data_root, ray_address, monkeypatch))) == 3


def _leaders(
    resources: str,
    planned: Planned,
    tmp_path: Path,
    data_root: Path,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> list[int]:
    """The processes that trained three trials one after the other, with the same numbers as this process."""
    here, there = FolderStore(tmp_path / "here"), FolderStore(tmp_path / "there")
    plan = planned("seeds=3", text=ONE.replace("{workers: 2}", resources))
    monkeypatch.setattr(groups, "TRIALS", 2)
    run(plan, there, data_root, address, max_concurrent=1)
    run(plan, here, data_root)
    assert histories(plan, there) == histories(plan, here)
    assert len(histories(plan, there)) == 3
    pids = [pid for [pid] in holders(plan, there).values()]
    assert os.getpid() not in pids
    return pids


@dataclass
class Listened(Watched):
    """Checks once, while two workers train, which addresses they listen on."""

    beyond: list[str] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    listening: int = 0

    def record(self, job: Job, row: dict[str, Any]) -> None:
        super().record(job, row)
        if not self.seen:
            self.seen = {os.getpid(), *_started_with(os.environ[MARK])}
            self.beyond, self.listening = beyond_loopback(self.seen)


class Holder(threading.Thread):
    """Holds a trial, as another driver would, until the idle group has released all its CPUs to Ray."""

    def __init__(self, store: Store, trial_id: str, after: str) -> None:
        """after: the trial whose result means that the group is idle."""
        super().__init__(daemon=True)
        self._store, self._after = store, layout.result_key(after, 2)
        claim = {"claimed_at": time.time(), "process": this_process(), "provenance": {}}
        attempt = stored_attempts.claim(store, trial_id, 0, claim)
        assert attempt is not None
        self._attempt = attempt
        self.waited_s: float | None = None

    def run(self) -> None:
        idle_since = None
        for count in range(400):
            time.sleep(0.25)
            stored_attempts.beat(self._store, self._attempt, {"beat": count})
            if idle_since is None and self._store.exists_many([self._after]):
                idle_since = time.monotonic()
            if idle_since is not None and _all_cpus_are_free():
                self.waited_s = time.monotonic() - idle_since
                break
        stored_attempts.end(self._store, self._attempt, "stopped", time.time())


def _all_cpus_are_free() -> bool:
    return bool(ray.available_resources().get("CPU", 0) == ray.cluster_resources()["CPU"])


@pytest.mark.ray
@pytest.mark.slow
def test_an_idle_group_gives_its_workers_back_and_nothing_listens_beyond_loopback(
    planned: Planned, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a local Ray. The second trial is held elsewhere until the group of the first one has ended."""
    here, there = FolderStore(tmp_path / "here"), FolderStore(tmp_path / "there")
    plan = planned("seeds=2", text=ONE)
    first, second = [trial for trial, _ in plan.runs()]
    run(plan, here, data_root)
    stored_trials.write_trials(there, [first, second])
    holder = Holder(there, second.id, first.id)
    monkeypatch.setattr(groups, "IDLE_S", 1.0)
    monkeypatch.setattr(small, "Watched", Listened)
    holder.start()
    watched = run(plan, there, data_root, "local")
    holder.join()
    close(histories(plan, there), histories(plan, here))
    assert len(histories(plan, there)) == 2
    [leader], [_, next_leader] = holders(plan, there).values()
    assert leader != next_leader
    assert holder.waited_s is not None
    assert holder.waited_s < 10
    assert isinstance(watched, Listened)
    assert leader in watched.seen
    assert watched.beyond == []
    assert watched.listening >= 5
