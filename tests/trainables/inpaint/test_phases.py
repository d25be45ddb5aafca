"""The three-phase schedule of a GAN, with GLCIC as example: what each phase trains, and resuming after a crash."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from trainables import schema
from trainables.config.sections import PhasesConfig
from trainables.errors import TrialError
from trainables.inpaint import task as inpaint
from trainables.training import checkpoint
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession, Restored

GAN = {"l2_hole": 1.0, "adversarial_global": 0.01, "adversarial_local": 0.01}
DATA = {"name": "cifar10", "train": 32, "val": 8, "test": 8}
SMALL: dict[str, Any] = {
    "data": DATA,
    "mask": {"name": "rectangle"},
    "model": {"name": "glcic", "width": 2, "local": "patch"},
    "loss": GAN,
    "batch": 16,
    "epochs": 4,
}


def learned(epoch: int, epochs: int, **shares: float) -> str:
    return PhasesConfig(**shares).at(epoch, epochs)


def test_phases_have_whole_epochs_one_at_least() -> None:
    order = ("completion", "discriminators", "both")
    for epochs, shares, expected in (
        (3, {}, [1, 1, 1]),
        (50, {}, [9, 1, 40]),
        (200, {}, [36, 4, 160]),
        (10, {"completion": 0.5, "discriminators": 0.3}, [5, 3, 2]),
    ):
        found = [learned(epoch, epochs, **shares) for epoch in range(1, epochs + 1)]
        assert found == [phase for phase, length in zip(order, expected, strict=True) for _ in range(length)]


@pytest.mark.parametrize(
    ("change", "given"),
    [
        ({"epochs": 2}, "epochs: 2"),
        ({"phases": {"completion": 0.9, "discriminators": 0.2}}, "phases"),
        ({"phases": {"completion": 0.0}}, "phases.completion: 0.0"),
        ({"phases": {"complete": 0.2}}, "complete"),
        ({"phases": "three"}, "phases"),
        ({"loss": {"adversarial_local": 1.0}}, "adversarial_local"),
    ],
)
def test_phases_that_do_not_fit_are_refused(change: dict[str, Any], given: str) -> None:
    with pytest.raises(TrialError) as caught:
        schema.resolve("inpaint", {**SMALL, "phases": {}, **change})
    error = caught.value
    assert given in error.given
    assert all((error.why, error.allowed, error.fix))


def test_phases_are_part_of_the_identity_only_where_they_are_given() -> None:
    def identity(epochs: int = 4, **changes: Any) -> dict[str, Any]:
        return schema.identity("inpaint", schema.resolve("inpaint", {**SMALL, "epochs": epochs, **changes}), 0)

    assert identity() == identity(phases=None) == identity(epochs=5)
    assert not {"phases", "epochs"} & identity().keys()
    assert identity(phases={}) != identity(phases={}, epochs=5)
    assert identity(phases={})["phases"] == {"completion": 0.18, "discriminators": 0.02}
    reconstruction = {"loss": {"l2_hole": 1.0}}
    assert identity(**reconstruction, phases={}) == identity(**reconstruction), "nothing to alternate with"


def trained(data_root: Path, restored: Restored | None = None) -> MemorySession:
    config = {**schema.resolve("inpaint", {**SMALL, "phases": {}}), "seed": 0}
    session = MemorySession(Goal(SMALL["epochs"]), Machine(data_root=data_root), restored)
    fit(inpaint, config, session)
    return session


def test_who_learns_in_which_phase(data_root: Path) -> None:
    session = trained(data_root)
    states = [flat(checkpoint.unpack(session.saved[epoch])[0]) for epoch in (1, 2, 3)]
    for (before, after), learns in zip(itertools.pairwise(states), ("discriminators", "both"), strict=True):
        weights = {
            name for name in after if name.startswith("network.") and "running" not in name and "num" not in name
        }
        judges = {name for name in after if name.startswith("adversary.discriminators")}
        assert weights
        assert judges
        changed = {name for name in weights | judges if not torch.equal(before[name], after[name])}
        assert changed == (judges if learns == "discriminators" else weights | judges)
    columns = [{name.removeprefix("train/") for name in row if name.startswith("train/")} for row in session.rows]
    judged = {name for name in columns[3] if name.startswith("discriminator")}
    generator = {"gradient_norm", "saturated"}
    assert columns[0] == {"loss", "l2_hole", *generator}
    assert columns[1] == {"loss", "l2_hole", *judged}
    assert columns[2] == columns[3] == {"loss", *GAN, *judged, *generator}
    row = session.rows[1]
    assert row["train/loss"] == pytest.approx(row["train/l2_hole"])


def test_a_trial_resumed_in_any_phase_goes_on_to_the_last_bit(data_root: Path) -> None:
    straight = trained(data_root)
    end = flat(checkpoint.unpack(straight.saved[4])[0])
    for epoch in (1, 2, 3):
        resumed = flat(checkpoint.unpack(trained(data_root, Restored(epoch, straight.saved[epoch])).saved[4])[0])
        assert resumed.keys() == end.keys()
        assert all(torch.equal(value, resumed[name]) for name, value in end.items())


def flat(state: Any, prefix: str = "") -> dict[str, Tensor]:
    """Every tensor of a nested state by its path."""
    if isinstance(state, Tensor):
        return {prefix: state}
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list | tuple) else ()
    return {name: value for key, inner in items for name, value in flat(inner, f"{prefix}.{key}".strip(".")).items()}
