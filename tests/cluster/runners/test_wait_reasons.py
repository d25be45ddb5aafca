"""A run that waits says for what: resources, workers, another driver."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.connection import waiting
from cluster.driver.queue.trial_queue import Job, TrialQueue
from cluster.runners import in_process, wait_reasons
from cluster.worker.worker import WorkerOptions
from sweeps.store.base import Store
from tests.cluster.small import Watched

OPTIONS = WorkerOptions(store="", sweep="", run="", stops_seen=frozenset(), cpus=4, gpus=1)


class Held:
    """Leases of which another driver has all, until it has been asked so often."""

    def __init__(self, times: int) -> None:
        self.times = times

    def free_after(self, trial_id: str) -> int | None:
        self.times -= 1
        return None if self.times >= 0 else 0


def held_queue(store: Store, times: int = 1000) -> TrialQueue:
    leases: Any = Held(times)
    jobs = [Job(f"trial{number}", 1, f"arm {number}") for number in range(5)]
    queue = TrialQueue(store, jobs, Watched(), leases=leases)
    assert queue.take() is None
    return queue


def tune_trials(*states: str) -> list[Any]:
    return [SimpleNamespace(status=state) for state in states]


def test_the_reason_is_a_process_the_workers_or_another_driver(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait_reasons, "free_resources", lambda: "free: none")
    queue, starting = held_queue(store), SimpleNamespace(starting=["net-2x1gpu-0"])
    groups: Any = starting
    resources = wait_reasons.reason(queue, OPTIONS, tune_trials("PENDING", "PENDING"), None)
    workers = wait_reasons.reason(queue, OPTIONS, [], groups)
    starting.starting = []
    other = wait_reasons.reason(queue, OPTIONS, [], groups)
    assert resources is not None
    assert workers is not None
    assert other is not None
    assert resources() == "the processes of 2 trials to start, each with 4 CPUs and 1 GPU; free: none"
    starting.starting = ["net-2x1gpu-0"]
    assert workers() == "the workers of net-2x1gpu-0, each with 4 CPUs and 1 GPU; free: none"
    assert other().startswith("5 trials that another driver runs or has left: arm 0, arm 1, arm 2 and 2 more; ")


def test_nothing_is_said_while_a_trial_trains(store: Store) -> None:
    queue = held_queue(store)
    assert wait_reasons.reason(queue, OPTIONS, tune_trials("PENDING", "RUNNING"), None) is None
    assert wait_reasons.reason(TrialQueue(store, [], Watched()), OPTIONS, [], None) is None


def test_a_run_that_waits_for_another_driver_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waiting, "FIRST_S", 0.1)
    queue, steps = held_queue(store), itertools.count()
    in_process.run(queue, OPTIONS, lambda: queue.halt() if next(steps) == 5 else None)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("waiting for 0 s: 5 trials that another driver runs or has left: arm 0")
