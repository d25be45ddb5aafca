"""The order of records, checkpoints, tests and samples in a trial, with a fast task that trains one number."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainables.training import checkpoint, divergence, loop
from trainables.training.divergence import Diverged
from trainables.training.loop import derive, fit, generator
from trainables.training.session import Goal, Machine, MemorySession, Restored, Row, Stopped
from trainables.training.terms import Terms

BATCH = 4
VAL = {1: 1.0, 2: 3.0, 3: 2.0, 4: 3.0, 5: 4.0, 6: 0.5}
"""Validation score by epoch: it improves at epochs 1, 2 and 5; an equal value is not an improvement."""


class Number:
    """A learner of one number. Each step adds a draw of the global generator, as a dropout layer would use it."""

    parameters = 1

    def __init__(self, seed: int) -> None:
        self.value = torch.rand(1, dtype=torch.float64, generator=generator(seed, "initialisation"))

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.value = state["value"].clone()

    def inference_weights(self) -> dict[str, Tensor]:
        return {"value": self.value}


@dataclass
class Data:
    fingerprint: str = "f" * 64


@dataclass
class Numbers:
    """A task with given losses."""

    steps: int = 3
    losses: dict[tuple[int, int], float] = field(default_factory=dict)
    """By (epoch, step); 1 for the others."""
    val: Mapping[int, float] = field(default_factory=lambda: VAL)
    calls: list[str] = field(default_factory=list)
    """The calls of this task's functions."""
    epoch: int = 0
    taken: int = 0
    BEST: tuple[str, str] = ("val/psnr_db", "max")

    def load(self, config: Mapping[str, Any], machine: Machine) -> Data:
        self.calls.append(f"load with {torch.get_num_threads()} threads")
        return Data()

    def build(self, config: Mapping[str, Any], data: Data, machine: Machine) -> Number:
        return Number(config["seed"])

    def train(self, learner: Number, config: Mapping[str, Any], data: Data, epoch: int) -> Iterator[tuple[int, Terms]]:
        self.epoch = epoch
        for step in range(1, self.steps + 1):
            self.taken += 1
            learner.value += torch.rand(1, dtype=torch.float64)
            loss = torch.tensor(self.losses.get((epoch, step), float(step)))
            images = BATCH if step < self.steps else 1
            yield images, {"loss": (loss * images, images), "l2": (2 * loss * images, images)}

    def evaluate(self, learner: Number, data: Data, split: str) -> dict[str, float]:
        self.calls.append(f"{split} {self.epoch}")
        return {"psnr_db": self.val.get(self.epoch, 0.0) if split == "val" else float(learner.value)}

    def extra(self, learner: Number, data: Data, names: Sequence[str]) -> dict[str, float]:
        return {}

    def samples(self, learner: Number, data: Data) -> dict[str, bytes]:
        return {"output.png": str(float(learner.value)).encode()}

    def facts(self, learner: Number, data: Data) -> dict[str, Any]:
        return {"last": float(learner.value)}

    def final_files(self, learner: Number, data: Data) -> dict[str, bytes]:
        return {"values": b"each"}


@dataclass
class Watched(MemorySession):
    """A session that records the order of its calls, and stops the trial after epoch `stop_after`."""

    order: list[str] = field(default_factory=list)
    stop_after: int | None = None
    checkpoints_at: set[int] | None = None

    def wants_checkpoint(self) -> bool:
        return self.checkpoints_at is None or len(self.rows) + 1 in self.checkpoints_at

    def save(self, epoch: int, files: Mapping[str, bytes]) -> None:
        self.order.append(f"save {epoch}")
        super().save(epoch, files)

    def samples(self, epoch: int, files: Mapping[str, bytes]) -> None:
        self.order.append(f"samples {epoch}")
        super().samples(epoch, files)

    def finish(self, history: list[Row], facts: Mapping[str, Any]) -> None:
        self.order.append("finish")
        super().finish(list(history), facts)

    def report(self, row: Row) -> None:
        self.order.append(f"report {row['epoch']}")
        super().report(row)

    def should_stop(self) -> bool:
        return self.stop_after is not None and len(self.rows) + 1 >= self.stop_after


def run(task: Numbers | None = None, seed: int = 3, goal: Goal | None = None, **session: Any) -> Watched:
    watched = Watched(goal or Goal(6), **session)
    fit(task or Numbers(), {"seed": seed}, watched)
    return watched


def same(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if not name.startswith("sys/")} for row in rows]


# --- records ----------------------------------------------------------------------------------------------------------


def test_one_record_an_epoch_with_the_mean_over_images() -> None:
    rows = run(goal=Goal(3)).rows
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    mean = (BATCH * 1 + BATCH * 2 + 1 * 3) / (2 * BATCH + 1)
    assert [row["train/loss"] for row in rows] == [pytest.approx(mean)] * 3
    assert [row["train/l2"] for row in rows] == [pytest.approx(2 * mean)] * 3
    assert [row["val/psnr_db"] for row in rows] == [VAL[1], VAL[2], VAL[3]]


