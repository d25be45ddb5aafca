"""Photographs in two splits: copies planted among real photographs, of which all are found, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from trainables.data import leaks, likeness
from trainables.data.leaks import find_leaks
from trainables.data.splits import split_by_hash

Make = Callable[[Image.Image], Image.Image]


def cropped(image: Image.Image) -> Image.Image:
    """Without 5 % at each side."""
    left, top = (round(0.05 * side) for side in image.size)
    return image.crop((left, top, image.width - left, image.height - top))


WAYS: Mapping[str, tuple[Make, dict[str, Any]]] = {
    "saved as JPEG": (lambda image: image, {"suffix": ".jpg", "quality": 40}),
    "resized": (lambda image: image.resize((image.width // 2, image.height // 2)), {"suffix": ".png"}),
    "mirrored": (ImageOps.mirror, {"suffix": ".png"}),
    "cropped": (cropped, {"suffix": ".png"}),
    "mirrored, cropped, saved as JPEG": (
        lambda image: cropped(ImageOps.mirror(image)),
        {"suffix": ".jpg", "quality": 60},
    ),
    "its central square": (lambda image: ImageOps.fit(image, (min(image.size),) * 2), {"suffix": ".png"}),
    "brightened": (lambda image: image.point(lambda grey: round(1.2 * grey)), {"suffix": ".png"}),
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def small_kodak(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    """The Kodak photographs at half their size, in a folder `photos`."""
    root = tmp_path_factory.mktemp("kodak")
    (root / "photos").mkdir()
    for file in (data_root / "kodak24").glob("*.png"):
        with Image.open(file) as image:
            image.reduce(2).save(root / "photos" / file.name)
    return root


@pytest.fixture
def root(small_kodak: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_kodak, tmp_path / "data")
    return tmp_path / "data"


def named(split: str, start: str, suffix: str) -> str:
    """A name whose hash puts a file into a split."""
    return next(name for n in range(999) if split_by_hash(name := f"{start}{n}{suffix}") == split)


def of_split(root: Path, split: str) -> list[str]:
    return [file.name for file in sorted((root / "photos").iterdir()) if split_by_hash(file.name) == split]


def plant(root: Path, way: str, original: str, split: str) -> str:
    make, options = WAYS[way]
    name = named(split, "copy", options["suffix"])
    with Image.open(root / "photos" / original) as image:
        make(image).save(root / "photos" / name, **{key: options[key] for key in options if key != "suffix"})
    return name


FOLDER = {"name": "folder", "path": "photos", "size": 32}
CONFIGS: Mapping[str, dict[str, Any]] = {
    "photographs": {"data": FOLDER},
    "crops": {"data": {**FOLDER, "crops": 10}},
    "a forged set": {"data": {"forged": {"images": {**FOLDER, "crops": 10}}}},
}


@pytest.mark.parametrize("config", CONFIGS)
def test_kodak_has_no_leaks_and_two_copies_of_a_photograph_in_one_split_are_none(root: Path, config: str) -> None:
    plant(root, "saved as JPEG", of_split(root, "train")[0], "train")
    assert find_leaks(CONFIGS[config], root) == []


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_in_the_test_split_is_found_before_crops_are_made(root: Path, way: str) -> None:
    originals = of_split(root, "train")[:3]
    copies = {}
    for original, split in zip(originals, ("test", "test", "val"), strict=True):
        copy = plant(root, way, original, split)
        (root / "photos" / copy).rename(root / "photos" / (new := named(split, original, Path(copy).suffix)))
        copies[f"photos/{new}"] = f"photos/{original}"
    for config in CONFIGS.values():
        found = find_leaks(config, root)
        assert {leak.files[1]: leak.files[0] for leak in found} == copies
        assert {leak.how for leak in found} == {"a mirrored copy" if "mirrored" in way else "a copy"}
        assert sorted(leak.splits for leak in found) == [("train", "test"), ("train", "test"), ("train", "val")]


def test_a_root_one_level_up_puts_one_file_into_two_splits(root: Path) -> None:
    """The name of a file is relative to the folder, and decides its split."""
    config = {"data": FOLDER, "test_sets": {"all": {"forged": {"images": {**FOLDER, "path": "."}}}}}
    (root / "more").mkdir()
    moved = {f"photos/{name}" for name in of_split(root, "train") if split_by_hash(f"photos/{name}") == "test"}
    assert moved, "some name changes its split"
    found = find_leaks(config, root)
    assert {leak.files for leak in found if leak.splits == ("train", "test")} == {(name, name) for name in moved}
    assert {leak.how for leak in found} == {"the same file"}


def test_a_fake_of_a_training_photograph_in_a_test_set_is_found(root: Path) -> None:
    original = of_split(root, "train")[0]
    for part in ("images", "masks"):
        (root / "bench" / part).mkdir(parents=True)
    with Image.open(root / "photos" / original) as image:
        hole = (image.width // 4, image.height // 4, image.width // 2, image.height // 2)
        image.save(root / "bench" / "images" / "real.jpg")
        image.paste((90, 90, 90), hole)
        image.save(root / "bench" / "images" / "fake.png")
        mask = Image.new("L", image.size)
    mask.paste(255, hole)
    mask.save(root / "bench" / "masks" / "fake.png")
    (root / "bench" / "labels.csv").write_text("file,label,source,split\nreal.jpg,0,a,test\nfake.png,1,b,test\n")
    config = {"data": FOLDER, "test_sets": {"bench": {"set": {"layout": "folder", "path": "bench"}}}}
    found = [(leak.files, leak.how) for leak in find_leaks(config, root)]
    photograph = f"photos/{original}"
    assert sorted(found) == [
        ((photograph, "bench/images/fake.png"), "a copy"),
        ((photograph, "bench/images/real.jpg"), "a copy"),
    ]


@pytest.mark.parametrize("way", WAYS)
def test_a_training_photograph_among_those_of_the_protocol_is_found(root: Path, way: str) -> None:
    """A protocol rates photographs of its own, so that they are tested on like those of the test split."""
    train, val = (of_split(root, split)[0] for split in ("train", "val"))
    (root / "rated" / "more").mkdir(parents=True)
    make, options = WAYS[way]
    copies = {}
    for original in (train, val):
        with Image.open(root / "photos" / original) as image:
            name = f"rated/more/{Path(original).stem}{options['suffix']}"
            make(image).save(root / name, **{key: options[key] for key in options if key != "suffix"})
        copies[name] = f"photos/{original}"
    for protocol, expected in (
        ({"name": "x", "images": "rated"}, copies),
        ({"name": "x", "images": None}, {}),
        (None, {}),
    ):
        found = find_leaks({"data": FOLDER, "protocol": protocol}, root)
        assert {leak.files[1]: leak.files[0] for leak in found} == expected
    assert {leak.splits for leak in find_leaks({"data": FOLDER, "protocol": {"images": "rated"}}, root)} == {
        ("train", "test"),
        ("val", "test"),
    }


def test_the_test_photographs_may_be_those_of_the_protocol(root: Path) -> None:
    (root / "rated").mkdir()
    for name in of_split(root, "test"):
        shutil.copyfile(root / "photos" / name, root / "rated" / name)
    assert find_leaks({"data": FOLDER, "protocol": {"images": "rated"}}, root) == []
    assert find_leaks({"data": FOLDER, "protocol": {"images": "absent"}}, root) == []
    cifar = {"name": "cifar10", "size": 32}
    assert find_leaks({"data": cifar, "protocol": {"images": "rated"}}, root) == [], "nothing to compare with"


def test_only_the_photographs_that_are_used_count(root: Path) -> None:
    first, *_ = sorted(of_split(root, "train"))
    shutil.copyfile(root / "photos" / first, root / "photos" / named("test", "same", ".png"))
    [leak] = find_leaks({"data": FOLDER}, root)
    used = [name for split, name in leaks._files({"data": {**FOLDER, "test": 1, "train": 2}}, root)]
    assert len(used) == 3 + len(of_split(root, "val"))
    found = find_leaks({"data": {**FOLDER, "test": 1, "train": 2}}, root)
    assert found == ([leak] if set(leak.files) <= set(used) else [])


def test_views_are_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(root, "mirrored", of_split(root, "train")[0], "test")
    found = find_leaks({"data": FOLDER}, root)
    decoded: list[Path] = []
    monkeypatch.setattr(leaks, "views", lambda file: decoded.append(file) or likeness.views(file))
    assert find_leaks({"data": FOLDER}, root) == found
    assert decoded == []
    [cache] = (root.parent / "cache" / "inpaint-sweeps" / "views").iterdir()
    cache.write_bytes(b"PK damaged")
    assert find_leaks({"data": FOLDER}, root) == found
    assert len(decoded) == 25


def test_a_file_that_does_not_decode_and_images_without_details_are_like_nothing(root: Path) -> None:
    (root / "photos" / named("test", "broken", ".png")).write_bytes(b"no image")
    Image.new("RGB", (64, 48), (200, 200, 200)).save(root / "photos" / named("train", "plain", ".png"))
    Image.new("RGB", (64, 48), (90, 90, 90)).save(root / "photos" / named("test", "plain", ".png"))
    assert find_leaks({"data": FOLDER}, root) == []


def test_named_data_sets_are_not_looked_at(tmp_path: Path) -> None:
    assert find_leaks({"data": {"name": "cifar10", "size": 32}}, tmp_path) == []
    assert find_leaks({"data": {**FOLDER, "path": "absent"}}, tmp_path) == []
    assert find_leaks({"run": "train.sh"}, tmp_path) == []
