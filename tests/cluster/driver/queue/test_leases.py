"""Leases: when an attempt counts as over, two drivers on one store, and a zombie that wakes up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.driver.queue.leases import Leases
from cluster.driver.queue.trial_queue import Job, TrialQueue
from cluster.runners import in_process
from cluster.worker.worker import WorkerOptions
from sweeps.holders import LEASE_S, this_process
from sweeps.search.search import stored_searches
from sweeps.spec.plan import Plan
from sweeps.store import attempts as stored_attempts
from sweeps.store import checkpoints, layout
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from tests.cluster.driven import ROOT, workplace
from tests.cluster.small import LONGER, Planned, Watched, histories, run

ELSEWHERE = {"pid": 1, "started": "1", "machine": "another one"}


class Clock:
    """A clock that advances on request."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def watched(clock: Clock, leases: Leases, seconds: float) -> None:
    """Advance the clock for a driver that checks every two seconds."""
    for _ in range(int(seconds / 2)):
        clock.now += 2
        leases.free_after("trial")


def claim(store: Store, holder: dict[str, Any], after: int = 0) -> stored_attempts.Attempt:
    attempt = stored_attempts.claim(store, "trial", after, {"claimed_at": 0.0, "process": holder, "provenance": {}})
    assert attempt is not None
    return attempt


def beat(store: Store, attempt: stored_attempts.Attempt, count: int) -> None:
    stored_attempts.beat(store, attempt, {"beat": count, "time": time.time(), "epoch": 0, "record": {}})


# --- when an attempt is over ------------------------------------------------------------------------------------------


def test_a_trial_without_attempts_is_free(store: Store) -> None:
    assert Leases(store).free_after("trial") == 0


def test_an_attempt_that_has_ended_is_over(store: Store) -> None:
    attempt = claim(store, this_process())
    assert Leases(store).free_after("trial") is None
    stored_attempts.end(store, attempt, "stopped", 0.0)
    assert Leases(store).free_after("trial") == 1


def test_a_dead_process_of_this_machine_is_over_at_once(store: Store) -> None:
    code = "import json; from sweeps import holders as h; print(json.dumps(h.this_process()), flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        claim(store, json.loads(process.stdout.readline()))
        assert Leases(store).free_after("trial") is None
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert Leases(store).free_after("trial") == 1, "not yet reaped by its parent"
    assert Leases(store).free_after("trial") == 1


def test_a_process_id_that_was_given_again_is_another_process(store: Store) -> None:
    claim(store, {**this_process(), "started": "1"})
    assert Leases(store).free_after("trial") == 1


@pytest.mark.parametrize("holder", [ELSEWHERE, this_process()], ids=["elsewhere", "hangs here"])
def test_a_silent_attempt_is_over_after_its_lease(store: Store, holder: dict[str, Any]) -> None:
    """Nothing is known about a process on another machine, and a process on this machine may hang or be stopped."""
    clock = Clock()
    leases = Leases(store, clock=clock)
    attempt = claim(store, holder)
    for count in range(3):
        assert leases.free_after("trial") is None
        watched(clock, leases, LEASE_S - 4)
        assert leases.free_after("trial") is None
        beat(store, attempt, count)
    assert leases.free_after("trial") is None, "a fresh heartbeat keeps it"
    watched(clock, leases, LEASE_S + 2)
    assert leases.free_after("trial") == 1
    beat(store, attempt, 9)
    assert leases.free_after("trial") is None, "it was not over after all, and nobody has claimed the trial"


def test_a_newer_attempt_has_a_lease_of_its_own(store: Store) -> None:
    clock = Clock()
    leases = Leases(store, clock=clock)
    claim(store, ELSEWHERE)
    assert leases.free_after("trial") is None
    watched(clock, leases, LEASE_S + 2)
    assert leases.free_after("trial") == 1
    claim(store, ELSEWHERE, after=1)
    assert leases.free_after("trial") is None
    watched(clock, leases, LEASE_S + 2)
    assert leases.free_after("trial") == 2


def test_time_in_which_nobody_looked_is_no_silence(store: Store) -> None:
    """After a minute without the store, for driver and heartbeats alike, the attempt still has time for a heartbeat."""
    clock = Clock()
    leases = Leases(store, clock=clock)
    attempt = claim(store, ELSEWHERE)
    assert leases.free_after("trial") is None
    clock.now += 2 * LEASE_S
    assert leases.free_after("trial") is None
    beat(store, attempt, 1)
    watched(clock, leases, LEASE_S - 4)
    assert leases.free_after("trial") is None
    watched(clock, leases, 10)
    assert leases.free_after("trial") == 1


@pytest.mark.parametrize("days", [-400, -1, 1, 400])
def test_a_wall_clock_that_jumps_changes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    now = time.time()
    clock = Clock()
    leases = Leases(store, clock=clock)
    attempt = claim(store, ELSEWHERE)
    beat(store, attempt, 1)
    assert leases.free_after("trial") is None
    monkeypatch.setattr(time, "time", lambda: now + 86400 * days)
    assert leases.free_after("trial") is None
    beat(store, attempt, 2)
    watched(clock, leases, LEASE_S - 4)
    assert leases.free_after("trial") is None
    watched(clock, leases, LEASE_S + 2)
    assert leases.free_after("trial") == 1


