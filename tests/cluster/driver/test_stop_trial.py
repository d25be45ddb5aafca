"""`sweeps stop NAME --trial ID`: one trial ends after its current epoch, the others continue."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.driver import driver, pending_work
from cluster.driver.queue.trial_queue import Job
from sweeps.cli.main import main
from sweeps.run_options import RunOptions
from sweeps.store import checkpoints
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from tests.cluster.small import Planned, Watched
from trainables import schema


class StopsFirst(Watched):
    """Requests a stop of the first trial that starts to train, as the command does."""

    def __init__(self, store: FolderStore) -> None:
        super().__init__()
        self.store, self.trial = store, ""

    def started(self, job: Job) -> None:
        super().started(job)
        if not self.trial and "mean fill" not in job.label:
            self.trial = job.trial_id
            assert main(["stop", "small", "--trial", job.trial_id, "--store", self.store.uri]) == 0


def test_one_trial_ends_and_the_others_go_on(planned: Planned, tmp_path: Path, data_root: Path) -> None:
    store = FolderStore(tmp_path / "store")
    plan = planned("epochs=100000", "arms=[{name: mean fill, set: {model: {name: mean_fill}}}]")
    watched = StopsFirst(store)
    settings = RunOptions(address=driver.IN_PROCESS, data=data_root)
    work = pending_work.work_left(plan, store, schema)
    driver.write(plan, store, ())
    driver.run(work, store, schema, settings, watched)
    ended = {label: state for state, label in watched.events if state != "started"}
    assert sorted(ended.values()) == ["done", "stopped"]
    assert checkpoints.checkpoints(store, watched.trial), "it goes on from there"
    again = stored_plans.stop_requests(store, "small")
    assert len(again) == 1
    assert again == stored_plans.stop_requests(store, "small", watched.trial)
    assert stored_plans.stop_requests(store, "small", "another") == frozenset()


def test_a_trial_that_is_none_of_the_sweep_is_refused(
    planned: Planned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = FolderStore(tmp_path / "store")
    driver.write(planned(), store, ())
    assert main(["stop", "small", "--trial", "0123456789abcdef", "--store", store.uri]) == 2
    assert "--trial '0123456789abcdef'" in capsys.readouterr().err
    assert stored_plans.stop_requests(store, "small") == frozenset()
