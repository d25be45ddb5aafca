"""Why trials failed: equal errors once, sizes in GiB, what to do."""

from __future__ import annotations

from typing import Any

import pytest

from sweeps.results import failures
from trainables.errors import TrialError

CONFIG = {"batch": 64, "optimiser": {"name": "adam", "lr": 1e-3}, "discriminator": {"lr": 2e-4}, "precision": None}
TRACE = {"epoch": 2, "steps": [4, 5], "terms": {"loss": [1.5, None], "l2": [1.0, 2.0], "adversarial": [0.5, None]}}


def diverged(step: int, **more: Any) -> dict[str, Any]:
    return {"type": "Diverged", "message": f"the loss is not finite: first at epoch 1, step {step}", **more}


def test_the_same_error_of_several_trials_is_one_group() -> None:
    other = {"type": "ValueError", "message": "no such width", "place": "net.py:3 in build"}
    groups = failures.grouped([("a", other), ("b", diverged(3)), ("c", diverged(70)), ("d", diverged(3))])
    assert [group.trials for group in groups] == [("b", "c", "d"), ("a",)]
    assert [group.alike for group in groups] == [False, True]
    assert failures.summary(groups[1].error) == "ValueError: no such width (net.py:3 in build)"


def test_sizes_are_in_gib() -> None:
    error = {"type": "out of memory", "message": "cannot allocate 309237645312 bytes\nTried to allocate 2048.00 MiB"}
    assert failures.text(error) == "out of memory: cannot allocate 288.0 GiB\nTried to allocate 2.0 GiB"
    assert failures.summary(error) == "out of memory: cannot allocate 288.0 GiB"


@pytest.mark.parametrize(
    ("error", "config", "expected"),
    [
        (diverged(5, trace=TRACE), CONFIG, "--set optimiser.lr=0.0001 (now 0.001), --set discriminator.lr=2e-05"),
        (diverged(5), {**CONFIG, "precision": "bf16"}, "or train with --set precision=float32."),
        (diverged(1, trace={"epoch": 1, "steps": [1], "terms": {"loss": [None], "l2": [None]}}), CONFIG, "loss (l2)"),
        ({"type": "out of memory", "message": "CUDA out of memory"}, CONFIG, "--set batch=32 (now 64)"),
        ({"type": "TrialError", "message": str(TrialError("x: 3", "odd", "even", "x: 4"))}, {}, "X: 4"),
        ({"type": "KeyError", "message": "'x'"}, CONFIG, ""),
    ],
)
def test_advice_names_the_values_to_change(error: dict[str, Any], config: dict[str, Any], expected: str) -> None:
    said = failures.advice(error, config)
    assert expected in said if expected else said == ""


def test_advice_on_a_key_that_the_arm_sets_is_about_the_sweep_file() -> None:
    for own in ("optimiser.lr", "optimiser"):
        said = failures.advice(diverged(5), CONFIG, {own: 1})
        assert "optimiser.lr=0.0001 (now 0.001) in the sweep file, where this arm sets it" in said
        assert "--set discriminator.lr=2e-05" in said, "a key of the base"


def test_the_error_in_four_parts_is_summarised_with_its_reason() -> None:
    error = {
        "type": "TrialError",
        "message": str(TrialError("data.size: 3", "it is too small", "8 or more", "size: 8")),
    }
    assert failures.summary(error) == "TrialError: data.size: 3: it is too small"


def test_the_last_steps_of_a_trace_as_a_table() -> None:
    head, rows = failures.last_steps(TRACE, 1)
    assert (head, rows) == (["step", "loss", "l2", "adversarial"], [["5", "not finite", "2", "not finite"]])
    assert failures.not_finite(TRACE) == ["loss", "adversarial"]
    assert failures.last_steps({}, 5) == (["step"], [])


def test_the_summary_of_a_program_that_failed_has_its_last_line() -> None:
    output = "Traceback (most recent call last):\n    File train.py, line 3\n    RuntimeError: no such layer"
    why = f"it ended with exit code 1; its last lines: {output}"
    error = {
        "type": "TrialError",
        "message": f"the program\n  why:     {why}\n  allowed: exit code 0\n  do:      mend it",
    }
    said = "TrialError: the program: it ended with exit code 1; its last line: RuntimeError: no such layer"
    assert failures.summary(error) == said