# --- two drivers ------------------------------------------------------------------------------------------------------

SHARED = LONGER.replace("test_epochs: [1]", "test_epochs: []").replace(
    "  - {name: mean fill, set: {model: {name: mean_fill}}}\n",
    "  - {name: narrow, set: {model.width: 4}}\n"
    "search:\n"
    "  space: {optimiser.lr: {float: [1.0e-4, 1.0e-1], log: true}}\n"
    "  trials: 3\n"
    "  metric: val/psnr_db\n"
    "  goal: max\n"
    "  early_stopping: {name: asha, grace_epochs: 1, reduction_factor: 2}\n",
)


def test_two_drivers_share_a_sweep(planned: Planned, tmp_path: Path) -> None:
    """Three planned trials, a search and the arm that it adds: nothing is trained twice, and both drivers end."""
    store = FolderStore(tmp_path / "store")
    plan = planned("epochs=4", text=SHARED)
    with workplace() as start:
        file = ("run", tmp_path / "small.yaml", "--set", "epochs=4", "--address", "in-process")
        drivers = [start(store, *file) for _ in range(2)]
        assert [driven.wait() for driven in drivers] == [0, 0], "\n".join(driven.output_text() for driven in drivers)
    assert len(plan.runs()) == 3
    stored = stored_plans.newest_plan(store, "small")
    assert stored is not None
    planned_trials = {trial["id"] for arm in stored["arms"] for trial in arm["trials"].values()}
    assert len(planned_trials) == 4
    assert len(store.children("trials")) == 4 + 3
    attempts = {trial_id: stored_attempts.attempts(store, trial_id) for trial_id in store.children("trials")}
    assert {trial_id: len(found) for trial_id, found in attempts.items() if len(found) != 1} == {}
    asks = stored_searches(store, "small")["base"].asks()
    assert {ask.state for ask in asks} <= {"complete", "pruned"}
    assert {len(store.children(f"trials/{trial_id}/result")) for trial_id in planned_trials} == {1}
    assert len({_pid(store, found[0]) for found in attempts.values()}) == 2, "both have trained"


def _pid(store: Store, attempt: stored_attempts.Attempt) -> int:
    body = layout.get_json(store, attempt.key("attempts", f"{attempt.number:04d}.json"))
    pid: int = body["process"]["pid"]
    return pid


# --- zombies ----------------------------------------------------------------------------------------------------------


class Waking(Watched):
    """Does something at the first record."""

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__()
        self.wake = wake

    def record(self, job: Job, row: dict[str, Any]) -> None:
        if not self.rows:
            self.wake()
        super().record(job, row)


@pytest.mark.slow  # above: leases, and two drivers
def test_a_zombie_that_wakes_while_a_newer_attempt_trains_spoils_nothing(
    planned: Planned, tmp_path: Path, data_root: Path
) -> None:
    store, straight = FolderStore(tmp_path / "store"), FolderStore(tmp_path / "straight")
    changes = ("arms=[]", "epochs=8", "report.test_epochs=[]")
    plan = planned(*changes, text=LONGER)
    run(plan, straight, data_root)
    with workplace() as start:
        sets = [word for change in changes for word in ("--set", change)]
        zombie = start(store, "run", tmp_path / "small.yaml", *sets, "--address", "in-process", "--checkpoint-every", 0)
        assert zombie.until(lambda: len(zombie.new_epochs()) >= 2), zombie.output_text()
        os.kill(zombie.process.pid, signal.SIGSTOP)
        assert not store.children(f"trials/{plan.runs()[0][0].id}/result"), "it was stopped in its training"
        watched = Waking(lambda: os.kill(zombie.process.pid, signal.SIGCONT))
        _train(plan, store, data_root, watched, Leases(store, lease_s=1.0))
        assert zombie.wait() == 0, zombie.output_text()
    trial = plan.runs()[0][0]
    assert [row["epoch"] for row in watched.rows][-1] == 8
    assert watched.rows[0]["epoch"] > 2, "it went on where the zombie was stopped"
    assert len(stored_attempts.attempts(store, trial.id)) == 2
    assert layout.get_json(store, layout.result_key(trial.id, 8))["attempt"].startswith("0002-")
    assert histories(plan, store) == histories(plan, straight)
    assert all(
        (found := checkpoints.latest_checkpoint(store, trial.id, epoch)) is not None and not found.damaged
        for _, epoch in checkpoints.checkpoints(store, trial.id)
    )


def _train(plan: Plan, store: Store, data_root: Path, watched: Watched, leases: Leases) -> None:
    jobs = [Job(trial.id, trial.epochs, label) for trial, label in plan.runs()]
    options = WorkerOptions(store.uri, plan.name, "newer", data_root=str(data_root), checkpoint_s=0)
    in_process.run(TrialQueue(store, jobs, watched, leases=leases), options, lambda: None)