def test_speed_time_and_memory_are_there_and_all_that_two_runs_differ_in() -> None:
    first, second = run(), run()
    for row in first.rows:
        assert row["sys/time_s"] >= 0
        assert row["sys/images_per_s"] > 0
        assert row["sys/peak_memory_mb"] > 1
    assert same(first.rows) == same(second.rows)
    measured = {name for name in first.rows[0] if name.startswith("sys/")}
    assert measured == {"sys/time_s", "sys/images_per_s", "sys/peak_memory_mb"}
    assert [row["sys/time_s"] for row in first.rows] != [row["sys/time_s"] for row in second.rows]


def test_images_per_second_counts_training_images_within_training_time() -> None:
    class Clocked(Watched):
        now = 0.0

        def clock(self) -> float:
            self.now += 2.0
            return self.now

    session = Clocked(Goal(1))
    fit(Numbers(), {"seed": 0}, session)
    assert session.rows[0]["sys/images_per_s"] == (2 * BATCH + 1) / 2.0
    assert session.rows[0]["sys/time_s"] == 4.0


def test_the_last_act_is_the_report() -> None:
    session = run(goal=Goal(3))
    assert session.order == [
        *("save 1", "samples 1", "report 1"),
        *("save 2", "samples 2", "report 2"),
        *("save 3", "samples 3", "finish", "report 3"),
    ]
    assert session.result is not None
    assert session.result["history"] == session.rows
    assert (session.result["parameters"], session.result["data_fingerprint"]) == (1, "f" * 64)
    assert session.result["last"] == session.result["history"][-1]["test/psnr_db"], "what the task says of its values"


def test_samples_after_epochs_that_are_powers_of_two_tests_and_the_end() -> None:
    session = run(Numbers(val={}), goal=Goal(11, test_epochs=(3, 6)))
    assert sorted(session.images) == [1, 2, 3, 4, 6, 8, 11]
    assert [epoch for epoch, files in session.images.items() if "values" in files] == [11], "the final files"


# --- when the test split is evaluated ---------------------------------------------------------------------------------


def epochs_tested(session: Watched) -> list[float]:
    return [row["epoch"] for row in session.rows if "test/psnr_db" in row]


def test_the_test_split_is_evaluated_at_the_end_and_where_asked() -> None:
    assert epochs_tested(run()) == [6]
    assert epochs_tested(run(goal=Goal(6, test_epochs=(2, 4)))) == [2, 4, 6]


@pytest.mark.parametrize(("best", "expected"), [("max", [1, 2, 5, 6]), ("min", [1, 6])])
def test_a_goal_by_validation_tests_at_every_epoch_that_improves(best: str, expected: list[int]) -> None:
    assert epochs_tested(run(goal=Goal(6, best=("val/psnr_db", best)))) == expected


def test_improvement_is_judged_against_the_whole_history_after_resuming() -> None:
    goal = Goal(6, best=("val/psnr_db", "max"))
    first = run(goal=goal)
    again = run(goal=goal, restored=Restored(3, first.saved[3]))
    assert epochs_tested(again) == [5, 6], "epoch 4 only equals epoch 2, which ran before"


# --- checkpoints and resuming -----------------------------------------------------------------------------------------


def test_resuming_from_any_epoch_is_the_straight_run_to_the_last_bit() -> None:
    straight = run()
    assert sorted(straight.saved) == [1, 2, 3, 4, 5, 6]
    for epoch, files in straight.saved.items():
        resumed = run(restored=Restored(epoch, files))
        assert resumed.result is not None
        assert same(resumed.result["history"]) == same(straight.rows)
        assert resumed.rows == resumed.result["history"][min(epoch, 5) :], "earlier records are not told again"
        assert resumed.saved[6]["best.pt"] == straight.saved[6]["best.pt"]
        assert resumed.saved[6]["state.pt"] == straight.saved[6]["state.pt"]


def test_a_trial_cut_off_after_its_last_checkpoint_only_ends_again() -> None:
    straight = run()
    task = Numbers()
    resumed = run(task, restored=Restored(6, straight.saved[6]))
    assert task.taken == 0
    assert resumed.order == ["save 6", "samples 6", "finish", "report 6"]
    assert resumed.result is not None
    assert resumed.result["history"] == straight.rows


def test_a_target_that_was_lowered_to_a_saved_epoch_is_tested_there() -> None:
    saved = run().saved[4]
    lowered = run(goal=Goal(4), restored=Restored(4, saved))
    assert lowered.result is not None
    assert [row["epoch"] for row in lowered.result["history"]] == [1, 2, 3, 4]
    assert same(lowered.result["history"]) == same(run(goal=Goal(4)).rows)


def test_the_session_decides_when_a_checkpoint_is_due_but_the_last_is_always_written() -> None:
    assert sorted(run(checkpoints_at={2, 5}).saved) == [2, 5, 6]
    assert sorted(run(checkpoints_at=set()).saved) == [6]


