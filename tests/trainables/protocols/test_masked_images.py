"""Squares cut from photographs with their holes, and folders of fills."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainables.errors import TrialError
from trainables.protocols.fills import UNTRAINED, FillFolder, UntrainedFill
from trainables.protocols.masked_images import Photographs, mask_seed
from trainables.protocols.protocol import Protocol, resolve
from trainables.protocols.rating import rate

IMAGES = {"size": 32, "fit": "shorter_side", "crop": "centre", "filter": "bicubic"}


def small(images: Mapping[str, Any] = {}, masks: Mapping[str, Any] | None = None) -> Protocol:
    return resolve(
        {
            "about": "A test.",
            "paper": "none",
            "equality": "own",
            "evidence": "none",
            "images": {**IMAGES, **images},
            "masks": masks or {"name": "brush", "seed": 1, "strokes": [1, 2], "vertices": [4, 5], "width": [2, 5]},
            "metrics": {"psnr_db": 1, "l1": 1},
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    """Four photographs of 72 x 48 or 48 x 72 px."""
    made = tmp_path_factory.mktemp("photographs")
    for number in (1, 2, 3, 4):
        with Image.open(data_root / "kodak24" / f"kodim{number:02d}.png") as image:
            image.resize((image.width * 48 // 512, image.height * 48 // 512)).save(made / f"kodim{number:02d}.png")
    return made


def test_a_hole_depends_on_the_name_of_its_image_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    shutil.copy(folder / "kodim03.png", tmp_path)
    shutil.copy(folder / "kodim03.png", tmp_path / "below" / "kodim03.png")
    all_of = {image.key: image for image in Photographs(small(), folder)}
    alone = {image.key: image for image in Photographs(small(), tmp_path)}
    assert list(alone) == ["below/kodim03", "kodim03"]
    assert np.array_equal(alone["kodim03"].hole_hw, all_of["kodim03"].hole_hw)
    assert not np.array_equal(alone["below/kodim03"].hole_hw, all_of["kodim03"].hole_hw)
    assert mask_seed(0, "a") != mask_seed(1, "a")
    other = small(masks={"name": "brush", "seed": 2, "strokes": [1, 2], "vertices": [4, 5], "width": [2, 5]})
    assert not np.array_equal(next(iter(Photographs(other, folder))).hole_hw, all_of["kodim01"].hole_hw)


def test_a_photograph_is_resized_and_cut_or_mirrored(folder: Path) -> None:
    with Image.open(folder / "kodim01.png") as opened:
        image = opened.convert("RGB")
    resized = np.asarray(image.resize((round(image.width * 32 / 48), 32), Image.Resampling.BICUBIC))
    first = next(iter(Photographs(small(), folder)))
    assert np.array_equal(first.pixels_hw3, resized[:, 8:40])
    pixels = np.asarray(image)
    padded = next(iter(Photographs(small({"size": 64, "fit": "pad", "filter": "none"}), folder))).pixels_hw3
    assert np.array_equal(padded[:48], pixels[:, 4:68])
    assert np.array_equal(padded[48:], pixels[:31:-1, 4:68]), "the lower rows are mirrored"


def test_a_square_is_cut_with_the_hole(folder: Path) -> None:
    masks = {"name": "lama", "seed": 0, "strokes": {"count": [1, 1], "length": 3, "width": 2}}
    for image in Photographs(small({"crop": "with_hole"}, masks), folder):
        assert image.pixels_hw3.shape == (32, 32, 3)
        assert 0 < image.hole_hw.mean() <= 0.5
    with pytest.raises(TrialError, match="with_hole"):
        small({"crop": "with_hole"})


def test_image_i_gets_mask_i_of_a_folder_in_either_colour(folder: Path, tmp_path: Path) -> None:
    """As MAT's evaluation reads its published masks, whose holes are black."""
    holes = [np.zeros((32, 32), bool) for _ in range(3)]
    for number, hole_hw in enumerate(holes):
        hole_hw[: 4 * number + 4] = True
        Image.fromarray(~hole_hw).save(tmp_path / f"{number}.png")
    protocol = small(masks={"name": "files", "hole": "black", "files": 3})
    images = list(Photographs(protocol, folder, tmp_path))
    assert [image.key for image in images] == [f"kodim0{number}" for number in (1, 2, 3, 4)]
    for number, image in enumerate(images):
        assert np.array_equal(image.hole_hw, holes[number % 3]), "the first mask follows the last one"
    Image.fromarray(holes[0][:31]).save(tmp_path / "0.png")
    with pytest.raises(TrialError, match="it has 32 x 31 px"):
        Photographs(protocol, folder, tmp_path)


