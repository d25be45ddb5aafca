"""Early stopping: which trials a rule ends, and that the rule of a new driver decides as the old one would have."""

from __future__ import annotations

import random

import pytest

from cluster.driver.early_stopping import EarlyStopping
from sweeps.spec.sections.search import EarlyStoppingSpec

METRIC = "val/psnr_db"


def rule(name: str = "asha", grace: int = 1, factor: float = 2.0, epochs: int = 8, goal: str = "max") -> EarlyStopping:
    spec = EarlyStoppingSpec(name=name, grace_epochs=grace, reduction_factor=factor)
    return EarlyStopping(spec, METRIC, goal, epochs)


def until_stopped(stopping: EarlyStopping, trial: str, values: list[float]) -> int:
    """The epoch after which a trial with these values is stopped; the last epoch if it is never stopped."""
    for epoch, value in enumerate(values, 1):
        if stopping.stops(trial, {"epoch": epoch, METRIC: value}):
            return epoch
    return len(values)


def test_asha_stops_at_rungs_those_below_the_best_half() -> None:
    stopping = rule()
    assert until_stopped(stopping, "good", [20.0] * 8) == 8
    assert until_stopped(stopping, "bad", [10.0] * 8) == 1
    assert until_stopped(stopping, "late", [21.0, 19.0, 19.0, 19.0, 19.0, 19.0, 19.0, 19.0]) == 2, "the next rung"


def test_the_goal_says_what_is_better() -> None:
    stopping = rule(goal="min")
    assert until_stopped(stopping, "good", [0.1] * 8) == 8
    assert until_stopped(stopping, "bad", [0.2] * 8) == 1


@pytest.mark.parametrize("epochs", [1, 2, 4, 8, 9])
@pytest.mark.parametrize("name", ["asha", "median"])
def test_a_trial_at_its_last_epoch_is_never_stopped(name: str, epochs: int) -> None:
    """A rung at the target epoch would end the trial inside its last report, and its result would be lost."""
    stopping = rule(name, grace=epochs, epochs=epochs)
    for trial in range(8):
        assert until_stopped(stopping, str(trial), [20.0 - trial] * epochs) == epochs


def test_grace_epochs_are_everybodys() -> None:
    stopping = rule(grace=4)
    until_stopped(stopping, "good", [20.0] * 8)
    assert until_stopped(stopping, "bad", [10.0] * 8) == 4


def test_none_stops_nothing_and_so_does_a_grace_beyond_the_end() -> None:
    for stopping in (rule("none"), rule(grace=20)):
        until_stopped(stopping, "good", [20.0] * 8)
        assert until_stopped(stopping, "bad", [1.0] * 8) == 8


def test_the_median_rule_stops_what_is_below_the_median_of_means() -> None:
    stopping = rule("median")
    for trial, value in enumerate((18.0, 19.0, 20.0)):
        assert until_stopped(stopping, str(trial), [value] * 8) == 8
    assert until_stopped(stopping, "bad", [10.0] * 8) == 1
    assert until_stopped(stopping, "good", [25.0] * 8) == 8


def test_a_record_that_comes_twice_counts_once() -> None:
    """A resumed trial reports an epoch again, and so does Tune at a natural end."""
    stopping = rule()
    until_stopped(stopping, "good", [20.0] * 8)
    assert stopping.stops("bad", {"epoch": 1, METRIC: 10.0})
    assert not stopping.stops("bad", {"epoch": 1, METRIC: 10.0})
    assert not stopping.stops("other", {"epoch": 1}), "a record without the metric says nothing"


@pytest.mark.parametrize("name", ["asha", "median"])
def test_a_new_driver_decides_as_the_old_one_would_have(name: str) -> None:
    draw = random.Random(0)
    curves = {str(t): {e: draw.uniform(10, 20) + e for e in range(1, 9)} for t in range(20)}
    old = rule(name)
    seen: dict[str, dict[int, float]] = {}
    for trial, curve in list(curves.items())[:12]:
        stopped = until_stopped(old, trial, list(curve.values()))
        seen[trial] = {epoch: value for epoch, value in curve.items() if epoch <= stopped}
    assert any(len(curve) < 8 for curve in seen.values())
    assert any(len(curve) == 8 for curve in seen.values())
    new = rule(name)
    new.replay(seen)
    for trial, curve in list(curves.items())[12:]:
        values = list(curve.values())
        assert until_stopped(new, trial, values) == until_stopped(old, trial, values)
