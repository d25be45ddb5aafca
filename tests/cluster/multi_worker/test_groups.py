"""Multi-worker trials through Ray Train: one group for many trials, with the same numbers as one process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cluster.driver.queue.trial_queue import Job
from cluster.multi_worker import groups
from sweeps.results import progress
from sweeps.search.search import stored_searches
from sweeps.spec.plan import Plan
from sweeps.store import attempts as stored_attempts
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from tests.cluster import small
from tests.cluster.multi_worker import group_doubles
from tests.cluster.small import Planned, Watched, histories, run

TWO = """\
# Do two workers give the numbers of one?
name: groups
task: inpaint
base:
  data: {name: folder, path: kodak24}
  mask: {name: lines}
  model: {name: vanilla_autoencoder, width: 4}
  optimiser: {name: sgd, lr: 0.01}
  loss: {l2_hole: 1.0}
  batch: 8
  epochs: 4
seeds: 1
resources: {workers: 2}
report: {metrics: [test/psnr_db]}
"""
PRUNING = """\
arms:
  - {name: diverges, set: {optimiser.lr: 1.0e+30}}
  - {name: mean fill, set: {model: {name: mean_fill}}}
search:
  space: {optimiser.lr: {float: [1.0e-9, 1.0], log: true}}
  points: [{optimiser.lr: 0.5}, {optimiser.lr: 1.0e-8}, {optimiser.lr: 1.0e-9}]
  trials: 3
  metric: val/psnr_db
  goal: max
  early_stopping: {name: asha, grace_epochs: 1, reduction_factor: 2}
"""
FAULTS = f"""\
arms:
  - {{name: raises, set: {{optimiser.lr: {group_doubles.RAISES_LR}}}}}
  - {{name: killed, set: {{optimiser.lr: {group_doubles.KILLED_LR}}}}}
  - {{name: after, set: {{optimiser.lr: 0.013}}}}
"""


@dataclass
class Clocked(Watched):
    """Also keeps the times of the events."""

    times: list[tuple[str, str, float]] = field(default_factory=list)

    def started(self, job: Job) -> None:
        super().started(job)
        self.times.append(("started", job.label, time.monotonic()))

    def record(self, job: Job, row: dict[str, Any]) -> None:
        super().record(job, row)
        self.times.append(("record", job.label, time.monotonic()))

    def ended(self, job: Job, state: str) -> None:
        super().ended(job, state)
        self.times.append((state, job.label, time.monotonic()))


def close(a: dict[str, Any], b: dict[str, Any]) -> None:
    """The records are equal up to rounding."""
    assert a.keys() == b.keys()
    for label, rows in a.items():
        assert len(rows) == len(b[label]), label
        for row, other in zip(rows, b[label], strict=True):
            assert row == pytest.approx(other, rel=1e-5, abs=1e-6), label


def holders(plan: Plan, store: Store) -> dict[str, list[int]]:
    """Label -> the processes that claimed the trial, attempt by attempt."""
    found = {}
    for trial, label in plan.runs():
        keys = [f"trials/{trial.id}/attempts/{n:04d}.json" for n in stored_attempts.attempt_numbers(store, trial.id)]
        found[label] = [layout.get_json(store, key)["process"]["pid"] for key in keys]
    return found


def test_one_group_trains_all_trials_though_some_are_stopped_and_one_fails(
    planned: Planned, tmp_path: Path, data_root: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More trials than fit. For the death of a worker see the next test."""
    monkeypatch.setattr(small, "Watched", Clocked)
    here, there = FolderStore(tmp_path / "here"), FolderStore(tmp_path / "there")
    plan = planned(text=TWO + PRUNING)
    watched = run(plan, there, data_root, ray_address)
    assert isinstance(watched, Clocked)
    run(plan, here, data_root)
    stored = stored_plans.newest_plan(there, "groups")
    assert stored is not None
    assert Counter(state.state for state in progress.trial_states(there, stored).values()) == Counter(done=3, failed=1)
    close(histories(plan, there), histories(plan, here))
    states = [ask.state for ask in stored_searches(there, "groups")["base"].asks()]
    assert states.count("pruned") == 2
    ended = [attempt for trial, _ in plan.runs() for attempt in stored_attempts.attempts(there, trial.id)[-1:]]
    logs = [stored_attempts.read_log(there, attempt) for attempt in ended]
    assert all(", first of 2 workers: to epoch " in log for log in logs), "the first worker writes it"
    held = holders(plan, there)
    assert {len(pids) for pids in held.values()} == {1}
    assert len({pid for pids in held.values() for pid in pids}) == 1, "one worker has led all trials"
    _check_times(watched)


