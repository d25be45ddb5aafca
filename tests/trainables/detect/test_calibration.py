"""Thresholds at a stated false positive rate, for single images and for photographs of many windows."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from trainables.detect import calibration
from trainables.errors import TrialError


@pytest.mark.parametrize("n", [1, 3, 19, 20, 100, 4001])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5])
def test_the_lowest_threshold_that_keeps_the_rate(n: int, rate: float) -> None:
    logit_n = np.random.default_rng(n).normal(size=n).round(2)
    found = calibration.at_rate(logit_n, rate)
    assert (logit_n >= found.logit).mean() <= rate
    assert found.origin["authentic_validation_images"] == n
    lower = logit_n[logit_n < found.logit].max()
    if not found.origin["extrapolated"]:
        assert (logit_n >= lower).mean() > rate
    assert found.probability == pytest.approx(1 / (1 + np.exp(-found.logit)))


@pytest.mark.parametrize("windows", [1, 12, 150, 1500])
def test_photographs_of_independent_windows_have_the_stated_rate(windows: int) -> None:
    """Exactly known: logistic logits, in whose tail the exponential is right."""
    draw = np.random.default_rng(0)
    rates = []
    for _ in range(40):
        limit = calibration.at_rate(draw.logistic(size=500), 0.05, windows).logit
        rates.append(1 - (1 / (1 + np.exp(-limit))) ** windows)
    assert 0.02 < np.median(rates) < 0.09
    plain = 1 - (1 / (1 + np.exp(-calibration.at_rate(draw.logistic(size=500), 0.05).logit))) ** windows
    assert windows == 1 or plain > 0.3, "the threshold of a single image would raise false alarms"


def packed(**arrays: Any) -> bytes:
    target = io.BytesIO()
    np.savez(target, **arrays)
    return target.getvalue()


def test_logits_come_from_the_stored_outputs() -> None:
    logit, label = np.array([0.5, -1, 2, 3], np.float32), np.array([0, 0, 1, 1], np.float32)
    stored = packed(val_logit=logit, val_label=label)
    assert calibration.authentic_logits(stored, "x").tolist() == [0.5, -1]
    for damaged in (
        b"",
        stored[:-40],
        packed(val_logit=logit),
        packed(val_logit=logit, val_label=label[:3]),
        packed(val_logit=logit, val_label=label + 1),
        packed(val_logit=logit * np.nan, val_label=label),
        packed(val_logit=np.array(["a"] * 4), val_label=label),
        packed(val_logit=np.array([{}] * 4), val_label=label),
    ):
        with pytest.raises(TrialError, match="does not hold"):
            calibration.authentic_logits(damaged, "outputs")


def test_without_outputs_and_rates_that_are_refused() -> None:
    assert calibration.without_outputs(None).probability == 0.5
    assert calibration.without_outputs(0.8).probability == pytest.approx(0.8)
    assert calibration.without_outputs(1.0).probability < 1
    for rate in (0, 1, -0.1, float("nan")):
        with pytest.raises(TrialError, match="between 0 and 1"):
            calibration.checked_rate(rate)
