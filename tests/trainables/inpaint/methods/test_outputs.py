"""Images filled by another system, scored as an arm: names, errors and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from trainables import schema
from trainables.errors import TrialError
from trainables.inpaint import dataset as inpaint_dataset
from trainables.inpaint import task as inpaint
from trainables.training import networks
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession

CONFIG: dict[str, Any] = {
    "data": {"name": "cifar10", "train": 8, "val": 8, "test": 12},
    "mask": {"name": "lines"},
    "model": {"name": "mean_fill"},
}


def resolved(model: dict[str, Any]) -> dict[str, Any]:
    return {**schema.resolve("inpaint", {**CONFIG, "model": model}), "seed": 0}


def scored(config: dict[str, Any], data_root: Path) -> dict[str, Any]:
    session = MemorySession(Goal(0), Machine(data_root=data_root))
    fit(inpaint, config, session)
    return session.rows[-1]


@pytest.fixture
def filled(tmp_path: Path, data_root: Path) -> Path:
    """The damaged test images, filled with the mean by hand, as another system would."""
    folder = tmp_path / "filled"
    folder.mkdir()
    fill = networks.build_network({"name": "mean_fill"}, 32)
    for name, image, mask in inpaint_dataset.export_test(resolved({"name": "mean_fill"}), Machine(data_root=data_root)):
        damaged_b3hw, mask_b3hw = (_tensor(png, tmp_path) for png in (image, mask))
        output = fill(damaged_b3hw, mask_b3hw[:, :1])
        pixels = (output[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        Image.fromarray(pixels).save(folder / name)
    return folder


def _tensor(png: bytes, folder: Path) -> torch.Tensor:
    import numpy as np

    (folder / "one.png").write_bytes(png)
    with Image.open(folder / "one.png") as image:
        return torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1).unsqueeze(0) / 255


def test_they_are_scored_like_the_fill_they_are(filled: Path, data_root: Path) -> None:
    """The metrics equal those of the built-in fill up to rounding to 8 bits; validation images are not exported."""
    theirs = scored(resolved({"name": "outputs", "path": str(filled)}), data_root)
    ours = scored(resolved({"name": "mean_fill"}), data_root)
    assert len(list(filled.iterdir())) == 12
    assert theirs["test/psnr_db"] == pytest.approx(ours["test/psnr_db"], abs=0.05)
    assert theirs["test/l1_hole"] == pytest.approx(ours["test/l1_hole"], rel=0.02)
    assert not any(name.startswith("val/") for name in theirs)


def test_other_images_are_another_trial(filled: Path) -> None:
    before = resolved({"name": "outputs", "path": str(filled)})
    Image.new("RGB", (32, 32)).save(next(filled.iterdir()))
    after = resolved({"name": "outputs", "path": str(filled)})
    assert schema.identity("inpaint", before, 0) != schema.identity("inpaint", after, 0)


def test_a_folder_of_another_study_is_refused(filled: Path, data_root: Path) -> None:
    config = resolved({"name": "outputs", "path": str(filled)})
    config["mask"] = {**config["mask"], "count": [1, 3]}
    with pytest.raises(TrialError, match="the name of a damaged test image") as caught:
        scored(config, data_root)
    assert "export-test" in caught.value.fix


def test_an_image_of_another_size_is_refused(filled: Path, data_root: Path) -> None:
    for file in filled.iterdir():
        Image.new("RGB", (64, 64)).save(file)
    with pytest.raises(TrialError, match="64x64 px"):
        scored(resolved({"name": "outputs", "path": str(filled)}), data_root)


@pytest.mark.parametrize(("path", "why"), [("filled", "it is a relative path"), ("/nowhere/at/all", "not a folder")])
def test_a_folder_that_is_not_there(path: str, why: str) -> None:
    with pytest.raises(TrialError, match=why):
        schema.resolve("inpaint", {**CONFIG, "model": {"name": "outputs", "path": path}})
