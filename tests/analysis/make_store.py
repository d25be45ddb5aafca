"""A synthetic store for the tests of the analysis: histories with known effects, small pictures, every kind of cell."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sweeps.spec.trial import Trial
from sweeps.store import attempts as stored_attempts
from sweeps.store import plans as stored_plans
from sweeps.store import trials as stored_trials
from sweeps.store.local import FolderStore

NOW = 1_790_000_000.0
"""Time at which the synthetic store is read, in seconds since 1970."""
EPOCHS = 20
TEST_EPOCHS = [10]
VERSIONS = {"python": "3.11.7", "inpaint-sweeps": "0.1.0", "torch": "2.11.0", "numpy": "2.4.6"}
HARDWARE = {"host": "lab", "cpu": "AMD EPYC 7763", "cpus": 2, "memory_gib": 8.0, "device": "cpu"}
HEADER = """Does partial convolution fill lines better than a blind autoencoder?

Source: 004_93544f900a7fa97e, section 6.
The document trains one model for 100 epochs and the other for 20; here both get the same."""


@dataclass(frozen=True)
class ArmSpec:
    """One synthetic arm. psnr: mean test PSNR after the last epoch, dB. states: {seed: state}, done where absent.

    columns: further columns, with the value that they have wherever the test split is evaluated.
    """

    name: str
    psnr: float
    trains: bool = True
    sd: float = 0.08
    published: str | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    states: Mapping[int, str] = field(default_factory=dict)
    nan: bool = False
    parameters: int = 2_271_043
    factors: Mapping[str, str] = field(default_factory=dict)
    baseline: str | None = None
    columns: Mapping[str, float] = field(default_factory=dict)


ARMS = (
    ArmSpec("blind autoencoder", 26.1, published="vanilla_autoencoder"),
    ArmSpec(
        "partial convolution",
        27.3,
        published="partial_conv_unet",
        set={"model.name": "partial_conv_unet"},
        parameters=3_924_617,
        states={6: "failed", 7: "running"},
    ),
    ArmSpec("mean fill", 20.4, trains=False, set={"model.name": "mean_fill"}, parameters=0),
    ArmSpec("telea", 25.2, trains=False, set={"model.name": "telea"}, parameters=0),
)
CLAIMS = (
    {
        "text": "partial convolution has the lower error",
        "metric": "test/l2_raw",
        "better": "partial convolution",
        "than": "blind autoencoder",
        "by": 0.0,
        "source": "section 6, table",
    },
    {
        "text": "the blind autoencoder is good after 10 epochs",
        "metric": "test/psnr_db",
        "epoch": 10,
        "equal": ["blind autoencoder", "telea"],
        "within": 0.05,
    },
    {
        "text": "learned beats fills",
        "metric": "test/psnr_db",
        "order": ["partial convolution", "blind autoencoder", "telea", "mean fill"],
    },
    {"text": "the partial convolution diverges", "fails": "partial convolution"},
)
REFERENCE = {
    "study": "004_93544f900a7fa97e",
    "table": "losses",
    "columns": {"test/l2_raw": "l2"},
}


def make_store(
    root: Path,
    arms: Sequence[ArmSpec] = ARMS,
    seeds: Sequence[int] = range(8),
    claims: Sequence[Mapping[str, Any]] = CLAIMS,
    name: str = "partial-conv",
    change: Callable[[dict[str, Any]], None] = lambda plan: None,
) -> FolderStore:
    """A store with one sweep whose trials are given by `arms`. change: edits the plan before it is written."""
    store = FolderStore(root)
    trials = {(arm.name, seed): _trial(arm, seed) for arm in arms for seed in seeds}
    plan = _plan(name, arms, seeds, claims, trials)
    change(plan)
    stored_plans.write_plan(store, name, plan, f"name: {name}\n", NOW - 9000)
    stored_trials.write_trials(store, trials.values())
    for arm in arms:
        for seed in seeds if arm.trains else list(seeds)[:1]:
            _run(store, arm, trials[arm.name, seed], seed)
    return store


def _trial(arm: ArmSpec, seed: int) -> Trial:
    config = {
        "data": {"name": "cifar10", "path": None, "size": 16, "train": 4000, "val": 500, "test": 1000},
        "mask": {"name": "lines", "count": [1, 10], "thickness": [1, 3], **arm.factors},
        "model": {"name": "vanilla_autoencoder" if not arm.set else arm.set.get("model.name", arm.name)},
        "loss": {"l2": 1.0},
        "optimiser": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "weight_decay": 0.0},
        "batch": 64,
        "epochs": EPOCHS if arm.trains else 0,
    }
    identity = {"arm": arm.name, **({"seed": seed} if arm.trains else {})}
    return Trial("inpaint", config, seed, identity)


def _plan(
    name: str,
    arms: Sequence[ArmSpec],
    seeds: Sequence[int],
    claims: Sequence[Mapping[str, Any]],
    trials: Mapping[tuple[str, int], Trial],
) -> dict[str, Any]:
    return {
        "name": name,
        "question": HEADER.splitlines()[0],
        "header": HEADER,
        "file": "sweeps/inpainting/partial_conv.yaml",
        "task": "inpaint",
        "baseline": arms[0].name,
        "command": "sweeps run sweeps/inpainting/partial_conv.yaml --set seeds=8",
        "seeds": list(seeds),
        "arms": [
            {
                "name": arm.name,
                "set": dict(arm.set),
                "factors": dict(arm.factors),
                "published": arm.published,
                "baseline": arm.baseline or arms[0].name,
                "trains": arm.trains,
                "config": trials[arm.name, seeds[0]].config,
                "trials": {
                    str(seed): {"id": trials[arm.name, seed].id, "epochs": trials[arm.name, seed].epochs}
                    for seed in seeds
                },
            }
            for arm in arms
        ],
        "report": {
            "at": "last",
            "test_epochs": TEST_EPOCHS,
            "metrics": ["test/psnr_db", "test/l2_raw", "test/ssim"],
            "published": REFERENCE,
        },
        "claims": [dict(claim) for claim in claims],
    }


def _run(store: FolderStore, arm: ArmSpec, trial: Trial, seed: int) -> None:
    state = arm.states.get(seed, "done")
    if state == "queued":
        return
    source = {"code": {"commit": "6be6b42" + "0" * 33, "dirty": False}, "versions": VERSIONS, "hardware": HARDWARE}
    attempt = stored_attempts.claim(store, trial.id, 0, {"claimed_at": NOW - 5000, "provenance": source})
    assert attempt is not None
    if state == "failed":
        losses = {"loss": [0.5, 7.0, None], "l2": [0.5, 7.0, None]}
        trace = {
            "epoch": 3,
            "steps": [39, 40, 41],
            "terms": losses,
            "epochs": {"epoch": [1, 2], "val/psnr_db": [20, 21]},
        }
        error = {"type": "Diverged", "message": "the loss is not finite in epoch 3, step 41", "traceback": "..."}
        error = {**error, "trace": trace}
        stored_attempts.end(store, attempt, "failed", NOW - 4000, error)
    elif state in ("running", "interrupted"):
        age = 5 if state == "running" else 500
        load = {"cpus": 1.5, "gpu": 0.875}
        beat = {"time": NOW - age, "epoch": 12, "record": {"val/psnr_db": 25.0}, "load": load}
        stored_attempts.beat(store, attempt, beat)
    else:
        body = {
            "history": history(arm, seed),
            "facts": {"parameters": arm.parameters, "data_fingerprint": "c58f30108f71"},
            "provenance": source,
            "started_at": NOW - 5000,
            "ended_at": NOW - 4400,
        }
        for kind, png in strips(hash_of(arm.name), arm.psnr).items():
            store.put(attempt.key("samples", attempt.name, trial.epochs, f"{kind}.png"), png)
        assert stored_trials.finish(store, attempt, trial.epochs, body)
        stored_attempts.end(store, attempt, "done", NOW - 4400)


def hash_of(name: str) -> int:
    return sum(map(ord, name))


def history(arm: ArmSpec, seed: int) -> dict[str, list[float | None]]:
    """Columns of a trial, rising towards the arm's PSNR; part of the noise is shared by all arms of a seed."""
    rng = np.random.default_rng([hash_of(arm.name), seed])
    shift = 0.0 if not arm.trains else 0.3 * math.sin(seed) + float(rng.normal(0, arm.sd))
    epochs = list(range(1, EPOCHS + 1)) if arm.trains else [0]
    val = [arm.psnr + shift - (6 * math.exp(-epoch / 4) if arm.trains else 0) for epoch in epochs]
    tested = [not arm.trains or epoch in (*TEST_EPOCHS, EPOCHS) for epoch in epochs]
    psnr = [value - 0.1 if there else None for value, there in zip(val, tested, strict=True)]
    if arm.nan:
        psnr = [None] * len(epochs)
    mse = [None if value is None else 10 ** (-value / 10) for value in psnr]
    columns: dict[str, list[float | None]] = {
        "epoch": [float(epoch) for epoch in epochs],
        "val/psnr_db": [float(value) for value in val],
        "val/l2_raw": [10 ** (-value / 10) for value in val],
        "val/ssim": [1 - 0.8 * 10 ** (-value / 20) for value in val],
        "test/psnr_db": psnr,
        "test/l2_raw": mse,
        "test/ssim": [None if value is None else 1 - 0.8 * math.sqrt(value) for value in mse],
        "test/hole_fraction": [0.1534 if there else None for there in tested],
        "sys/time_s": [4.2 if arm.trains else 0.3 for _ in epochs],
    }
    columns |= {name: [value if there else None for there in tested] for name, value in arm.columns.items()}
    if arm.trains:
        columns["sys/images_per_s"] = [1450.0 + 20 * float(rng.normal()) for _ in epochs]
    return columns


