"""Masks that do not fit the images are refused before training; holes of almost no or almost all pixels are allowed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from trainables import schema
from trainables.errors import TrialError
from trainables.inpaint import task as inpaint
from trainables.inpaint.dataset import check_masks
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession

DATA = {"name": "cifar10", "train": 4, "val": 2, "test": 2, "captions": {"template": "a photo of a {class}"}}
CENTRE = {"name": "centre", "fraction": 0.25}


def config(**changes: Any) -> dict[str, Any]:
    base = {
        "data": DATA,
        "mask": CENTRE,
        "model": {"name": "tdanet", "width": 2, "embedding": 8},
        "loss": {"l1_scales": 20.0, "kl": 20.0, "adversarial": 1.0, "adversarial_features": 1.0, "matching": 0.1},
        "batch": 2,
    }
    return {**schema.resolve("inpaint", {**base, **changes}), "seed": 0}


@pytest.mark.parametrize(
    "mask",
    [
        {"name": "lines", "thickness": [1, 40]},
        {"name": "centre", "fraction": 0.0001},
        {"name": "centre", "fraction": 0.9999},
        {"name": "random_blocks", "side": 0.01},
    ],
)
@pytest.mark.parametrize("where", ["mask", "test_masks"])
def test_a_mask_that_does_not_fit_is_refused_before_anything_runs(mask: dict[str, Any], where: str) -> None:
    trial = config(**{where: mask if where == "mask" else {"other": mask}})
    check, given = next(found for found in inpaint.checks(trial) if found[0] is check_masks)
    with pytest.raises(TrialError) as caught:
        check(given, None)
    assert all((caught.value.given, caught.value.why, caught.value.allowed, caught.value.fix))


@pytest.mark.parametrize("fraction", [0.002, 0.93])
def test_a_hole_of_next_to_nothing_or_everything_gives_numbers(fraction: float, data_root: Path) -> None:
    session = MemorySession(Goal(1), Machine(data_root=data_root))
    fit(inpaint, config(mask={"name": "centre", "fraction": fraction}), session)
    assert all(math.isfinite(value) for value in session.rows[-1].values())
