"""A synthetic store of a detection sweep: trials with columns and scores of single images that agree with them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.detection import estimates, image_scores
from sweeps.spec.trial import Trial
from sweeps.store import attempts as stored_attempts
from sweeps.store import plans as stored_plans
from sweeps.store import trials as stored_trials
from sweeps.store.local import FolderStore
from tests.analysis.make_store import HARDWARE, NOW, VERSIONS

EPOCHS = 2
METRICS = ("auc", "f1", "accuracy", "recall", "fpr_authentic", "eer", "mean_iou", "iou_above_50", "pixel_f1")
CHANGES = {"jpeg90": {"jpeg": 90}, "jpeg70": {"jpeg": 70}, "jpeg50": {"jpeg": 50}, "blurred": {"blur": 1.0}}
BASELINES = ("constant box", "probe")


def scores(
    rng: np.random.Generator, separation: float, hard_n: np.ndarray[Any, Any], with_boxes: bool
) -> dict[str, np.ndarray[Any, Any]]:
    """A real and a fake of each photograph. hard_n: what all networks see in a photograph."""
    photographs = len(hard_n)
    label_n = np.tile([False, True], photographs)
    logit_n = (label_n - 0.5) * separation + np.repeat(hard_n, 2) + rng.normal(0, 1, 2 * photographs)
    columns = {
        "logit": logit_n,
        "label": label_n,
        "kind": np.where(label_n, 1, 0).astype(np.uint8),
        "source": np.repeat(np.arange(photographs), 2).astype(np.int32),
        "hole_share": np.where(label_n, 0.15, 0.0),
        "sharpness": np.where(label_n, rng.random(2 * photographs), np.nan),
    }
    if with_boxes:
        columns["iou"] = np.where(label_n, np.clip(0.2 + 0.2 * separation * rng.random(2 * photographs), 0, 1), 0)
        columns["pixels"] = rng.integers(1, 50, (2 * photographs, 3)).astype(np.int32)
    return columns


def packed(sets: Mapping[str, Mapping[str, np.ndarray[Any, Any]]], photographs: int) -> bytes:
    arrays = {f"{label}.{name}": column for label, columns in sets.items() for name, column in columns.items()}
    arrays |= {
        "sources": np.array([f"photograph {i:04}" for i in range(photographs)]),
        "kinds": np.array(["real", "inpainted", "fake_real", "pasted", "resaved"]),
        "threshold": np.array(0.2),
    }
    target = io.BytesIO()
    np.savez_compressed(target, **arrays)
    return target.getvalue()


def make_detection_store(
    root: Path,
    arms: Mapping[str, float],
    seeds: Sequence[int] = range(4),
    photographs: int = 60,
    metrics: Sequence[str] = ("test/auc", "test/mean_iou"),
    claims: Sequence[Mapping[str, Any]] = (),
    with_scores: Callable[[str], bool] = lambda arm: True,
    changes: Mapping[str, Mapping[str, Any]] = CHANGES,
    forged: Mapping[str, Mapping[str, Any]] | None = None,
) -> FolderStore:
    """A store with the sweep `detectors`. arms: by name, how far apart the logits of fakes and reals are.

    with_scores: of which arms the scores of single images are stored. forged: keys of the arms' own forge blocks; with
    them, `jpeg50` is a test set that all arms share.
    """
    store = FolderStore(root)
    trials = {(arm, seed): _trial(arm, seed, changes, forged) for arm in arms for seed in seeds}
    plan = {
        "name": "detectors",
        "question": "Which detector finds the fakes?",
        "header": "Which detector finds the fakes?",
        "file": "detectors.yaml",
        "task": "detect",
        "baseline": next(iter(arms)),
        "command": "sweeps run detectors.yaml",
        "seeds": list(seeds),
        "arms": [
            {
                "name": arm,
                "set": {},
                "factors": {},
                "published": None,
                "baseline": next(iter(arms)),
                "trains": arm not in BASELINES,
                "config": trials[arm, seeds[0]].config,
                "trials": {
                    str(seed): {"id": trials[arm, seed].id, "epochs": trials[arm, seed].epochs} for seed in seeds
                },
            }
            for arm in arms
        ],
        "report": {"at": "last", "test_epochs": [], "metrics": list(metrics), "published": None},
        "claims": [dict(claim) for claim in claims],
    }
    stored_plans.write_plan(store, "detectors", plan, "name: detectors\n", NOW - 9000)
    stored_trials.write_trials(store, trials.values())
    labels = (image_scores.OWN, *changes)
    hard = {label: np.random.default_rng(7).normal(0, 1, photographs) for label in labels}
    for number, (arm, separation) in enumerate(arms.items()):
        for seed in list(seeds)[: 1 if arm in BASELINES else None]:
            rng = np.random.default_rng([number, seed])
            moved = separation + (0 if arm in BASELINES else rng.normal(0, 0.1))
            sets = {
                label: scores(rng, moved * (1 - 0.25 * i), hard[label], arm != "probe")
                for i, label in enumerate(labels)
            }
            _run(store, trials[arm, seed], packed(sets, photographs), arm not in BASELINES, with_scores(arm))
    return store


def _trial(arm: str, seed: int, changes: Mapping[str, Any], forged: Mapping[str, Any] | None) -> Trial:
    trains = arm not in BASELINES
    config: dict[str, Any] = {
        "data": {"forged": {"images": {"name": "cifar10", "size": 32}, "mask": {"name": "box"}}, "input_size": 32},
        "test_changes": {label: dict(change) for label, change in changes.items()},
        "model": {"name": "detector" if trains else "constant_box" if arm == "constant box" else "high_pass_probe"},
        "epochs": EPOCHS if trains else 0,
    }
    if forged is not None:
        block: dict[str, Any] = config["data"]["forged"]
        config["test_sets"] = {"jpeg50": {"forged": dict(block)}}
        config["test_changes"] = {label: one for label, one in config["test_changes"].items() if label != "jpeg50"}
        block |= forged.get(arm, {})
    return Trial("detect", config, seed, {"arm": arm, **({"seed": seed} if trains else {})})


def _run(store: FolderStore, trial: Trial, data: bytes, trains: bool, with_scores: bool) -> None:
    source = {"code": {"commit": "6be6b42" + "0" * 33, "dirty": False}, "versions": VERSIONS, "hardware": HARDWARE}
    attempt = stored_attempts.claim(store, trial.id, 0, {"claimed_at": NOW - 5000, "provenance": source})
    assert attempt is not None
    values: dict[str, float] = {}
    for label in image_scores.sets_of(data):
        read = image_scores.read(data, label)
        assert read is not None
        for metric in METRICS:
            if (found := estimates.estimate(read, metric)) is not None:
                values[f"test/{metric}" + ("" if label == image_scores.OWN else f"_on_{label}")] = found.value
    history: dict[str, list[float | None]] = {"epoch": [1.0, 2.0] if trains else [0.0]}
    history |= {name: [None, value] if trains else [value] for name, value in values.items()}
    history["val/f1"] = [0.5, 0.6] if trains else [0.5]
    body: dict[str, Any] = {
        "history": history,
        "facts": {"parameters": 1000 if trains else 0, "data_fingerprint": "c58f30108f71"},
        "provenance": source,
        "started_at": NOW - 5000,
        "ended_at": NOW - 4400,
    }
    if with_scores:
        body["files"] = {image_scores.FILE: hashlib.sha256(data).hexdigest()}
        store.put(attempt.key("samples", attempt.name, trial.epochs, image_scores.FILE), data)
    assert stored_trials.finish(store, attempt, trial.epochs, body)
    stored_attempts.end(store, attempt, "done", NOW - 4400)