@cache
def strips(salt: int, psnr: float, count: int = 8, side: int = 16) -> dict[str, bytes]:
    """The five strips of sample pictures: gradients with a dark line through them; better arms have less noise."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:side, 0:side] / side
    images = []
    for number in range(count):
        tint = rng.uniform(0.3, 1, 3)
        images.append(np.stack([(x * number / count + y * (1 - number / count)) * c for c in tint], -1))
    truth = np.concatenate(images, 1)
    mask = np.zeros(truth.shape[:2])
    for number in range(count):
        mask[3 + number % 8 : 6 + number % 8, number * side : (number + 1) * side] = 1
    noise = np.random.default_rng(salt).normal(0, 10 ** (-psnr / 20) * 4, truth.shape)
    output = np.clip(truth + noise, 0, 1)
    hole = mask[..., None]
    pictures = {
        "truth": truth,
        "damaged": truth * (1 - hole),
        "mask": np.repeat(hole, 3, -1),
        "output": output,
        "composite": truth * (1 - hole) + output * hole,
    }
    return {name: png(array) for name, array in pictures.items()}


def png(array: np.ndarray[Any, Any]) -> bytes:
    target = io.BytesIO()
    Image.fromarray((array * 255).astype(np.uint8)).save(target, "PNG")
    return target.getvalue()