def _check_times(watched: Clocked) -> None:
    """The time from the end of a trial to the first record of the next; no record comes after an end."""
    over: set[str] = set()
    ended: float | None = None
    waits = []
    for what, label, when in watched.times:
        if what == "record":
            assert label not in over, "a record came after the trial's end"
            if ended is not None:
                waits.append(when - ended)
                ended = None
        elif what not in ("started", "crashed"):
            over.add(label)
            ended = when
    assert len(waits) >= 4
    assert sorted(waits)[len(waits) // 2] < 4, waits  # other workers would need longer, even where nothing else runs


@pytest.mark.slow
def test_a_worker_that_raises_or_dies_harms_no_other_trial(
    planned: Planned, tmp_path: Path, data_root: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = FolderStore(tmp_path / "here"), FolderStore(tmp_path / "there")
    plan = planned(text=TWO + FAULTS)
    with monkeypatch.context() as patch:
        patch.setattr(groups, "serve", group_doubles.serve_with_faults)
        watched = run(plan, there, data_root, ray_address, checkpoint_every_s=0)
    states = progress.trial_states(there, plan.to_json([]))
    by_label = {label.partition(" ·")[0]: states[trial.id] for trial, label in plan.runs()}
    assert {label: state.state for label, state in by_label.items()} == {
        "base": "done",
        "raises": "failed",
        "killed": "done",
        "after": "done",
    }
    error = by_label["raises"].error
    assert error is not None
    assert error["message"] == "raised in one worker alone"
    assert Counter(state for state, _ in watched.events)["crashed"] == 1, "the killed one, which was tried again"
    assert [len(pids) for label, pids in holders(plan, there).items() if label.startswith("killed")] == [2]
    run(plan, here, data_root, retry=True)
    expected = histories(plan, here)
    expected = {label: rows for label, rows in expected.items() if not label.startswith("raises")}
    close(histories(plan, there), expected)


@pytest.fixture
def three_nodes() -> Iterator[Any]:
    """A head without CPUs and two nodes with one CPU each: a trial with two workers needs both."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


@pytest.mark.ray
@pytest.mark.slow
def test_a_node_that_is_killed_costs_an_attempt(
    planned: Planned, tmp_path: Path, data_root: Path, three_nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial on two nodes loses one of them and resumes from its checkpoint when another node joins."""
    here, there = FolderStore(tmp_path / "here"), FolderStore(tmp_path / "there")
    plan = planned("epochs=40", text=TWO)
    (trial, label), *_ = plan.runs()
    killed: list[int] = []

    class Killer(Clocked):
        def record(self, job: Job, row: dict[str, Any]) -> None:
            super().record(job, row)
            if not killed and int(row["epoch"]) >= 3:
                killed.append(int(row["epoch"]))
                three_nodes.remove_node(list(three_nodes.worker_nodes)[-1], allow_graceful=False)
                three_nodes.add_node(num_cpus=1)

    monkeypatch.setattr(small, "Watched", Killer)
    watched = run(plan, there, data_root, three_nodes.address, checkpoint_every_s=0)
    assert killed
    assert killed[0] < 40
    assert Counter(state for state, _ in watched.events) == Counter(started=2, crashed=1, done=1)
    assert len(stored_attempts.attempt_numbers(there, trial.id)) == 2
    run(plan, here, data_root)
    close(histories(plan, there), histories(plan, here))
    assert [row["epoch"] for row in histories(plan, there)[f"{label} to 40"]] == list(range(1, 41))
