"""The queue behind every runner: in which order trials run, and what happens to those that fail or crash."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from cluster.driver.early_stopping import EarlyStopping
from cluster.driver.queue import trial_queue as feed_module
from cluster.driver.queue.crashes import CRASHES, FALSE_STARTS
from cluster.driver.queue.leases import Leases
from cluster.driver.queue.trial_queue import CRASHED, Job, SearchWork, TrialQueue
from cluster.worker.worker import DONE, FAILED, HELD, STOPPED
from sweeps.holders import this_process
from sweeps.search.arm_search import ArmSearch, pruned_key
from sweeps.search.search import stored_searches
from sweeps.spec.plan import Plan
from sweeps.store import attempts as stored_attempts
from sweeps.store import checkpoints, layout
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store
from tests.cluster.small import SMALL, Planned, Watched
from trainables import schema

METRIC = "val/psnr_db"
SEARCHED = SMALL.replace("test_epochs: [1]", "test_epochs: []") + (
    "search:\n"
    "  space: {optimiser.lr: {float: [1.0e-4, 1.0e-1], log: true}}\n"
    "  trials: 3\n"
    "  metric: val/psnr_db\n"
    "  goal: max\n"
    "  sampler: random\n"
    "  tune_seeds: [100, 101]\n"
    "  early_stopping: {name: asha, grace_epochs: 1, reduction_factor: 2}\n"
)
OTHER = {"pid": 1, "started": "1", "machine": "another one"}
"""A process of which only the heartbeat is known."""


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "LOOK_AGAIN_S", 0.0)


def jobs_of(plan: Plan, store: Store) -> list[Job]:
    stored_trials.write_trials(store, (trial for trial, _ in plan.runs()))
    return [Job(trial.id, trial.epochs, label) for trial, label in plan.runs()]


def search_of(plan: Plan, store: Store, found: Callable[[], list[Job]] = list) -> SearchWork:
    tuning = ArmSearch(store, plan, plan.arms[0], schema, time.time)
    rule = EarlyStopping(tuning.spec.early_stopping, METRIC, "max", int(plan.arms[0].config["epochs"]))
    return SearchWork(tuning, rule, found)


def claim(store: Store, job: Job, after: int, holder: dict[str, Any] | None = None) -> stored_attempts.Attempt:
    process = holder or this_process()
    attempt = stored_attempts.claim(
        store, job.trial_id, after, {"claimed_at": 0.0, "process": process, "provenance": {}}
    )
    assert attempt is not None
    return attempt


def finish(store: Store, job: Job, attempt: stored_attempts.Attempt, value: float = 20.0) -> None:
    """Store what a finished trial leaves in the store."""
    epochs = list(range(1, job.epochs + 1))
    body = {"facts": {}, "history": {"epoch": epochs, METRIC: [value] * len(epochs)}}
    assert stored_trials.finish(store, attempt, job.epochs, body)
    stored_attempts.end(store, attempt, DONE, 0.0)


def taken(queue: TrialQueue) -> tuple[Job, int]:
    found = queue.take()
    assert found is not None
    return found


def train(queue: TrialQueue, store: Store, value: float = 20.0) -> str:
    """Take a job, finish it and give it back; returns its label."""
    job, after = taken(queue)
    finish(store, job, claim(store, job, after), value)
    queue.give_back(job, DONE)
    return job.label


def told(store: Store) -> list[str]:
    return [ask.state for ask in stored_searches(store, "small")["base"].asks()]


# --- planned trials ---------------------------------------------------------------------------------------------------


def test_planned_trials_run_in_the_order_of_the_plan(planned: Planned, store: Store) -> None:
    plan = planned()
    queue = TrialQueue(store, jobs_of(plan, store), Watched())
    assert [train(queue, store) for _ in range(3)] == [label for _, label in plan.runs()]
    assert queue.take() is None
    assert queue.finished


def test_a_job_that_is_done_meanwhile_is_not_handed_out(planned: Planned, store: Store) -> None:
    _, first, second = jobs_of(planned(), store)
    watched = Watched()
    queue = TrialQueue(store, [first, second], watched)
    finish(store, first, claim(store, first, 0, OTHER))
    assert taken(queue)[0] == second
    assert watched.events == [(DONE, first.label), ("started", second.label)]


def test_a_job_that_is_done_between_the_two_looks_is_not_handed_out(planned: Planned, store: Store) -> None:
    """The result is looked for first, then the attempts: another driver may finish the trial in between."""
    _, *jobs = jobs_of(planned(), store)

    class Slow(Leases):
        def free_after(self, trial_id: str) -> int | None:
            if trial_id == jobs[0].trial_id:
                finish(store, jobs[0], claim(store, jobs[0], 0, OTHER))
            return super().free_after(trial_id)

    watched = Watched()
    queue = TrialQueue(store, jobs, watched, leases=Slow(store))
    assert taken(queue) == (jobs[1], 0)
    assert watched.events == [(DONE, jobs[0].label), ("started", jobs[1].label)]


def test_a_held_job_waits_and_the_next_one_runs(planned: Planned, store: Store) -> None:
    _, first, second = jobs_of(planned(), store)
    watched = Watched()
    queue = TrialQueue(store, [first, second], watched)
    other = claim(store, first, 0, OTHER)
    assert taken(queue) == (second, 0)
    assert queue.take() is None
    queue.give_back(second, STOPPED)
    assert not queue.finished, "the held one may come back"
    finish(store, first, other)
    assert queue.take() is None
    assert queue.finished
    assert (DONE, first.label) in watched.events
    assert ("started", first.label) not in watched.events


def test_a_held_job_whose_holder_ends_early_is_handed_out(planned: Planned, store: Store) -> None:
    first = jobs_of(planned(), store)[0]
    queue = TrialQueue(store, [first], Watched())
    other = claim(store, first, 0, OTHER)
    assert queue.take() is None
    stored_attempts.end(store, other, STOPPED, 0.0)
    assert taken(queue) == (first, 1)


def test_a_claim_that_was_lost_to_another_driver_is_held(planned: Planned, store: Store) -> None:
    first = jobs_of(planned(), store)[0]
    queue = TrialQueue(store, [first], Watched())
    taken(queue)
    claim(store, first, 0, OTHER)
    queue.give_back(first, HELD)
    assert queue.take() is None
    assert not queue.finished


# --- ends -------------------------------------------------------------------------------------------------------------


def test_a_process_that_dies_three_times_fails_its_trial(planned: Planned, store: Store) -> None:
    first, second, _ = jobs_of(planned(), store)
    watched = Watched()
    queue = TrialQueue(store, [first, second], watched)
    for crash in range(CRASHES):
        job, after = next(got for got in iter(queue.take, None) if got[0] == first)
        assert after == crash
        claim(store, first, after, {**this_process(), "started": "1"})
        queue.give_back(job, CRASHED)
    states = [state for state, label in watched.events if label == first.label and state != "started"]
    assert states == [CRASHED, CRASHED, FAILED]
    newest = stored_attempts.newest_attempt(store, first.trial_id)
    assert newest is not None
    end = layout.get_json(store, newest.end_key)
    assert end["state"] == FAILED
    assert "died 3 times in this run; a common cause is lack of memory" in end["error"]["message"]
    assert "--max-concurrent" in end["error"]["message"]


def test_a_trial_that_could_say_why_it_failed_is_not_tried_again(planned: Planned, store: Store) -> None:
    """An unexpected exception ends its process as well; the recorded error must not be overwritten."""
    first = jobs_of(planned(), store)[0]
    watched = Watched()
    queue = TrialQueue(store, [first], watched)
    job, after = taken(queue)
    error = {"type": "out of memory", "message": "no more", "traceback": ""}
    stored_attempts.end(store, claim(store, job, after), FAILED, 0.0, error)
    queue.give_back(job, CRASHED)
    assert watched.events[-1] == (FAILED, first.label)
    assert queue.take() is None
    assert len(stored_attempts.attempts(store, first.trial_id)) == 1


def test_a_process_that_died_too_often_and_counts_as_alive_is_failed_when_it_has_gone(
    planned: Planned, store: Store
) -> None:
    """On another node only the lease shows it; on this machine a killed process takes a moment to disappear."""
    job, *_ = jobs = jobs_of(planned("arms=[]"), store)
    now, watched = 0.0, Watched()
    leases = Leases(store, lease_s=1.0, clock=lambda: now)
    queue = TrialQueue(store, jobs, watched, leases=leases)
    for crash in range(CRASHES):
        while (found := queue.take()) is None:
            now += 2.0
        claim(store, job, found[1], OTHER)
        leases.free_after(job.trial_id)
        queue.give_back(job, CRASHED)
        assert not queue.finished, f"nothing says yet how it ended, after {crash + 1} crashes"
    for _ in range(2):
        now += 2.0
        queue.recheck_held()
    assert queue.finished
    assert [state for state, _ in watched.events if state != "started"] == [CRASHED, CRASHED, FAILED]
    attempt = stored_attempts.newest_attempt(store, job.trial_id)
    assert attempt is not None
    assert layout.get_json(store, attempt.end_key)["error"]["type"] == "process died"


def test_a_process_that_ends_before_the_trial_began_is_no_crash_of_the_trial(planned: Planned, store: Store) -> None:
    """Tune fails the next trial if the one before is slow to leave the process."""
    first = jobs_of(planned(), store)[0]
    watched = Watched()
    queue = TrialQueue(store, [first], watched)
    for _ in range(FALSE_STARTS - 1):
        queue.give_back(taken(queue)[0], CRASHED)
    assert train(queue, store) == first.label
    assert watched.events[-1] == (DONE, first.label)


def test_a_process_that_never_starts_fails_its_trial(planned: Planned, store: Store) -> None:
    first = jobs_of(planned(), store)[0]
    queue = TrialQueue(store, [first], Watched())
    for _ in range(FALSE_STARTS):
        queue.give_back(taken(queue)[0], CRASHED)
    assert queue.finished
    newest = stored_attempts.newest_attempt(store, first.trial_id)
    assert newest is not None
    assert "before it began" in layout.get_json(store, newest.end_key)["error"]["message"]


def test_a_halted_feed_hands_out_nothing_and_is_finished_with_the_last_live_trial(
    planned: Planned, store: Store
) -> None:
    queue = TrialQueue(store, jobs_of(planned(), store), Watched())
    job, _ = taken(queue)
    queue.halt()
    assert queue.take() is None
    assert not queue.finished
    queue.give_back(job, STOPPED)
    assert queue.finished


@pytest.mark.parametrize(("failures", "halted"), [(None, False), (1, True), (2, False)])
def test_failures_halt_where_that_was_asked_for(
    planned: Planned, store: Store, failures: int | None, halted: bool
) -> None:
    queue = TrialQueue(store, jobs_of(planned(), store), Watched(), failures=failures)
    queue.give_back(taken(queue)[0], FAILED)
    assert queue.halted == halted


def test_the_driver_looks_for_stop_requests_only_while_no_heartbeat_does(planned: Planned, store: Store) -> None:
    looks: list[int] = []
    first, *_ = jobs_of(planned(), store)
    queue = TrialQueue(store, [first], Watched(), on_stopped=lambda: looks.append(1))
    assert not queue.training, "nothing runs"
    job, _ = taken(queue)
    assert not queue.training, "it waits for a process, or has just begun"
    queue.record(job, {"epoch": 1})
    assert queue.training
    queue.give_back(job, CRASHED)
    assert not queue.training
    queue.give_back(taken(queue)[0], STOPPED)
    assert looks == [1], "a trial that was asked to stop tells the driver to look"


# --- searches ---------------------------------------------------------------------------------------------------------


def test_suggestions_come_first_and_what_they_find_comes_last(planned: Planned, store: Store) -> None:
    plan = planned(text=SEARCHED)
    jobs = jobs_of(plan, store)
    extra = Job("extra", 3, "found")
    queue = TrialQueue(store, jobs, Watched(), [search_of(plan, store, lambda: [extra])])
    order = [train(queue, store, value=20.0 + number) for number in range(10)]
    suggestions = [f"base · suggestion {n} · seed {seed}" for n in range(3) for seed in (100, 101)]
    assert order == [*suggestions, *(job.label for job in jobs), "found"]
    assert queue.finished
    asks = stored_searches(store, "small")["base"].asks()
    assert [ask.values for ask in asks] == [(20.5,), (22.5,), (24.5,)], "the mean over the tuning seeds"


def test_a_failed_seed_fails_its_suggestion_and_cuts_its_siblings(planned: Planned, store: Store) -> None:
    plan = planned(text=SEARCHED)
    queue = TrialQueue(store, [], Watched(), [search_of(plan, store)])
    first, _ = taken(queue)
    sibling, _ = taken(queue)
    queue.give_back(first, FAILED)
    assert told(store) == ["failed"]
    assert queue.record(sibling, {"epoch": 1, METRIC: 99.0}), "it has nothing to add"
    queue.give_back(sibling, CRASHED)
    assert layout.get_json(store, pruned_key("small", sibling.trial_id)) is not None
    assert taken(queue)[0].label == "base · suggestion 1 · seed 100"


def test_pruning_is_in_the_store_before_the_trial_has_ended(planned: Planned, store: Store) -> None:
    plan = planned(text=SEARCHED)
    watched = Watched()
    queue = TrialQueue(store, [], watched, [search_of(plan, store)])
    train(queue, store)
    good, _ = taken(queue)
    assert not queue.record(good, {"epoch": 1, METRIC: 30.0})
    bad, _ = taken(queue)
    assert queue.record(bad, {"epoch": 1, METRIC: 10.0})
    assert told(store) == ["running", "pruned"]
    assert layout.get_json(store, pruned_key("small", bad.trial_id))["curve"] == [[1, 10.0]]
    queue.give_back(bad, CRASHED)
    assert watched.events[-1] == ("pruned", bad.label)
    assert taken(queue)[0].label == "base · suggestion 2 · seed 100", "its other seed was never begun"


def cut_off(store: Store, job: Job, attempt: stored_attempts.Attempt) -> None:
    """A trial that a killed driver would have stopped: a checkpoint with a bad value, and no mark."""
    history = json.dumps([{"epoch": 1, METRIC: 10.0}]).encode()
    checkpoints.save_checkpoint(store, attempt, 1, {"state.pt": b"x", "history.json": history})
    stored_attempts.end(store, attempt, STOPPED, 0.0)
    assert layout.get_json(store, pruned_key("small", job.trial_id)) is None


def test_a_rung_that_a_killed_driver_had_decided_is_decided_again(planned: Planned, store: Store) -> None:
    plan = planned(text=SEARCHED)
    queue = TrialQueue(store, [], Watched(), [search_of(plan, store)])
    train(queue, store)
    train(queue, store)
    bad, after = taken(queue)
    cut_off(store, bad, claim(store, bad, after))
    queue = TrialQueue(store, [], Watched(), [search_of(plan, store)])
    assert taken(queue)[0].label == "base · suggestion 2 · seed 100"
    assert told(store) == ["complete", "pruned", "running"]


def test_a_trial_that_is_taken_over_brings_its_curve(planned: Planned, store: Store) -> None:
    """What another driver has recorded since this one began counts when its trial is taken over."""
    plan = planned(text=SEARCHED)
    queue = TrialQueue(store, [], Watched(), [search_of(plan, store)])
    train(queue, store)
    train(queue, store)
    bad, after = taken(queue)
    other = claim(store, bad, after, OTHER)
    second = TrialQueue(store, [], Watched(), [search_of(plan, store)])
    assert taken(second)[0].label == "base · suggestion 1 · seed 101"
    cut_off(store, bad, other)
    assert taken(second)[0].label == "base · suggestion 2 · seed 100"
    assert told(store) == ["complete", "pruned", "running"]


def test_a_trial_in_its_last_epoch_is_not_cut(planned: Planned, store: Store) -> None:
    plan = planned(text=SEARCHED)
    queue = TrialQueue(store, [], Watched(), [search_of(plan, store)])
    first, _ = taken(queue)
    sibling, after = taken(queue)
    queue.give_back(first, FAILED)
    assert not queue.record(sibling, {"epoch": 3, METRIC: 1.0}), "it has its result already"
    finish(store, sibling, claim(store, sibling, after))
    queue.give_back(sibling, DONE)
    assert told(store) == ["failed"]
    assert layout.get_json(store, pruned_key("small", sibling.trial_id)) is None


def test_a_stopped_suggestion_goes_on_in_the_next_run_in_its_order(planned: Planned, store: Store) -> None:
    plan = planned("search.tune_seeds=[100]", text=SEARCHED)
    queue = TrialQueue(store, [], Watched(), [search_of(plan, store)])
    first, second = taken(queue), taken(queue)
    queue.halt()
    for job, _ in (first, second):
        queue.give_back(job, STOPPED)
    assert told(store) == ["running", "running"]
    again = TrialQueue(store, [], Watched(), [search_of(plan, store)])
    assert [taken(again)[0] for _ in range(2)] == [first[0], second[0]]


def test_a_driver_killed_between_mark_and_tell_left_a_pruned_trial(
    planned: Planned, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned("search.tune_seeds=[100]", text=SEARCHED)
    search = search_of(plan, store)
    queue = TrialQueue(store, [], Watched(), [search])
    job, _ = taken(queue)

    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    monkeypatch.setattr(search.tuning.search, "tell", killed)
    with pytest.raises(SystemExit):
        search.tuning.pruned(0, job.trial_id, {1: 10.0})
    assert told(store) == ["running"]
    again = TrialQueue(store, [], Watched(), [search_of(plan, store)])
    assert told(store) == ["pruned"]
    assert taken(again)[0].label == "base · suggestion 1 · seed 100"


def test_suggestions_that_share_a_trial_are_all_told(planned: Planned, store: Store) -> None:
    """The target epoch is not part of a trial's identity, so several suggestions of a search over it share a trial."""
    text = SEARCHED.replace("{optimiser.lr: {float: [1.0e-4, 1.0e-1], log: true}}", "{epochs: {choice: [2, 3, 4]}}")
    plan = planned("search.tune_seeds=[100]", "search.early_stopping={name: none}", text=text)
    queue = TrialQueue(store, [], Watched(), [search_of(plan, store)])
    first, after = taken(queue)
    attempt = claim(store, first, after)
    assert queue.take() is None, "the others wait for their trial"
    finish(store, first, attempt)
    queue.give_back(first, DONE)
    for _ in range(2):
        train(queue, store)
    assert queue.finished
    assert told(store) == ["complete"] * 3


