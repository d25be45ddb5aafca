"""Thresholds from authentic photographs: scans of detectors, what is refused, what the result states."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.trainables.inference.test_scanning import CONFIG, FindsGrain
from trainables.detect.calibration import RATE
from trainables.errors import TrialError
from trainables.inference import authentic, predict, user_images

NETWORK = FindsGrain("mask")


def photograph(seed: int, filled: bool = False, size: tuple[int, int] = (96, 64)) -> user_images.Picture:
    """Weak grain of its own strength everywhere; if `filled`, strong grain in a square."""
    draw = np.random.default_rng(seed)
    pixels = 120 + draw.normal(0, 8 + 6 * draw.random(), (size[1], size[0], 3))
    if filled:
        pixels[20:44, 30:54] = draw.integers(0, 2, (24, 24, 1)) * 200
    return user_images.decode(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), Path(f"{seed}.png"))


def test_the_rate_holds_for_other_photographs_and_fills_are_found() -> None:
    measured = authentic.measure(NETWORK, CONFIG, [photograph(seed).stored for seed in range(39)])
    assert (len(measured), set(measured.windows_m)) == (39, {15})

    def found(picture: user_images.Picture) -> predict.Detection:
        measured.check_fits(picture, resize=False)
        return predict.detect(NETWORK, CONFIG, lambda windows: measured.threshold(RATE, windows), picture)

    alarms = [found(photograph(seed)).label == "inpainted" for seed in range(100, 160)]
    assert np.mean(alarms) <= 0.15
    filled = found(photograph(200, filled=True))
    assert filled.label == "inpainted"
    chosen = json.loads(predict.files(filled, photograph(200))["found.json"])["threshold_chosen"]
    assert chosen == {
        "origin": "authentic photographs",
        "false_positive_rate": 0.05,
        "supported_false_positive_rate": 0.05,
        "authentic_photographs": 39,
        "windows": 15,
        "windows_of_authentic_photographs": [15, 15],
        "statement": "a false positive rate of 5 % on photographs like the 39 authentic ones that were given",
    }
    assert not filled.note
    larger = found(photograph(300, size=(192, 64)))
    assert "which have 15 windows, while this one has 33" in larger.note
    assert larger.chosen["statement"] == larger.note


def test_photographs_that_are_refused(tmp_path: Path) -> None:
    for number in range(3):
        photograph(number).stored.save(tmp_path / f"{number}.png")
    given = [photograph(number).stored for number in range(3)]
    measured = authentic.measure(NETWORK, CONFIG, given, resize=True)
    assert measured.windows_m == (1, 1, 1)
    with pytest.raises(TrialError, match="is one of the authentic photographs"):
        measured.check_fits(photograph(1), resize=True)
    with pytest.raises(TrialError, match="they were resized to one window, but this one is to be scanned"):
        measured.check_fits(photograph(9), resize=False)
    with pytest.raises(TrialError, match="but trial 4f0c is to look at this one"):
        measured.check_fits(photograph(9), resize=True, trial="4f0c")
    copied = user_images.decode(photograph(1).upright().convert("RGBA"), Path("copy.png"))
    with pytest.raises(TrialError, match="is one of the authentic photographs"):
        measured.check_fits(copied, resize=True)
    unread = torch.nn.Identity()  # fails if it is applied
    with pytest.raises(TrialError, match=r"same pixels as .*: they are authentic photographs 1 and 4"):
        authentic.measure(unread, CONFIG, [*given, given[0]], resize=True)
    for wrong in (given[0], np.zeros((3, 8, 8, 3), np.uint8), iter(given)):
        for call in (lambda one: authentic.check_count(one, 0.5), lambda one: authentic.measure(unread, CONFIG, one)):
            with pytest.raises(TrialError, match="it is neither a folder nor a list"):
                call(wrong)
    for folder in (tmp_path, str(tmp_path), given):
        with pytest.raises(TrialError, match="3 authentic photographs for a false positive rate"):
            authentic.check_count(folder, 0.05)
        authentic.check_count(folder, 0.25)
    with pytest.raises(TrialError, match="it is not a folder"):
        authentic.check_count(tmp_path / "none", 0.05)
    (tmp_path / "9.png").write_bytes(b"")
    with pytest.raises(TrialError, match="does not decode"):
        authentic.measure(unread, CONFIG, tmp_path)