def test_one_image_twice_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "kodim01.png", tmp_path)
    Image.open(folder / "kodim01.png").save(tmp_path / "kodim01.jpg")
    with pytest.raises(TrialError, match=r"twice: kodim01\.jpg and kodim01\.png"):
        Photographs(small(), tmp_path)


# --- fills ------------------------------------------------------------------------------------------------------------


def test_fills_without_training_keep_known_pixels(folder: Path) -> None:
    images = Photographs(small(), folder)
    rating = rate(images, {name: UntrainedFill(name, 32) for name in UNTRAINED}, ["psnr_db"])
    for name in UNTRAINED:
        assert rating.fills[name].changed_px == [0] * 4
        assert all(10 < value < 60 for value in rating.fills[name].values["psnr_db"])


def test_changed_known_pixels_are_counted_and_not_rated(folder: Path, tmp_path: Path) -> None:
    images = Photographs(small(), folder)
    for image in images:
        changed = image.pixels_hw3.copy()
        row, column = np.argwhere(~image.hole_hw)[0]
        changed[row, column, 1] = (int(changed[row, column, 1]) + 128) % 256
        Image.fromarray(changed).save(tmp_path / f"{image.name}.png")
    rated = rate(images, {"theirs": FillFolder(tmp_path)}, ["psnr_db", "l1"]).fills["theirs"]
    assert rated.changed_px == [1] * 4
    assert rated.largest_change == 128
    assert rated.values == {"psnr_db": [100.0] * 4, "l1": [0.0] * 4}


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda file: file.unlink(), "1 of 4 are missing: kodim02"),
        (lambda file: shutil.copy(file, file.with_name("other.png")), "1 have other names: other.png"),
        (lambda file: shutil.copy(file, file.with_suffix(".webp")), "the image 'kodim02' twice"),
        (lambda file: Image.open(file).resize((31, 32)).save(file), "it has 31 x 32 px"),
        (lambda file: Image.open(file).convert("RGBA").save(file), "it has an alpha channel"),
        (lambda file: Image.fromarray(np.zeros((32, 32), np.uint16)).save(file), "more than 8 bits"),
        (lambda file: file.write_bytes(SIXTEEN_BITS[".png"]), "16 bits for each channel"),
        (lambda file: file.with_suffix(".tiff").write_bytes(_moved(file, ".tiff")), "16 bits for each channel"),
        (lambda file: Image.open(file).convert("P").save(file, transparency=0), "it has an alpha channel"),
        (lambda file: file.write_bytes(file.read_bytes()[:60]), "it does not decode"),
    ],
)
def test_fills_that_cannot_be_rated_are_refused(folder: Path, tmp_path: Path, spoil: Any, why: str) -> None:
    images = Photographs(small(), folder)
    for image in images:
        Image.fromarray(image.pixels_hw3).save(tmp_path / f"{image.name}.png")
    spoil(tmp_path / "kodim02.png")
    with pytest.raises(TrialError) as raised:
        rate(images, {"theirs": FillFolder(tmp_path)}, ["psnr_db"])
    assert why in str(raised.value)


def _sixteen_bits(ending: str) -> bytes:
    """An RGB file of 16 bits, which Pillow opens as one of 8."""
    import cv2

    return bytes(cv2.imencode(ending, np.full((32, 32, 3), 30_000, np.uint16))[1])


SIXTEEN_BITS = {ending: _sixteen_bits(ending) for ending in (".png", ".tiff")}


def _moved(file: Path, ending: str) -> bytes:
    """Remove a file that another one takes the place of; returns the content of the latter."""
    file.unlink()
    return SIXTEEN_BITS[ending]
