"""CUB-200-2011 and Oxford-IIIT Pet in their published layout; object-shaped holes are augmented with their images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from trainables import schema
from trainables.config.sections import DataConfig
from trainables.data import captions, images
from trainables.data.sources.cub_and_pets import CUB, PETS
from trainables.errors import TrialError
from trainables.inpaint import task as inpaint
from trainables.training.session import Machine

BIRDS = {"name": "cub200", "size": 16}
PETS_DATA = {"name": "oxford_pets", "size": 16}


def photograph(file: Path, number: int) -> None:
    """An image of 24 x 16 px with a red rectangle as its object."""
    pixels = np.full((16, 24, 3), 40, np.uint8)
    pixels[3:12, 4 + number % 5 : 14] = (220, 0, 0)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, quality=100, subsampling=0)


def outline(file: Path, number: int, background: int, inside: int) -> None:
    pixels = np.full((16, 24), background, np.uint8)
    pixels[3:12, 4 + number % 5 : 14] = inside
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    names = [f"{i % 3 + 1:03}.A_bird/A_Bird_{i:04}.jpg" for i in range(30)]
    for i, name in enumerate(names):
        photograph(tmp_path / CUB / "images" / name, i)
        outline((tmp_path / CUB / "segmentations" / name).with_suffix(".png"), i, 0, 204)
        text = (tmp_path / CUB / "text" / name).with_suffix(".txt")
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text("".join(f"bird {i} line {k}\n" for k in range(10)))
    (tmp_path / CUB / "images.txt").write_text("".join(f"{i + 1} {name}\n" for i, name in enumerate(names)))
    (tmp_path / CUB / "train_test_split.txt").write_text("".join(f"{i + 1} {int(i < 20)}\n" for i in range(30)))
    lists: dict[str, str] = {"trainval": "#Image CLASS-ID SPECIES BREED ID\n", "test": ""}
    for i in range(30):
        name = f"{'Maine_Coon' if i % 2 else 'great_pyrenees'}_{i}"
        photograph(tmp_path / PETS / "images" / f"{name}.jpg", i)
        outline(tmp_path / PETS / "annotations" / "trimaps" / f"{name}.png", i, 2, 1)
        lists["trainval" if i < 20 else "test"] += f"{name} 1 1 1\n"
    for part, text_ in lists.items():
        (tmp_path / PETS / "annotations" / f"{part}.txt").write_text(text_)
    return tmp_path


def section(given: dict[str, Any]) -> dict[str, Any]:
    return DataConfig.model_validate(given).model_dump()


@pytest.mark.parametrize("given", [BIRDS, PETS_DATA])
def test_the_published_split_with_a_part_of_training_for_validation(root: Path, given: dict[str, Any]) -> None:
    counts = images.check(section(given), root)
    assert counts["train"] + counts["val"] == 20
    assert counts["val"] > 0
    assert counts["test"] == 10
    assert images.load(section(given), root).test.shape == (10, 3, 16, 16)


def test_captions_of_birds_lie_beside_them_and_pets_have_breeds(root: Path) -> None:
    birds = captions.load(section({**BIRDS, "captions": {"folder": f"{CUB}/text"}}), root)
    assert birds is not None
    assert birds.tokens["test"].shape[:2] == (10, 10)
    named = captions.load(section({**BIRDS, "captions": {"template": "a photo of a {class}"}}), root)
    pets = captions.load(section({**PETS_DATA, "captions": {"template": "a photo of a {breed}"}}), root)
    assert named is not None
    assert named.vocabulary.words == ("a", "bird", "of", "photo")
    assert pets is not None
    assert set(pets.vocabulary.words) == {"a", "coon", "great", "maine", "of", "photo", "pyrenees"}


@pytest.mark.parametrize("given", [BIRDS, PETS_DATA])
def test_an_object_is_a_hole_and_moves_with_its_image(root: Path, given: dict[str, Any]) -> None:
    base = {"data": given, "mask": {"name": "object"}, "model": {"name": "mean_fill"}}
    data = inpaint.load({**schema.resolve("inpaint", base), "seed": 0}, Machine(data_root=root))
    n = len(data.images.train)
    trial = schema.resolve("inpaint", {**base, "data": {**given, "augment": {"flip": 0.5, "rotation_deg": 90.0}}})
    trial = {**trial, "seed": 0}
    index = torch.arange(n)
    image, mask = data.batch("train", index, inpaint.epoch_masks(trial, data, 1))
    changes = inpaint.epoch_changes(trial, data, 1)
    assert changes is not None
    for pixels, hole in ((image, mask), (changes.apply(image, index), changes.move(mask, index))):
        red = (pixels[:, :1] > 0.5) & (pixels[:, 1:2] < 0.1)
        assert hole.unique().tolist() == [0, 1]
        assert (red == (hole > 0.5)).float().mean() > 0.95
    _, tested = data.batch("test", torch.arange(10), data.evaluation_masks["test"])
    assert 0.2 < tested.mean() < 0.6


def test_what_is_missing_is_told(root: Path, data_root: Path) -> None:
    base = {"mask": {"name": "object"}, "model": {"name": "mean_fill"}}
    cases: list[tuple[dict[str, Any], Path]] = [({"name": "cifar10", "train": 4, "val": 2, "test": 2}, data_root)]
    (root / CUB / "train_test_split.txt").write_text("1\n")
    (root / PETS / "annotations" / "trimaps" / "Maine_Coon_1.png").unlink()
    cases += [(BIRDS, root), (PETS_DATA, root), (BIRDS, root / "nowhere")]
    for given, where in cases:
        trial = {**schema.resolve("inpaint", {**base, "data": given}), "seed": 0}
        with pytest.raises(TrialError) as caught:
            inpaint.load(trial, Machine(data_root=where))
        assert all((caught.value.given, caught.value.why, caught.value.allowed, caught.value.fix))
