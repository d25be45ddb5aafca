"""Claims, checkpoints and results: each object has one writer, even if two processes compete."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.errors import StoreError
from sweeps.store import attempts as stored_attempts
from sweeps.store import checkpoints, layout
from sweeps.store import plans as stored_plans
from sweeps.store import trials as stored_trials
from sweeps.store.attempts import Attempt
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from tests.plans import MINIMAL


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return FolderStore(tmp_path)


def claimed(store: Store, after: int = 0) -> Attempt:
    attempt = stored_attempts.claim(store, "t", after, {"claimed_at": 0.0})
    assert attempt is not None
    return attempt


def test_one_of_two_claims_wins(store: Store) -> None:
    assert claimed(store).number == 1
    assert stored_attempts.claim(store, "t", 0, {}) is None
    assert claimed(store, after=1).number == 2
    assert stored_attempts.attempt_numbers(store, "t") == [1, 2]


def test_the_checkpoint_to_resume_from_is_the_newest_attempts_highest(store: Store) -> None:
    first = claimed(store)
    for epoch in (1, 10):
        assert checkpoints.save_checkpoint(store, first, epoch, {"state.pt": f"first {epoch}".encode()})
    second = claimed(store, after=1)
    assert checkpoints.save_checkpoint(store, second, 2, {"state.pt": b"second 2"})
    found = checkpoints.latest_checkpoint(store, "t", up_to=100)
    assert found is not None
    assert (found.epoch, found.files["state.pt"]) == (2, b"second 2")
    lower = checkpoints.latest_checkpoint(store, "t", up_to=1)
    assert lower is not None
    assert lower.files["state.pt"] == b"first 1"


@pytest.mark.parametrize("damage", [b"secon", b"second 3 and more", b"SECOND 3"])
def test_a_damaged_checkpoint_is_passed_over_and_named(store: Store, damage: bytes) -> None:
    attempt = claimed(store)
    for epoch in (2, 3):
        checkpoints.save_checkpoint(store, attempt, epoch, {"state.pt": f"second {epoch}".encode()})
    store.put(attempt.key("checkpoint", attempt.name, 3, "state.pt"), damage)
    found = checkpoints.latest_checkpoint(store, "t", up_to=9)
    assert found is not None
    assert found.epoch == 2
    assert found.damaged == (attempt.key("checkpoint", attempt.name, 3),)


def test_a_checkpoint_without_manifest_is_none(store: Store) -> None:
    attempt = claimed(store)
    store.put(attempt.key("checkpoint", attempt.name, 1, "state.pt"), b"half an upload")
    assert checkpoints.latest_checkpoint(store, "t", up_to=9) is None


def test_a_zombie_publishes_nothing(store: Store) -> None:
    zombie = claimed(store)
    heir = claimed(store, after=1)
    assert not checkpoints.save_checkpoint(store, zombie, 5, {"state.pt": b"old"})
    assert checkpoints.latest_checkpoint(store, "t", up_to=9) is None
    assert not stored_trials.finish(store, zombie, 5, {"history": {"epoch": [5]}})
    assert stored_trials.finish(store, heir, 5, {"history": {"epoch": [5]}})
    assert layout.get_json(store, layout.result_key("t", 5))["attempt"] == heir.name


def test_a_result_is_created_once(store: Store) -> None:
    attempt = claimed(store)
    assert stored_trials.finish(store, attempt, 5, {"history": {"epoch": [5]}})
    assert not stored_trials.finish(store, attempt, 5, {"history": {"epoch": [6]}})
    assert layout.get_json(store, layout.result_key("t", 5))["history"] == {"epoch": [5]}


def test_an_attempt_deletes_only_its_own_checkpoints(store: Store) -> None:
    first = claimed(store)
    checkpoints.save_checkpoint(store, first, 1, {"state.pt": b"1"})
    second = claimed(store, after=1)
    for epoch in (2, 3, 4):
        checkpoints.save_checkpoint(store, second, epoch, {"state.pt": b"x", "history.json": b"[]"})
    checkpoints.drop_checkpoints(store, second, {2: ["state.pt", "history.json"]})
    assert checkpoints.checkpoints(store, "t") == [(first.name, 1), (second.name, 3), (second.name, 4)]
    assert list(store.keys(second.key("checkpoint", second.name, 2) + "/")) == []


def test_a_plan_is_kept_when_the_file_changes(store: Store) -> None:
    one = stored_plans.write_plan(store, "s", MINIMAL, "text", 1.0)
    again = stored_plans.write_plan(store, "s", MINIMAL, "text", 2.0)
    for spelling in ({"command": "sweeps run ./s.yaml"}, {"file": "../s.yaml"}):
        assert stored_plans.write_plan(store, "s", {**MINIMAL, **spelling}, "text", 2.0) == one
    other = stored_plans.write_plan(store, "s", {**MINIMAL, "question": "another"}, "text", 3.0)
    assert one == again
    assert [plan["planned_at"] for plan in stored_plans.read_plans(store, "s")] == [1.0, 3.0]
    assert stored_plans.read_plans(store, "s")[-1] == other


def test_a_missing_or_damaged_plan_is_passed_over(store: Store) -> None:
    bodies = [stored_plans.write_plan(store, "s", {**MINIMAL, "question": str(n)}, "text", float(n)) for n in range(3)]
    store.delete(["sweeps/s/plans/0001.json"])
    store.put("sweeps/s/plans/0003.json", b"")
    assert stored_plans.newest_plan(store, "s") == bodies[1]
    assert stored_plans.read_plans(store, "s") == [bodies[1]]
    added = stored_plans.write_plan(store, "s", {**MINIMAL, "question": "3"}, "text", 3.0)
    assert sorted(store.children("sweeps/s/plans")) == ["0002.json", "0003.json", "0004.json"]
    assert stored_plans.newest_plan(store, "s") == added


@pytest.mark.parametrize("wrong", [{"step": 0}, {"first": 9}, {"most": "8"}, {"until": "ever"}])
def test_a_plan_with_looks_that_no_sweep_can_have_is_damaged(store: Store, wrong: dict[str, object]) -> None:
    good = {"first": 4, "step": 4, "most": 8, "until": "decided"}
    for looks in (good, {**good, **wrong}):
        stored_plans.write_plan(store, "s", {**MINIMAL, "looks": looks}, "text", 1.0)
    assert [plan["looks"] for plan in stored_plans.read_plans(store, "s")] == [good]


def test_a_damaged_claim_keeps_its_number_and_its_token(store: Store) -> None:
    attempt = claimed(store)
    stored_attempts.beat(store, attempt, {"time": 1.0})
    store.put("trials/t/attempts/0001.json", b"")
    assert stored_attempts.newest_attempt(store, "t") == attempt
    assert stored_attempts.newest_attempts(store, ["t"]) == {"t": attempt}
    assert claimed(store, after=1).number == 2


def test_a_damaged_result_is_replaced(store: Store) -> None:
    attempt = claimed(store)
    assert stored_trials.finish(store, attempt, 5, {"history": {"epoch": [5]}})
    store.put(layout.result_key("t", 5), store.get(layout.result_key("t", 5)).replace(b"[5]", b"[6]"))
    assert not stored_trials.is_finished(store, "t", 5)
    assert stored_trials.finish(store, attempt, 5, {"history": {"epoch": [5]}})
    assert stored_trials.is_finished(store, "t", 5)


def test_a_newer_schema_and_a_damaged_object_are_errors(store: Store) -> None:
    store.put("trials/t/trial.json", b'{"schema": 99}')
    with pytest.raises(StoreError, match="schema 99"):
        stored_trials.read_trial(store, "t")
    store.put("trials/t/trial.json", b'{"schema"')
    with pytest.raises(StoreError, match="damaged"):
        stored_trials.read_trial(store, "t")
    with pytest.raises(StoreError, match="no such trial"):
        stored_trials.read_trial(store, "other")
