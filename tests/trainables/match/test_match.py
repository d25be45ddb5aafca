"""Task `match` on real images: learning, reproducibility, and refused configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainables import schema
from trainables.errors import TrialError
from trainables.match import task as match
from trainables.training.distributed import Workers
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession

DATA = {"name": "cifar10", "train": 64, "val": 16, "test": 32, "captions": {"template": "a photo of a {class}"}}


def config(**changes: Any) -> dict[str, Any]:
    model = {"name": "text_image", "width": 4, "features": 16, "embedding": 8}
    base = {"data": DATA, "model": model, "batch": 32, "epochs": 2, "optimiser": {"name": "adam", "lr": 5e-3}}
    return {**schema.resolve("match", {**base, **changes}), "seed": 0}


def rows(trial: dict[str, Any], root: Path) -> list[dict[str, float]]:
    session = MemorySession(Goal(trial["epochs"]), Machine(data_root=root))
    fit(match, trial, session)
    return [{k: v for k, v in row.items() if not k.startswith("sys/")} for row in session.rows]


def test_it_learns_and_repeats_itself(data_root: Path) -> None:
    first = rows(config(epochs=8), data_root)
    assert first[-1]["train/loss"] < 0.8 * first[0]["train/loss"]
    assert {"test/text_r1", "test/image_r10", "test/matching"} <= first[-1].keys()
    assert rows(config(epochs=8), data_root) == first


def test_identity_leaves_out_epochs_and_what_is_off() -> None:
    one, two = (schema.resolve("match", {key: config()[key] for key in ("data", "model")}) for _ in range(2))
    assert schema.identity("match", one, 0) == schema.identity("match", {**two, "epochs": 9}, 0)
    assert "schedule" not in schema.identity("match", one, 0)
    assert schema.resolve("match", one) == one


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"name": "cifar10"}},
        {"data": {**DATA, "captions": {**DATA["captions"], "text": "none"}}},  # type: ignore[dict-item]
        {"loss": {"sentence": 0.0, "word": 0.0}},
        {"loss": {"l1": 1.0}},
        {"model": {"name": "tdanet"}},
        {"mask": {"name": "centre"}},
    ],
)
def test_what_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TrialError) as caught:
        config(**changes)
    assert all((caught.value.given, caught.value.why, caught.value.allowed, caught.value.fix))


def test_several_workers_and_extra_scores_are_refused(data_root: Path) -> None:
    machine = Machine(data_root=data_root)
    data = match.load(config(), machine)
    with pytest.raises(TrialError, match="2 workers"):
        match.build(config(), data, Machine(data_root=data_root, workers=Workers(size=2)))
    with pytest.raises(TrialError, match="fid"):
        match.check_extra(data, ["fid"])
