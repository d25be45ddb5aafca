"""The state of each trial, from the attempts, ends and heartbeats in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeps.holders import LEASE_S, this_process
from sweeps.results import progress
from sweeps.results.progress import TrialState
from sweeps.store import attempts as stored_attempts
from sweeps.store import checkpoints
from sweeps.store import trials as stored_trials
from sweeps.store.attempts import Attempt
from sweeps.store.base import Store
from sweeps.store.local import FolderStore

NOW = 1_000_000.0
ERROR = {"type": "Diverged", "message": "the loss is not finite", "traceback": ""}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return FolderStore(tmp_path)


def plan(*trials: tuple[str, int]) -> dict[str, Any]:
    """A stored plan with an arm for each (trial id, target epoch)."""
    return {"arms": [{"trials": {"0": {"id": trial, "epochs": epochs}}} for trial, epochs in trials]}


def claimed(store: Store, after: int = 0, holder: dict[str, Any] | None = None) -> Attempt:
    attempt = stored_attempts.claim(store, "t", after, {"claimed_at": NOW, "process": holder})
    assert attempt is not None
    return attempt


def beats(store: Store, attempt: Attempt, age_s: float, epoch: int = 2) -> None:
    stored_attempts.beat(store, attempt, {"beat": 1, "time": NOW - age_s, "epoch": epoch, "record": {"epoch": epoch}})


def state(store: Store, epochs: int = 5) -> TrialState:
    return progress.trial_states(store, plan(("t", epochs)), NOW)["t"]


def test_nobody_has_claimed_it(store: Store) -> None:
    assert state(store) == TrialState("queued")


def test_it_runs_while_its_heart_beats(store: Store) -> None:
    attempt = claimed(store)
    beats(store, attempt, age_s=LEASE_S - 1)
    assert state(store) == TrialState("running", 2, None, attempt.name, {"epoch": 2}, silent_s=LEASE_S - 1)
    beats(store, attempt, age_s=LEASE_S + 1)
    assert state(store).state == "interrupted"


def test_a_process_of_this_machine_that_is_gone_interrupts_at_once(store: Store) -> None:
    beats(store, claimed(store, holder=this_process()), age_s=1)
    assert state(store).state == "running"
    killed = {**this_process(), "started": "1"}
    beats(store, claimed(store, after=1, holder=killed), age_s=1)
    assert state(store) == TrialState("interrupted", 2, None, state(store).attempt, {"epoch": 2})


@pytest.mark.parametrize(
    ("end", "expected"),
    [("failed", "failed"), ("stopped", "interrupted"), ("superseded", "interrupted"), ("done", "interrupted")],
)
def test_it_has_ended(store: Store, end: str, expected: str) -> None:
    """An end outweighs a fresh heartbeat; `done` without a result means that the result was deleted."""
    attempt = claimed(store)
    beats(store, attempt, age_s=1)
    stored_attempts.end(store, attempt, end, NOW, ERROR if end == "failed" else None)
    found = state(store)
    assert (found.state, found.epoch) == (expected, 2)
    assert found.error == (ERROR if end == "failed" else None)


def test_the_newest_attempt_counts(store: Store) -> None:
    stored_attempts.end(store, claimed(store), "failed", NOW, ERROR)
    second = claimed(store, after=1)
    beats(store, second, age_s=1, epoch=4)
    assert (state(store).state, state(store).attempt, state(store).error) == ("running", second.name, None)


def test_a_result_counts_more_than_all_else(store: Store) -> None:
    attempt = claimed(store)
    assert stored_trials.finish(store, attempt, 5, {"history": {}})
    stored_attempts.end(store, attempt, "failed", NOW, ERROR)
    assert state(store) == TrialState("done", epoch=5, reached=(5,))


def test_a_trial_with_two_targets_is_done_at_each_that_it_reached(store: Store) -> None:
    both = plan(("t", 5), ("t", 9))
    assert progress.targets(both) == {"t": (5, 9)}
    stored_trials.finish(store, claimed(store), 5, {"history": {}})
    found = progress.trial_states(store, both, NOW)["t"]
    assert (found.state, found.epoch, found.reached) == ("interrupted", 5, (5,))
    assert (found.at(5), found.at(9)) == ("done", "interrupted")
    stored_trials.finish(store, claimed(store, after=1), 9, {"history": {}})
    assert progress.trial_states(store, both, NOW)["t"] == TrialState("done", epoch=9, reached=(5, 9))


def test_a_finished_trial_with_a_later_target_is_to_be_extended(store: Store) -> None:
    """Its epoch is that of its results; one that was stopped before its first heartbeat has that of its checkpoint."""
    first = claimed(store)
    stored_trials.finish(store, first, 4, {"history": {}})
    stored_attempts.end(store, first, "done", NOW)
    found = state(store, 16)
    assert (found.state, found.epoch, found.words(16)) == ("interrupted", 4, "to be extended")
    second = claimed(store, after=1)
    assert checkpoints.save_checkpoint(store, second, 7, {"history.json": b"[]"})
    stored_attempts.end(store, second, "stopped", NOW)
    found = state(store, 16)
    assert (found.epoch, found.words(16)) == (7, "interrupted")


def test_states_come_in_the_order_of_the_plan(store: Store) -> None:
    stored_trials.finish(store, claimed(store), 5, {"history": {}})
    assert list(progress.trial_states(store, plan(("z", 1), ("t", 5), ("a", 0)), NOW)) == ["z", "t", "a"]


def test_finished_trials_cost_one_look_each(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stored_trials.finish(store, claimed(store), 5, {"history": {}})

    def read(*_: object) -> None:
        raise AssertionError("a finished trial's objects were read")

    monkeypatch.setattr(stored_attempts, "attempts", read)
    monkeypatch.setattr(FolderStore, "get", read)
    assert state(store).state == "done"


def test_without_a_moment_the_present_is_meant(store: Store) -> None:
    beats(store, claimed(store), age_s=0)
    assert progress.trial_states(store, plan(("t", 5)))["t"].state == "interrupted", "that beat is years old"
