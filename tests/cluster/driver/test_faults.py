"""Trials that misbehave: slow to end, raising while they are stopped, dying, out of memory; nodes that are killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.driver.queue import crashes
from cluster.driver.queue.trial_queue import Job
from cluster.runners import ray_tune
from sweeps.results import progress
from sweeps.search.search import stored_searches
from sweeps.spec.plan import Plan
from sweeps.store import attempts as stored_attempts
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from tests.cluster import doubles, small
from tests.cluster.small import SMALL, Planned, Watched, histories, run

PRUNING = SMALL.replace("test_epochs: [1]", "test_epochs: []") + (
    "search:\n"
    "  space: {optimiser.lr: {float: [1.0e-6, 1.0e-2], log: true}}\n"
    "  points: [{optimiser.lr: 1.0e-2}, {optimiser.lr: 1.0e-6}, {optimiser.lr: 2.0e-6}]\n"
    "  trials: 3\n"
    "  metric: val/psnr_db\n"
    "  goal: max\n"
    "  early_stopping: {name: asha, grace_epochs: 1, reduction_factor: 2}\n"
)
"""Three suggestions of which two are stopped early, then three planned trials and the arm that the search adds."""


def errors(plan: Plan, store: Store) -> dict[str, str]:
    """Label -> type of error of the failed trials."""
    states = progress.trial_states(store, plan.to_json([]))
    found = {label: states[trial.id].error for trial, label in plan.runs()}
    return {label: error["type"] for label, error in found.items() if error}


@pytest.mark.slow  # below: the death of a node, and watchers hear of every end
def test_a_trial_that_ends_badly_when_stopped_harms_nobody(
    planned: Planned, store: Store, data_root: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tune fails the next trial in the same process without notice; a planned trial must not be lost by this."""
    monkeypatch.setattr(ray_tune, "_train", doubles.ends_badly)
    plan = planned(text=PRUNING)
    watched = run(plan, store, data_root, ray_address, max_concurrent=1)  # the next trial then has the same process
    ends = Counter(state for state, _ in watched.events)
    states = [ask.state for ask in stored_searches(store, "small")["base"].asks()]
    assert states.count("pruned") >= 2, "nothing was stopped: this run proves nothing"
    assert set(states) == {"complete", "pruned"}
    stored = stored_plans.newest_plan(store, "small")
    assert stored is not None
    found = Counter(state.state for state in progress.trial_states(store, stored).values())
    assert found == Counter(done=4)
    assert ends["failed"] == 0
    assert ends["crashed"] >= 1, "Tune does fail the next one: the trap is there"
    assert ends["pruned"] == states.count("pruned")
    again = run(plan, store, data_root)
    assert again.events == [], "there is nothing left to do"


@pytest.mark.slow  # below: memory in this process, the death of a node; the limit of tries: test_trial_queue.py
def test_out_of_memory_and_a_process_that_always_dies_fail_alone(
    planned: Planned, store: Store, data_root: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch really is asked for too much memory, which is not tried again; a process that died is tried again, once.

    Each try starts a process, which takes seconds; `test_trial_queue.py` counts up to the real limit.
    """
    monkeypatch.setattr(crashes, "CRASHES", 2)
    monkeypatch.setattr(ray_tune, "_train", doubles.fails(blind=doubles.takes_all_memory, narrow=doubles.dies))
    plan = planned(text=SMALL.replace("arms:\n", "arms:\n  - {name: narrow, set: {model.width: 4}}\n"))
    watched = run(plan, store, data_root, ray_address)
    assert errors(plan, store) == {"blind · seed 0": "out of memory", "narrow · seed 0": "process died"}
    assert Counter(state for state, _ in watched.events) == Counter(started=5, done=2, crashed=1, failed=2)
    trial = next(trial for trial, label in plan.runs() if label == "blind · seed 0")
    attempt = stored_attempts.newest_attempt(store, trial.id)
    assert attempt is not None
    assert attempt.number == 1
    assert "allocate" in layout.get_json(store, attempt.end_key)["error"]["message"]
    monkeypatch.undo()
    run(plan, store, data_root, retry=True)  # in this process, which has no fault
    assert errors(plan, store) == {}


@dataclass
class NodeKiller(Watched):
    """Kills the node that is training after it has reported two epochs, then adds another node."""

    cluster: Any = None
    node: Any = None
    killed_at: int = 0
    """The epoch of the kill. The trial waits there, because Tune asks for a record after processing the one before."""

    def record(self, job: Job, row: dict[str, Any]) -> None:
        super().record(job, row)
        if not self.killed_at and row["epoch"] == 2:
            self.killed_at = int(row["epoch"])
            self.cluster.remove_node(self.node, allow_graceful=False)
            self.node = self.cluster.add_node(num_cpus=3)


def test_a_trial_whose_node_is_killed_goes_on_at_another(
    planned: Planned, tmp_path: Path, data_root: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three CPUs per trial: more than the head has."""
    here, there = FolderStore(tmp_path / "here"), FolderStore(tmp_path / "there")
    plan = planned("arms=[]", "epochs=4", "resources.cpus=3", "report.test_epochs=[]")
    killer = NodeKiller(cluster=ray_cluster, node=ray_cluster.add_node(num_cpus=3))
    monkeypatch.setattr(small, "Watched", lambda: killer)
    try:
        run(plan, there, data_root, ray_cluster.address, checkpoint_every_s=0)
    finally:
        ray_cluster.remove_node(killer.node, allow_graceful=False)
    monkeypatch.undo()
    assert killer.killed_at == 2
    assert Counter(state for state, _ in killer.events) == Counter(started=2, crashed=1, done=1)
    trial = plan.runs()[0][0]
    assert len(stored_attempts.attempt_numbers(there, trial.id)) == 2
    assert "resumed after epoch" in str(layout.get_json(there, layout.result_key(trial.id, 4))["notes"])
    run(plan, here, data_root)
    assert histories(plan, there) == histories(plan, here)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), doubles.takes_all_memory],
)
def test_kinds_of_out_of_memory(
    planned: Planned,
    store: Store,
    data_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception | Callable[[], object],
) -> None:
    """The last one is torch's own error."""
    from trainables.inpaint import task as inpaint

    def full(*_: object, **__: object) -> None:
        if isinstance(error, Exception):
            raise error
        error()

    monkeypatch.setattr(inpaint, "build", full)
    plan = planned("arms=[]")
    run(plan, store, data_root)
    assert errors(plan, store) == {"base · seed 0": "out of memory"}


def test_watchers_hear_of_every_end_once(planned: Planned, store: Store, data_root: Path) -> None:
    watched = run(planned(text=PRUNING), store, data_root)
    assert isinstance(watched, Watched)
    ended = Counter(label for state, label in watched.events if state in ("done", "pruned", "failed"))
    assert set(ended.values()) == {1}
    assert len(ended) == 7
