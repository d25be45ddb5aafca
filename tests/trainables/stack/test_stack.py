"""Ensembles of detectors: alignment of the outputs, folds, scores, and refused configurations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainables import registry, schema
from trainables.errors import TrialError
from trainables.stack import dataset as stack_dataset
from trainables.training.loop import fit, task_named
from trainables.training.session import Goal, Machine, MemorySession

SIZES = {"val": 200, "test": 300, "held": 150}


def outputs(file: Path, noise: float, seed: int, held: Sequence[int] | None = None, shuffled: bool = False) -> Path:
    """Write the recorded outputs of a detector whose logits are the label plus noise."""
    arrays: dict[str, Any] = {}
    own = np.random.default_rng(seed)
    for split, n in SIZES.items():
        if split == "held" and held is None:
            continue
        names = np.array([f"{split} {i // 2:04d}" for i in range(n)])
        label = np.arange(n) % 2
        if split == "held":
            assert held is not None
            names = np.array([f"{fold} {name}" for fold, name in zip(np.resize(held, n), names, strict=True)])
        logit = 2.0 * label - 1 + noise * own.normal(size=n)
        feature = np.stack([logit, own.normal(size=n)], 1)
        order = np.random.default_rng(seed + 7).permutation(n) if shuffled else np.arange(n)
        for name, column in (("logit", logit), ("label", label), ("source", names), ("feature", feature)):
            arrays[f"{split}_{name}"] = column[order]
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Three detectors of different quality, each with another order of the images."""
    noises = {"good": 1.0, "fair": 1.3, "bad": 6.0}
    return {
        name: outputs(tmp_path / f"{name}.npz", noise, i, shuffled=bool(i))
        for i, (name, noise) in enumerate(noises.items())
    }


def configured(model: Any, files: dict[str, Path], inputs: str = "logits") -> dict[str, Any]:
    bases = {name.title(): {"0": name, "1": name} for name in files}
    section = {"name": model} if isinstance(model, str) else model
    return {**schema.resolve("stack", {"data": {"bases": bases, "inputs": inputs}, "model": section}), "seed": 0}


def run(config: dict[str, Any], files: dict[str, Path]) -> dict[str, float]:
    session = MemorySession(Goal(1), Machine(outputs=files))
    fit(task_named("stack"), config, session)
    assert session.result is not None
    row: dict[str, float] = session.result["history"][-1]
    return row


def test_it_averages_logits_whatever_their_order(files: dict[str, Path]) -> None:
    row = run(configured("average", files), files)
    rows = stack_dataset.load({name: [name] for name in files}, "logits", files)
    predicted = rows.test.logit_nk.mean(1) >= 0
    assert row["test/accuracy"] == pytest.approx((predicted == rows.test.label_n).mean())
    with np.load(files["good"]) as good:
        assert np.allclose(np.sort(rows.test.logit_nk[:, 0]), np.sort(good["test_logit"]))


def test_the_best_single_one_is_the_best_on_validation(files: dict[str, Path]) -> None:
    best = run(configured("best_single", files), files)
    alone = {name: run(configured("average", {name: files[name]}), files)["test/auc"] for name in files}
    assert alone["good"] > alone["fair"] > alone["bad"]
    assert best["test/auc"] == pytest.approx(alone["good"])


@pytest.mark.parametrize(
    ("model", "inputs"),
    [pytest.param("random_forest", "logits", marks=pytest.mark.slow), ("svc", "logits"), ("svc", "features")],
)
def test_stacking_learns_whom_to_trust(model: str, inputs: str, files: dict[str, Path]) -> None:
    """A bad detector degrades the mean; a fitted ensemble ignores it, and is reproducible to the last bit."""
    mean = run(configured("average", files), files)
    stacked, again = (run(configured(model, files, inputs), files) for _ in range(2))
    assert stacked["test/auc"] > mean["test/auc"] + 0.05
    assert {k: v for k, v in stacked.items() if k[:3] != "sys"} == {k: v for k, v in again.items() if k[:3] != "sys"}


def test_validation_is_never_scored_by_what_was_fitted_on_it(tmp_path: Path) -> None:
    """A forest with single-image leaves memorises its rows: scored on them, pure noise would be far above chance."""
    files = {"noise": outputs(tmp_path / "noise.npz", 1e6, 3)}
    row = run(configured({"name": "random_forest", "least_leaf": 1}, files, "features"), files)
    assert row["train/loss"] < 0.4
    assert abs(row["val/auc"] - 0.5) < 0.15


def test_folds_are_put_together_and_their_words_averaged(tmp_path: Path) -> None:
    files = {f"fold{i}": outputs(tmp_path / f"{i}.npz", 1.0, i, held=[i]) for i in range(3)}
    rows = stack_dataset.load({"folded": list(files)}, "logits", files)
    assert rows.folded
    assert len(rows.learn.label_n) == 3 * SIZES["held"]
    assert len(set(rows.learn.source)) == 3 * SIZES["held"] // 2, "no image is left out twice"
    stored = []
    for file in files.values():
        with np.load(file) as arrays:
            stored.append(arrays["test_logit"])
    assert np.allclose(np.sort(rows.test.logit_nk[:, 0]), np.sort(np.mean(stored, 0)))
    bases = {"Folded": [{"0": name} for name in files]}
    config = {**schema.resolve("stack", {"data": {"bases": bases}, "model": {"name": "svc"}}), "seed": 0}
    assert run(config, files)["test/auc"] > 0.95


def test_a_trial_is_known_by_the_detectors_of_its_own_seed() -> None:
    few = schema.resolve("stack", {"data": {"bases": {"A": {"0": "good"}}}, "model": {"name": "average"}})
    more = schema.resolve("stack", {"data": {"bases": {"A": {"0": "good", "1": "bad"}}}, "model": {"name": "average"}})
    assert schema.identity("stack", few, 0) == schema.identity("stack", more, 0)
    assert schema.needs("stack", more, 1).trials == ("bad",)
    with pytest.raises(TrialError, match="no trial of seed 1"):
        schema.identity("stack", few, 1)


def test_it_refuses_what_does_not_belong_together(files: dict[str, Path], tmp_path: Path) -> None:
    other = outputs(tmp_path / "other.npz", 1.0, 9)
    with np.load(other) as arrays:
        changed = {key: arrays[key] for key in arrays.files}
    changed["test_source"] = np.char.add(changed["test_source"], "x")
    np.savez_compressed(other, allow_pickle=False, **changed)
    with pytest.raises(TrialError, match="scored different images"):
        stack_dataset.load({"A": ["good"], "B": ["other"]}, "logits", {**files, "other": other})
    with pytest.raises(TrialError, match="recorded no images that a fold left out"):
        stack_dataset.load({"A": ["good", "fair"]}, "logits", files)
    (tmp_path / "good.npz").write_bytes(b"PK damaged")
    with pytest.raises(TrialError, match="does not hold them"):
        stack_dataset.load({"A": ["good"]}, "logits", files)
    with pytest.raises(TrialError, match="does not accept these inputs"):
        configured("average", files, "features")
    with pytest.raises(TrialError, match="base without `model`"):
        schema.resolve("stack", {"data": {"bases": {"A": {"0": "good"}}}})


def test_every_ensemble_of_the_folder_is_tested_here() -> None:
    assert set(registry.names("ensemble")) == {"average", "best_single", "random_forest", "svc"}