def test_the_best_weights_are_those_of_the_best_epoch() -> None:
    saved = run().saved
    value = {epoch: float(checkpoint.unpack(files)[0]["value"]) for epoch, files in saved.items()}
    assert len(set(value.values())) == 6
    for epoch, best_epoch in {1: 1, 2: 2, 3: 2, 4: 2, 5: 5, 6: 5}.items():
        best = checkpoint.unpack(saved[epoch])[2]
        assert best is not None
        assert float(best["value"]) == value[best_epoch], epoch


def test_a_checkpoint_holds_the_history_up_to_its_epoch() -> None:
    session = run()
    for epoch, files in session.saved.items():
        assert checkpoint.unpack(files)[1] == session.rows[:epoch]


def test_a_trial_that_is_asked_to_stop_saves_reports_and_can_go_on() -> None:
    session = Watched(Goal(6), stop_after=3, checkpoints_at=set())
    with pytest.raises(Stopped, match="after epoch 3 of 6"):
        fit(Numbers(), {"seed": 3}, session)
    assert session.order[-2:] == ["save 3", "report 3"]
    assert session.result is None
    resumed = run(restored=Restored(3, session.saved[3]))
    assert resumed.result is not None
    assert same(resumed.result["history"]) == same(run().rows)


def test_a_stop_during_the_last_epoch_changes_nothing() -> None:
    session = run(stop_after=6)
    assert session.result is not None


# --- losses that are not finite ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("steps", "first", "noticed"),
    [(3, 2, 3), (120, 50, 50), (120, 51, 100), (120, 99, 100), (120, 120, 120)],
)
def test_a_loss_that_is_not_finite_ends_the_trial_and_names_the_first_step(
    bad: float, steps: int, first: int, noticed: int
) -> None:
    """The bad step is at a read of the flag, between two reads, or after the last; later steps are finite again."""
    assert divergence.NOT_FINITE_EVERY == 50
    task = Numbers(steps, {(2, first): bad})
    session = Watched(Goal(6))
    with pytest.raises(Diverged, match=rf"first at epoch 2, step {first} \(noticed at step {noticed}\)") as raised:
        fit(task, {"seed": 3}, session)
    trace, before = raised.value.trace, list(range(max(1, first - divergence.TRACED + 1), first))
    assert trace["steps"] == [*before, first]
    assert trace["terms"] == {"loss": [*before, None], "l2": [*(2 * step for step in before), None]}
    assert (trace["epoch"], trace["epochs"]["epoch"], trace["epochs"]["val/psnr_db"]) == (2, [1], [1.0])
    assert task.taken == steps + noticed, "nothing is trained after it was noticed"
    assert sorted(session.saved) == [1], "no checkpoint of a broken network"
    assert [row["epoch"] for row in session.rows] == [1]
    assert session.result is None


def test_the_first_of_several_bad_steps_is_named() -> None:
    with pytest.raises(Diverged, match="epoch 1, step 2 "):
        run(Numbers(5, {(1, step): float("nan") for step in (2, 3, 5)}))


def test_a_network_that_its_last_step_broke_is_noticed_by_the_evaluation() -> None:
    session = Watched(Goal(6))
    with pytest.raises(Diverged, match="val/psnr_db is not finite after epoch 3") as raised:
        fit(Numbers(val={3: float("nan")}), {"seed": 3}, session)
    assert raised.value.trace["terms"]["loss"] == [1.0, 2.0, 3.0], "all finite"
    assert sorted(session.saved) == [1, 2]


# --- what is left as it was -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cpus", [1, 2])
def test_random_state_and_threads_are_as_before(cpus: int) -> None:
    torch.manual_seed(7)
    before = torch.get_num_threads(), torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    task = Numbers()
    run(task, machine=Machine(cpus=cpus))
    assert task.calls[0] == f"load with {cpus} threads"
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert random.getstate() == before[2]
    assert (np.random.get_state()[1] == before[3]).all()


def test_random_state_and_threads_are_as_before_after_an_error() -> None:
    before = torch.get_num_threads(), torch.get_rng_state()
    with pytest.raises(Diverged):
        run(Numbers(losses={(1, 1): float("nan")}), machine=Machine(cpus=before[0] + 1))
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_algorithms_of_convolutions_are_timed_on_a_gpu_alone() -> None:
    before = torch.backends.cudnn.benchmark
    with loop._fastest_convolutions("cuda:0"):
        assert torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark == before
    with loop._fastest_convolutions("cpu"):
        assert torch.backends.cudnn.benchmark == before


def test_the_random_state_of_the_process_changes_nothing() -> None:
    torch.manual_seed(1)
    first = run()
    torch.manual_seed(2)
    torch.rand(5)
    assert same(run().rows) == same(first.rows)
    assert same(run(seed=4).rows) != same(first.rows)


def test_derived_seeds_are_the_same_for_ever() -> None:
    assert derive(3, "masks", 1) == 9132167091053428966
    assert derive("evaluation", "val") == 1204603120811506971
    draws = {derive(*parts) for parts in [(3, "masks", 1), (3, "masks", 11), (31, "masks", 1), (3, "order", 1)]}
    assert len(draws) == 4
    assert all(0 <= draw < 2**63 for draw in draws)
