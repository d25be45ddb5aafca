"""The same trial in this process and through Ray Tune; resuming; failing; running nothing twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cluster.driver import pending_work
from cluster.worker.store_session import StoreSession
from sweeps.results import progress
from sweeps.store import attempts as stored_attempts
from sweeps.store import layout
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from tests.cluster.small import Planned, histories, run
from trainables import schema


@pytest.mark.slow  # tests/golden compares a sweep through Ray to the bit in every run of the tests
@pytest.mark.parametrize("cpus", [1, 2])
def test_in_process_and_through_ray_give_the_same_records(
    planned: Planned, tmp_path: Path, data_root: Path, ray_address: str, cpus: int
) -> None:
    plan = planned(f"resources.cpus={cpus}")
    here, there = FolderStore(tmp_path / "here"), FolderStore(tmp_path / "there")
    run(plan, here, data_root)
    run(plan, there, data_root, ray_address)
    expected = histories(plan, here)
    assert len(expected) == 3
    assert histories(plan, there) == expected
    for trial, _ in plan.runs():
        (attempt,) = stored_attempts.attempts(there, trial.id)
        assert stored_attempts.read_log(there, attempt).endswith("  done\n")
        claim = layout.get_json(there, attempt.key("attempts", "0001.json"))
        assert re.fullmatch("[0-9a-f]{8}", claim["provenance"]["ray_job"]), "links to the job in Ray's dashboard"


def test_threads_are_recorded_and_change_bits_only(planned: Planned, tmp_path: Path, data_root: Path) -> None:
    """Equality above holds for equal thread counts only, and `fit` restores the thread count of the process."""
    import torch

    before = torch.get_num_threads()
    found = []
    for cpus in (1, 2):
        store = FolderStore(tmp_path / str(cpus))
        plan = planned(f"resources.cpus={cpus}", "arms=[]")
        run(plan, store, data_root)
        trial = plan.arms[0].trials[0]
        result = layout.get_json(store, layout.result_key(trial.id, 3))
        assert result["provenance"]["cpus"] == cpus
        found.append(histories(plan, store)["base · seed 0 to 3"][-1]["test/psnr_db"])
    assert found[0] == pytest.approx(found[1], abs=0.05)
    assert torch.get_num_threads() == before


def test_a_finished_sweep_runs_nothing(planned: Planned, store: Store, data_root: Path) -> None:
    plan = planned()
    run(plan, store, data_root)
    before = {key: store.get(key) for key in store.keys("")}
    work = pending_work.work_left(plan, store, schema)
    assert (work.jobs, work.cached, work.failed) == ([], 3, [])
    assert run(plan, store, data_root).events == []
    assert {key: store.get(key) for key in store.keys("")} == before


def test_more_epochs_go_on_from_the_checkpoint(planned: Planned, tmp_path: Path, data_root: Path) -> None:
    straight, extended = FolderStore(tmp_path / "straight"), FolderStore(tmp_path / "extended")
    run(planned("epochs=5"), straight, data_root)
    run(planned("epochs=3"), extended, data_root)
    watched = run(planned("epochs=5"), extended, data_root)
    assert sorted(row["epoch"] for row in watched.rows) == [4, 4, 5, 5], "only the new epochs are trained"
    expected, found = (histories(planned("epochs=5"), store)["base · seed 0 to 5"] for store in (straight, extended))
    tested_before = {key: value for key, value in found[2].items() if key.startswith("test/")}
    assert tested_before, "epoch 3 was the last one once, and keeps its test metrics"
    found[2] = {key: value for key, value in found[2].items() if key not in tested_before}
    assert found == expected


def test_fewer_epochs_are_evaluated_from_a_checkpoint_or_trained(
    planned: Planned, store: Store, data_root: Path
) -> None:
    run(planned("epochs=3"), store, data_root)
    plan = planned("epochs=2")
    run(plan, store, data_root)
    rows = histories(plan, store)["base · seed 0 to 2"]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert "test/psnr_db" in rows[-1]


class Killed(BaseException):
    """Stands in for the death of a process."""


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    """The records of an uninterrupted trial; filled by the first test that needs them."""
    return {}


@pytest.mark.parametrize("moment", ["save", "samples", "finish", "report"])
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_trial_cut_off_anywhere_resumes_to_the_same_bits(
    planned: Planned,
    tmp_path: Path,
    data_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: dict[str, Any],
    moment: str,
    epoch: int,
) -> None:
    plan, cut = planned("arms=[]"), FolderStore(tmp_path / "cut")
    if not undisturbed:
        straight = FolderStore(tmp_path / "straight")
        run(plan, straight, data_root, checkpoint_every_s=0)
        undisturbed.update(histories(plan, straight))
    original = getattr(StoreSession, moment)
    calls: list[int] = []

    def cut_off(self: StoreSession, *arguments: Any) -> None:
        calls.append(1)
        original(self, *arguments)
        if len(calls) == (1 if moment == "finish" else epoch):
            raise Killed

    monkeypatch.setattr(StoreSession, moment, cut_off)
    with pytest.raises(Killed):
        run(plan, cut, data_root, checkpoint_every_s=0)
    monkeypatch.undo()
    run(plan, cut, data_root, checkpoint_every_s=0)
    assert histories(plan, cut) == undisturbed


def test_a_failing_trial_fails_alone(planned: Planned, store: Store, data_root: Path) -> None:
    plan = planned("optimiser={name: sgd, lr: 1.0e+30}")
    run(plan, store, data_root)
    states = progress.trial_states(store, plan.to_json([]))
    by_label = {label: states[trial.id] for trial, label in plan.runs()}
    assert by_label["mean fill"].state == "done"
    failed = by_label["base · seed 0"]
    assert failed.state == "failed"
    assert failed.error is not None
    assert failed.error["type"] == "Diverged"
    assert "first at epoch 1, step" in failed.error["message"]
    assert "trainables/training/loop.py" in failed.error["traceback"]
    work = pending_work.work_left(plan, store, schema)
    assert (len(work.jobs), len(work.failed)) == (0, 2), "failed ones wait for --retry"
    assert len(pending_work.work_left(plan, store, schema, retry=True).jobs) == 2


def test_missing_data_is_told_before_anything_runs(planned: Planned, store: Store, tmp_path: Path) -> None:
    from trainables.errors import TrialError

    with pytest.raises(TrialError, match="cifar"):
        run(planned(), store, tmp_path)


def test_a_store_that_cannot_be_written_is_told(planned: Planned, tmp_path: Path, data_root: Path) -> None:
    from sweeps.errors import StoreError

    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        run(planned(), FolderStore(tmp_path / "file" / "below"), data_root)