# --- two drivers on one search ----------------------------------------------------------------------------------------


def test_a_driver_takes_over_what_another_one_asked_and_left(planned: Planned, store: Store) -> None:
    plan = planned("search.tune_seeds=[100]", "search.trials=2", text=SEARCHED)
    here = TrialQueue(store, [], Watched(), [search_of(plan, store)])
    train(here, store)
    there = TrialQueue(store, [], Watched(), [search_of(plan, store)])
    left, after = taken(there)
    other = claim(store, left, after, OTHER)
    assert here.take() is None, "the budget is spent, and the last suggestion is trained elsewhere"
    assert not here.finished
    stored_attempts.end(store, other, STOPPED, 0.0)
    job, after = taken(here)
    assert (job.trial_id, after) == (left.trial_id, 1)
    finish(store, job, claim(store, job, after))
    here.give_back(job, DONE)
    assert here.finished
    assert told(store) == ["complete", "complete"]


def test_a_trial_that_another_driver_has_pruned_is_not_trained_on(planned: Planned, store: Store) -> None:
    plan = planned("search.tune_seeds=[100]", "search.trials=2", text=SEARCHED)
    found: list[str] = []
    here = TrialQueue(store, [], Watched(), [search_of(plan, store, lambda: found.append("over") or [])])
    train(here, store, value=30.0)
    there = TrialQueue(store, [], Watched(), [search_of(plan, store)])
    bad, after = taken(there)
    other = claim(store, bad, after, OTHER)
    assert here.take() is None
    assert there.record(bad, {"epoch": 1, METRIC: 1.0})
    stored_attempts.end(store, other, STOPPED, 0.0)
    there.give_back(bad, STOPPED)
    assert here.take() is None
    assert here.finished
    assert there.finished
    assert found == ["over"]
    assert told(store) == ["complete", "pruned"]
    assert len(stored_attempts.attempts(store, bad.trial_id)) == 1
