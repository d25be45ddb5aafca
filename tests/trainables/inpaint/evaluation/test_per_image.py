"""The per-image metrics that a finished trial stores, and the pictures of its worst test images."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from trainables import schema
from trainables.inpaint import task as inpaint
from trainables.inpaint.dataset import evaluation_batch
from trainables.inpaint.evaluation import metrics, per_image
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession, Restored

STRIPS = {f"worst-{kind}.png" for kind in ("truth", "mask", "damaged", "output", "composite")}


def trained(
    data_root: Path, model: str = "vanilla_autoencoder", restored: Restored | None = None, **changes: Any
) -> MemorySession:
    config = {
        "data": {"name": "cifar10", "train": 16, "val": 8, "test": 12},
        "mask": {"name": "lines"},
        "model": {"name": model, **({} if model == "telea" else {"width": 1})},
        "batch": 8,
        "epochs": 2,
        **changes,
    }
    resolved = {**schema.resolve("inpaint", config), "seed": 0}
    session = MemorySession(Goal(0 if model == "telea" else 2), Machine(data_root=data_root), restored)
    fit(inpaint, resolved, session)
    return session


def read(files: Mapping[str, bytes]) -> dict[str, np.ndarray[Any, Any]]:
    with np.load(io.BytesIO(files["per_image.npz"]), allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("model", ["vanilla_autoencoder", "telea"])
def test_the_values_of_all_images_are_those_whose_mean_is_recorded(data_root: Path, model: str) -> None:
    session = trained(data_root, model)
    last = session.rows[-1]
    values = read(session.images[last["epoch"]])  # type: ignore[index]
    assert set(values) == set(per_image.NAMES)
    for name, array in values.items():
        assert (array.shape, array.dtype) == ((12,), np.float32)
        assert np.nanmean(array, dtype=np.float64) == pytest.approx(last[f"test/{name}"], rel=1e-6)


def test_the_worst_images_follow_from_the_values(data_root: Path) -> None:
    files = trained(data_root, "telea").images[0]
    assert set(files) > STRIPS
    worst = np.argsort(read(files)["psnr_db_hole"], kind="stable")[: per_image.WORST]
    strips = {name: np.asarray(Image.open(io.BytesIO(files[name]))) for name in ("truth.png", "worst-truth.png")}
    assert strips["worst-truth.png"].shape == (32, 8 * 32, 3)
    shown = [place for place, number in enumerate(worst) if number < inpaint.SAMPLES]
    assert shown, "some of the worst are among the first"
    for place in shown:
        number = worst[place]
        expected = strips["truth.png"][:, number * 32 : number * 32 + 32]
        assert (strips["worst-truth.png"][:, place * 32 : place * 32 + 32] == expected).all()


def test_only_the_last_epoch_has_them_and_a_resumed_trial_has_the_same(data_root: Path) -> None:
    straight = trained(data_root)
    assert "per_image.npz" not in straight.images[1]
    resumed = trained(data_root, restored=Restored(1, straight.saved[1]))
    assert resumed.images[2] == straight.images[2]
    ended_again = trained(data_root, restored=Restored(2, straight.saved[2]))
    assert ended_again.images[2] == straight.images[2], "one that was killed between its last checkpoint and its result"


def test_images_without_a_hole_are_never_the_worst() -> None:
    image = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(3, 1, 16, 16)
    mask[1:, :, 4:8, 4:8] = 1
    meter = metrics.Meter(keep=per_image.NAMES)
    for part in (slice(0, 2), slice(2, 3)):
        meter.update((image + 0.1 * torch.arange(3).view(3, 1, 1, 1))[part], image[part], mask[part])
    assert per_image.worst(meter.per_image()).tolist() == [2, 1]
    packed = per_image.pack(meter.per_image())
    assert packed == per_image.pack(meter.per_image())
    assert np.isnan(read({"per_image.npz": packed})["psnr_db_hole"][0])


def test_large_images_are_evaluated_few_at_a_time(data_root: Path) -> None:
    assert [evaluation_batch(size) for size in (8, 32, 64, 128, 256, 1024)] == [256, 256, 256, 64, 16, 1]
    base = {
        "data": {"name": "folder", "path": "kodak24", "size": 512, "train": 2, "val": 1, "test": 1},
        "mask": {"name": "lines"},
        "model": {"name": "mean_fill"},
    }
    data = inpaint.load({**schema.resolve("inpaint", base), "seed": 0}, Machine(data_root=data_root))
    assert [index.tolist() for index in data.evaluation_batches(torch.arange(6))] == [[0, 1, 2, 3], [4, 5]]
    assert data.evaluation_batches(torch.arange(0)) == ()
