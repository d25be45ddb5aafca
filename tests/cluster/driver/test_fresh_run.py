"""`run --fresh` deletes results once: interrupted, the same command continues; finished, it begins anew."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from cluster.driver import driver, fresh_run, pending_work
from cluster.driver.execution import NoEvents, RunResult, execute_plan
from cluster.driver.queue.trial_queue import Job, ProgressListener
from sweeps.run_options import RunOptions
from sweeps.spec.plan import Plan
from sweeps.store import attempts, layout, plans
from sweeps.store.local import FolderStore
from tests.cluster.small import Planned

FILLS = "arms=[{name: Telea, set: {model: {name: telea}}}, {name: mean fill, set: {model: {name: mean_fill}}}]"


class Events(NoEvents):
    """Asks the run to stop when its first trial has ended, if wanted."""

    def __init__(self, store: FolderStore, stop: bool) -> None:
        self.store, self.stop, self.continued = store, stop, ""

    def planned(self, work: pending_work.PendingWork) -> None:
        self.continued = work.continued

    def progress(self, *_: object) -> contextlib.AbstractContextManager[ProgressListener]:
        return contextlib.nullcontext(self)

    def ended(self, job: Job, state: str) -> None:
        if self.stop:
            plans.request_stop(self.store, "small")


def fresh(plan: Plan, store: FolderStore, data_root: Path, *, stop: bool = False) -> tuple[RunResult, str]:
    events = Events(store, stop)
    options = RunOptions(address=driver.IN_PROCESS, data=data_root, fresh=True)
    return execute_plan(plan, store, options, events), events.continued


def times_trained(plan: Plan, store: FolderStore) -> list[int]:
    return [len(attempts.attempt_numbers(store, trial.id)) for trial, _ in plan.runs()]


def test_an_interrupted_run_continues(
    planned: Planned, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "LOOK_EVERY_S", 0.0)
    store = FolderStore(tmp_path / "store")
    plan = planned("base.model={name: onion_peel}", FILLS)
    assert fresh(plan, store, data_root)[0].complete
    assert times_trained(plan, store) == [1, 1, 1]

    stopped, said = fresh(plan, store, data_root, stop=True)
    assert not stopped.complete
    assert said == ""
    begun = times_trained(plan, store)
    assert sorted(begun) == [1, 1, 2], "one of three was trained again"

    again, said = fresh(plan, store, data_root)
    assert again.complete
    assert said.startswith("continues the --fresh run that began on ")
    assert times_trained(plan, store) == [2, 2, 2], "none was trained twice by the same --fresh"

    assert fresh(plan, store, data_root)[1] == ""
    assert times_trained(plan, store) == [3, 3, 3], "after its end, --fresh begins anew"


def test_a_run_that_was_killed_while_it_deleted_deletes_again(
    planned: Planned, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path / "store")
    plan = planned("base.model={name: mean_fill}", "arms=[]")
    fresh(plan, store, data_root)
    ((trial, _),) = plan.runs()
    with monkeypatch.context() as patch:
        patch.setattr(driver, "forget", _killed)
        with pytest.raises(KeyboardInterrupt):
            fresh_run.delete_results(plan, store)
    assert store.exists_many([layout.result_key(trial.id, trial.epochs)])
    assert fresh_run.delete_results(plan, store) == ""
    assert not store.exists_many([layout.result_key(trial.id, trial.epochs)])


def _killed(*_: object) -> None:
    raise KeyboardInterrupt
