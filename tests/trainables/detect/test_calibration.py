"""Thresholds at a stated false positive rate: of validation images for any number of windows, and of photographs."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from trainables.detect import calibration
from trainables.errors import TrialError

Floats = npt.NDArray[np.float64]


@pytest.mark.parametrize("n", [1, 3, 19, 20, 100, 4001])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5])
def test_the_lowest_threshold_that_keeps_the_rate(n: int, rate: float) -> None:
    logit_n = np.random.default_rng(n).normal(size=n).round(2)
    found = calibration.at_rate(logit_n, rate)
    assert (logit_n >= found.logit).mean() <= rate
    assert found.origin["authentic_validation_images"] == n
    if (logit_n >= found.logit).any():
        lower = logit_n[logit_n < found.logit].max()
        assert (logit_n >= lower).mean() > rate
    assert found.origin["supported_false_positive_rate"] == pytest.approx(rate if n * rate >= 1 else 1 / (n + 1))
    assert bool(found.note) == (1 / (n + 1) > rate)
    assert found.probability == pytest.approx(1 / (1 + np.exp(-found.logit)))


def test_a_threshold_is_never_above_the_highest_logit() -> None:
    logit_n = np.random.default_rng(0).normal(size=120)
    for windows in (10, 345, 4000):
        found = calibration.at_rate(logit_n, 0.05, windows)
        assert found.logit == np.nextafter(logit_n.max(), np.inf)
        reached = windows / (120 + windows)
        assert found.origin["supported_false_positive_rate"] == pytest.approx(reached)
        assert f"{19 * windows:,} of them" in found.origin["statement"]
        assert found.note
    assert "97.1 % for 4,000 windows" in found.note
    assert "100 % for" in calibration.at_rate(np.zeros(1), 0.05, 4000).note
    enough = calibration.at_rate(np.random.default_rng(0).normal(size=20 * 345), 0.05, 345)
    assert 0.04 < enough.origin["supported_false_positive_rate"] <= 0.05
    assert "if the windows are like these images" in enough.origin["statement"]
    assert not enough.note


# --- simulations: the highest of the windows of a photograph that is authentic ----------------------------------------

Windows = Callable[[np.random.Generator, int, int], Floats]
"""Logits (photographs, windows); each has the same distribution, so that a column is one of validation images."""


def independent(draw: np.random.Generator, photographs: int, windows: int) -> Floats:
    return draw.normal(size=(photographs, windows))


def overlapping(draw: np.random.Generator, photographs: int, windows: int) -> Floats:
    """Each window shares half of what it sees with the next one."""
    seen = draw.normal(size=(photographs, windows + 1))
    return (seen[:, 1:] + seen[:, :-1]) / 2**0.5


def alike(draw: np.random.Generator, photographs: int, windows: int) -> Floats:
    """Two thirds of the variance are between photographs, and windows overlap."""
    between = draw.normal(size=(photographs, 1))
    return (2 / 3) ** 0.5 * between + (1 / 3) ** 0.5 * overlapping(draw, photographs, windows)


@pytest.mark.parametrize(("n", "windows"), [(120, 345), (300, 40), (4000, 100)])
@pytest.mark.parametrize("scene", [independent, overlapping, alike])
def test_photographs_of_many_windows_have_the_supported_rate_at_most(scene: Windows, n: int, windows: int) -> None:
    draw = np.random.default_rng(0)
    rates = []
    for _ in range(200):
        found = calibration.at_rate(scene(draw, n, 1)[:, 0], 0.05, windows)
        rates.append((scene(draw, 50, windows).max(1) >= found.logit).mean())
    stated, error = found.origin["supported_false_positive_rate"], np.std(rates) / len(rates) ** 0.5
    assert np.mean(rates) < stated + 4 * error
    if scene is independent:
        assert np.mean(rates) == pytest.approx(stated, abs=4 * error)
    if scene is alike:
        assert np.mean(rates) < 0.8 * stated, "windows that are alike give fewer false alarms"


@pytest.mark.parametrize(
    ("m", "rate", "expected"), [(19, 0.05, 0.05), (40, 0.05, 2 / 41), (9, 0.3, 0.3), (99, 0.01, 0.01)]
)
@pytest.mark.parametrize("scene", [independent, alike])
def test_authentic_photographs_give_the_rate_whatever_their_windows(
    scene: Windows, m: int, rate: float, expected: float
) -> None:
    draw = np.random.default_rng(1)
    rates = []
    for _ in range(400):
        found = calibration.of_photographs(scene(draw, m, 30).max(1), rate)
        rates.append((scene(draw, 50, 30).max(1) >= found.logit).mean())
    assert found.origin["supported_false_positive_rate"] == pytest.approx(expected)
    assert np.mean(rates) == pytest.approx(expected, abs=4 * np.std(rates) / 20)


def test_the_threshold_of_authentic_photographs() -> None:
    level = np.arange(40.0)
    found = calibration.of_photographs(level[::-1], 0.05)
    assert (found.logit > 38, (level >= found.logit).sum()) == (True, 1), "equal to the second highest is no alarm"
    assert found.origin["authentic_photographs"] == 40
    assert found.origin["origin"] == calibration.PHOTOGRAPHS
    assert "4.88 %" in found.origin["statement"]
    assert calibration.of_photographs(np.zeros(19)).logit > 0, "ties are no false alarms"
    assert calibration.of_photographs(level, 1 - 1e-12).origin["supported_false_positive_rate"] == 40 / 41


@pytest.mark.parametrize(("m", "rate", "says"), [(18, 0.05, "--fpr 0.053"), (0, 0.05, "add 19"), (98, 0.01, "add 1 ")])
def test_too_few_authentic_photographs(m: int, rate: float, says: str) -> None:
    with pytest.raises(TrialError, match="authentic photographs for a false positive rate") as raised:
        calibration.of_photographs(np.zeros(m), rate)
    assert f"at least {round(1 / rate) - 1} " in raised.value.allowed
    assert says in f"{raised.value} "
    if m == 18:
        assert calibration.rank_at(18, 0.053) == 1


# --- stored outputs ---------------------------------------------------------------------------------------------------


def packed(**arrays: Any) -> bytes:
    target = io.BytesIO()
    np.savez(target, **arrays)
    return target.getvalue()


def test_validation_images_come_from_the_stored_outputs() -> None:
    logit, label = np.array([0.5, -1, 2, 3], np.float32), np.array([0, 0, 1, 1], np.float32)
    stored = packed(val_logit=logit, val_label=label)
    found = calibration.validation(stored, "x")
    assert (found.logit_n.tolist(), found.windows, found.photographs) == ([0.5, -1], 1, None)
    named = packed(val_logit=logit, val_label=label, val_source=np.array(["a", "a", "b", "c"]))
    assert calibration.validation(named, "x").photographs == 1
    assert (
        "2 authentic validation images of 1 photograph," in calibration.validation(named, "x").threshold(0.05, 9).note
    )
    scanned = packed(val_logit=logit, val_label=label, val_windows=np.array([10, 14, 90, 90]))
    assert calibration.validation(scanned, "x").windows == 12
    for damaged in (
        b"",
        stored[:-40],
        packed(val_logit=logit),
        packed(val_logit=logit, val_label=label[:3]),
        packed(val_logit=logit, val_label=label, val_windows=logit[:2]),
        packed(val_logit=logit, val_label=label + 1),
        packed(val_logit=logit * np.nan, val_label=label),
        packed(val_logit=np.array(["a"] * 4), val_label=label),
        packed(val_logit=np.array([{}] * 4), val_label=label),
    ):
        with pytest.raises(TrialError, match="does not hold"):
            calibration.validation(damaged, "outputs")


@pytest.mark.parametrize("name", ["logit", "label", "windows", "source"])
def test_an_array_that_is_too_large_is_not_unpacked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {f"val_{one}": np.zeros(4, np.float32) for one in ("logit", "label", "windows", "source")}
    stored = packed(**{**arrays, f"val_{name}": np.zeros(1000, np.float32)})
    monkeypatch.setattr(calibration, "MOST_BYTES", 2000)
    with pytest.raises(TrialError, match="too large"):
        calibration.validation(stored, "outputs")


def test_without_outputs_and_rates_that_are_refused() -> None:
    assert calibration.without_outputs(None).probability == 0.5
    assert calibration.without_outputs(0.8).probability == pytest.approx(0.8)
    assert calibration.without_outputs(1.0).probability < 1
    assert "best F1" in calibration.without_outputs(0.8).note
    for rate in (0, 1, -0.1, float("nan")):
        with pytest.raises(TrialError, match="between 0 and 1"):
            calibration.checked_rate(rate)
