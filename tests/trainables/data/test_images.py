"""Image sets: real CIFAR-10 and Kodak images, fixed splits, one copy per process, and errors."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainables.config.sections import DataConfig
from trainables.data import images, inventory
from trainables.data.image_files import image_files
from trainables.data.sources import cifar, cub_and_pets, folders, places365
from trainables.errors import TrialError

ROOT = Path(__file__).resolve().parents[3]
FOLDER, MD5 = cifar.SETS["cifar10"].folder, cifar.SETS["cifar10"].md5


def load(root, **options):
    return images.load(DataConfig(**options).model_dump(), root)


def refused(root, **options):
    """The error of `load`. `check` must raise it as well unless it needs decoding a file."""
    with pytest.raises(TrialError) as caught:
        load(root, **options)
    error = caught.value
    assert all((error.given, error.why, error.allowed, error.fix))
    return error


# --- CIFAR-10 ---------------------------------------------------------------------------------------------------------


def test_the_published_images_in_fixed_disjoint_splits(data_root):
    cifar = load(data_root, name="cifar10")
    assert cifar.train.shape == (45_000, 3, 32, 32)
    assert cifar.val.shape == (5_000, 3, 32, 32)
    assert cifar.test.shape == (10_000, 3, 32, 32)
    # If either changes, every trial of every store was trained on another split.
    order = sorted(range(50_000), key=lambda index: hashlib.sha256(str(index).encode()).digest())
    assert cifar.fingerprint == "0ebf3a1f42abd415b4b13756a7b90fd7b1701f8f924d973ca44a3a8b7ca1c7e2"
    folder = data_root / "cifar-10-batches-py"
    parts = [pickle.loads((folder / f"data_batch_{i}").read_bytes(), encoding="latin1")["data"] for i in range(1, 6)]
    published = torch.from_numpy(np.concatenate(parts)).view(-1, 3, 32, 32)
    assert torch.equal(cifar.train[:100], published[order[:100]])
    assert torch.equal(cifar.val, published[order[45_000:]])
    assert len(set(order[:45_000]) | set(order[45_000:])) == 50_000


@pytest.mark.parametrize("name", cifar.SETS)
def test_the_files_are_those_of_torchvision(name):
    import torchvision.datasets

    published = cifar.SETS[name]
    theirs = getattr(torchvision.datasets, published.dataset)
    assert dict(map(tuple, [*theirs.train_list, *theirs.test_list])) == published.md5
    assert theirs.base_folder == published.folder
    assert theirs.url == published.url
    assert [*published.train, *published.test] == list(published.md5)


def test_subsets_are_nested_views_of_one_memory(data_root):
    whole = load(data_root, name="cifar10")
    small = load(data_root, name="cifar10", train=128, val=64, test=32)
    assert [len(small.train), len(small.val), len(small.test)] == [128, 64, 32]
    for split in images.SPLITS:
        part = getattr(small, split)
        assert part.data_ptr() == getattr(whole, split).data_ptr()
        assert torch.equal(part, getattr(whole, split)[: len(part)])
    assert small.fingerprint != whole.fingerprint
    assert load(data_root, name="cifar10", train=128, val=64, test=32) is small


def test_another_size_is_antialiased(data_root):
    options = {"name": "cifar10", "train": 64, "val": 8, "test": 8}
    native, small, large = (load(data_root, **options, size=size) for size in (32, 16, 64))
    assert small.train.shape == (64, 3, 16, 16)
    assert large.train.shape == (64, 3, 64, 64)
    weights = torch.tensor([1.0, 3, 3, 1]) / 8  # the triangle filter at half the size
    kernel = torch.outer(weights, weights).expand(3, 1, 4, 4)
    halves = torch.nn.functional.conv2d(native.train.float(), kernel, stride=2, padding=1, groups=3)
    assert (small.train.float() - halves)[..., 1:-1, 1:-1].abs().max() < 0.51
    assert abs(large.train.float().mean() - native.train.float().mean()) < 0.5


def test_to_a_device(data_root):
    subset = load(data_root, name="cifar10", train=4, val=4, test=4)
    assert torch.equal(subset.to("cpu").train, subset.train)
    assert subset.to("meta").val.device.type == "meta"


@pytest.mark.slow  # a process of its own that loads all of CIFAR-10
def test_memory(data_root):
    """CIFAR is held once, in 184 MB, whatever subsets are loaded; loading peaks below twice that."""
    code = f"""
import resource, pathlib
from trainables.data import images
from trainables.config.sections import DataConfig
def used(field):
    return int(next(line for line in open("/proc/self/status") if line.startswith(field)).split()[1]) / 1024
before = used("VmRSS")
for train in (None, 40_000, 128):
    images.load(DataConfig(name="cifar10", train=train).model_dump(), pathlib.Path({str(data_root)!r}))
print(used("VmHWM") - before, used("VmRSS") - before)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    peak, held = map(float, done.stdout.split())
    assert held < 220
    assert peak < 330


def test_threads_load_once(data_root, monkeypatch):
    decoded = []
    original = folders.FolderSource.take
    monkeypatch.setattr(folders.FolderSource, "take", lambda *a: (decoded.append(1), original(*a))[1])
    found = []
    options = {"name": "folder", "path": "kodak24", "size": 9}
    threads = [threading.Thread(target=lambda: found.append(load(data_root, **options))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decoded) == 3  # one call a split
    assert all(each is found[0] for each in found)


def test_the_cache_is_bounded(data_root):
    for size in range(8, 8 + 2 * images.KEPT):
        load(data_root, name="cifar10", train=2, val=1, test=1, size=size)
    assert len(images._kept) == images.KEPT


def test_missing_or_damaged_cifar_is_refused(data_root, tmp_path):
    error = refused(tmp_path, name="cifar10")
    assert "data_batch_1" in error.given
    assert "cifar-10-python.tar.gz" in error.fix
    folder = tmp_path / FOLDER
    folder.mkdir()
    for file in MD5:
        (folder / file).symlink_to(data_root / FOLDER / file)
    images.check(DataConfig(name="cifar10").model_dump(), tmp_path)
    (folder / "data_batch_3").unlink()
    (folder / "data_batch_3").write_bytes(b"half a download")
    error = refused(tmp_path, name="cifar10")
    assert "data_batch_3" in error.given
    assert "damaged" in error.why
    with pytest.raises(TrialError, match="data_batch_3"):
        images.check(DataConfig(name="cifar10").model_dump(), tmp_path)


def test_a_download_that_fails_says_what_to_do(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    def download(_):
        raise OSError("no route to host")

    monkeypatch.setattr(CIFAR10, "download", download)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    error = refused(None, name="cifar10")
    assert "no route to host" in error.why
    assert str(tmp_path / ".cache" / "inpaint-sweeps") in error.fix


def test_more_than_there_are_is_refused(data_root):
    error = refused(data_root, name="cifar10", train=45_001)
    assert error.fix == "train: 45000"
    with pytest.raises(TrialError, match="train"):
        images.check(DataConfig(name="cifar10", train=45_001).model_dump(), data_root)


def test_validation_from_the_test_images(data_root):
    """The split of document 002: 50,000 / 3,000 / 7,000."""
    usual, parted = load(data_root, name="cifar10"), load(data_root, name="cifar10", val_from_test=3_000)
    assert [len(getattr(parted, split)) for split in images.SPLITS] == [50_000, 3_000, 7_000]
    assert torch.equal(parted.train, torch.cat([usual.train, usual.val]))
    assert torch.equal(torch.cat([parted.test, parted.val]), usual.test)
    counts = images.check(DataConfig(name="cifar10", val_from_test=3_000).model_dump(), data_root)
    assert counts == {"train": 50_000, "val": 3_000, "test": 7_000}


# --- CIFAR-100 --------------------------------------------------------------------------------------------------------


@pytest.fixture
def cifar100(tmp_path, monkeypatch):
    """A data root with CIFAR-100 in its published form, but with 60 and 20 images; image i has the grey value i."""
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    counts, md5 = {"train": 60, "test": 20}, {}
    for file, count in counts.items():
        pixels = np.repeat(np.arange(count, dtype=np.uint8)[:, None], 3 * 32 * 32, axis=1)
        batch = {"data": pixels, "fine_labels": [0] * count, "filenames": [""] * count}
        (folder / file).write_bytes(pickle.dumps(batch))
        md5[file] = hashlib.md5((folder / file).read_bytes()).hexdigest()
    small = dataclasses.replace(cifar.SETS["cifar100"], train={"train": 60}, test={"test": 20}, md5=md5)
    monkeypatch.setitem(cifar.SETS, "cifar100", small)
    monkeypatch.setattr(cifar, "VAL", 10)
    yield tmp_path
    cifar._all.cache_clear()


def test_cifar100_is_read_and_split_as_cifar10(cifar100):
    found = load(cifar100, name="cifar100")
    order = sorted(range(60), key=lambda index: hashlib.sha256(str(index).encode()).digest())
    assert [int(image[0, 0, 0]) for image in found.train] == order[:50]
    assert [int(image[2, 9, 9]) for image in found.val] == order[50:]
    assert len(found.test) == 20
    parted = load(cifar100, name="cifar100", val_from_test=6)
    assert [len(getattr(parted, split)) for split in images.SPLITS] == [60, 6, 14]
    assert not set(parted.val[:, 0, 0, 0].tolist()) & set(parted.test[:, 0, 0, 0].tolist())


def test_missing_or_damaged_cifar100_is_refused_and_cifar10_named(cifar100):
    (cifar100 / "cifar-100-python" / "test").write_bytes(b"half a download")
    for root, why in ((cifar100, "damaged"), (cifar100 / "elsewhere", "cannot be read")):
        error = refused(root, name="cifar100")
        assert why in error.why
        assert "--set data.name=cifar10" in error.fix
        assert "cifar-100-python.tar.gz" in error.fix
        with pytest.raises(TrialError, match=why):
            images.check(DataConfig(name="cifar100").model_dump(), root)


# --- mixtures ---------------------------------------------------------------------------------------------------------


def test_training_on_others_leaves_what_is_tested_on(data_root, folder):
    few = {"name": "cifar10", "train": 9, "val": 4, "test": 3, "size": 16}
    (folder / FOLDER).symlink_to(data_root / FOLDER)
    other = {"name": "folder", "path": "p"}
    alone, others, mixed = (load(folder, **few, train_on=parts) for parts in (None, [other], [{"name": "own"}, other]))
    for found in (others, mixed):
        assert torch.equal(found.val, alone.val)
        assert torch.equal(found.test, alone.test)
    assert torch.equal(others.train, load(folder, name="folder", path="p", size=16, train=9).train)
    assert torch.equal(mixed.train, torch.cat([alone.train[:5], others.train[:4]])), "equal shares"
    assert len({each.fingerprint for each in (alone, others, mixed)}) == 3
    config = DataConfig(**few, train_on=[{"name": "own"}, other]).model_dump()
    assert images.check(config, folder) == {"train": 9, "val": 4, "test": 3}
    config["train"] = None
    there = len(load(folder, name="folder", path="p").train)
    assert images.check(config, folder)["train"] == 45_000 + there, "all of each"


def test_a_share_that_a_data_set_cannot_give_is_refused(folder):
    part = {"name": "folder", "path": "p"}
    few = {"name": "folder", "path": "p", "train": 400, "val": 1, "test": 1, "size": 8}
    error = refused(folder, **few, train_on=[part, {**part, "crops": 9}])
    assert "200 of 2 data sets' 400" in error.given
    assert "the folder p" in error.why
    assert "crops" in refused(folder, **{**few, "train": 2_000}, train_on=[{**part, "crops": 9}]).fix


# --- folders ----------------------------------------------------------------------------------------------------------


def test_crops_of_photographs(data_root):
    options = {"name": "folder", "path": "kodak24", "size": 16}
    whole, some = (load(data_root, **options, crops=3, train=count, val=4, test=2) for count in (57, 21))
    assert whole.train.shape == (57, 3, 16, 16)
    assert torch.equal(some.train, whole.train[:21]), "subsets are nested"
    assert len({image.numpy().tobytes() for image in whole.train}) == 57
    # Images 0-18 and 19-37 are crops of the same 19 files, so crops of the same file are similar in colour.
    first, second = (part.float().mean((2, 3)) for part in whole.train[:38].split(19))
    assert (first - second).norm(dim=1).mean() < (first - second.roll(1, 0)).norm(dim=1).mean()
    assert images.check(DataConfig(**options, crops=3).model_dump(), data_root) == {"train": 57, "val": 9, "test": 6}


@pytest.fixture
def folder(tmp_path):
    """A data root with a folder `p` of 60 small images in two subfolders; the left half is red, the right half blue."""
    for index in range(60):
        pixels = np.zeros((20, 30, 3), dtype=np.uint8)
        pixels[:, :15, 0], pixels[:, 15:, 2], pixels[..., 1] = 255, 255, index
        file = tmp_path / "p" / ("even" if index % 2 == 0 else "odd") / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return tmp_path


def names(image_set):
    """The indices of the images of `folder` in each split, read from the green channel."""
    return {split: [int(i[1, 0, 0]) for i in getattr(image_set, split)] for split in images.SPLITS}


def test_kodak(data_root):
    kodak = load(data_root, name="folder", path="kodak24", size=64)
    assert [len(kodak.train), len(kodak.val), len(kodak.test)] == [19, 3, 2]
    assert kodak.train.shape == (19, 3, 64, 64)
    assert kodak.train.float().std() > 30


def test_a_folder_is_split_by_name(folder):
    found = names(load(folder, name="folder", path="p", size=10))
    assert sorted(index for each in found.values() for index in each) == list(range(60))
    assert len(found["train"]) > 40
    # Adding or removing a file does not move other files to another split.
    (folder / "p" / "even" / f"{found['train'][0]}.png").unlink(missing_ok=True)
    (folder / "p" / "odd" / f"{found['train'][0]}.png").unlink(missing_ok=True)
    fewer = names(load(folder, name="folder", path="p", size=11))
    assert fewer == {**found, "train": found["train"][1:]}


def test_subsets_of_a_folder_are_nested(folder):
    whole = names(load(folder, name="folder", path="p", size=10))
    small = names(load(folder, name="folder", path="p", size=10, train=5, val=1, test=1))
    assert small == {split: whole[split][: len(small[split])] for split in images.SPLITS}


def test_short_side_and_centre_crop(folder):
    first = load(folder, name="folder", path="p", size=20).train[0]
    assert (first[0, :, :9] == 255).all()  # red left, blue right, 5 px cut off on both sides
    assert (first[2, :, 11:] == 255).all()
    assert (first[0, :, 11:] == 0).all()


def test_any_mode_and_rotation(folder):
    for file in folder.rglob("*.png"):
        image = Image.open(file)
        exif = Image.Exif()
        exif[0x0112] = 6  # upright after a quarter turn clockwise
        image.rotate(90, expand=True).save(file.with_suffix(".jpg"), exif=exif, quality=95)
        file.unlink()
    first = load(folder, name="folder", path="p", size=20).train[0].float()
    assert first[0, :, :8].mean() > 240
    assert first[0, :, 12:].mean() < 15
    for mode in ("L", "RGBA", "P", "CMYK", "1", "LA"):
        Image.new(mode, (12, 12)).save(folder / f"{mode}.tif")
    assert len(image_files(folder, "x")) == 66


def test_a_split_file(folder):
    rows = ["file,split", "even/0.png,train", "odd/1.png,val", "even/2.png,test", "odd/3.png,train"]
    (folder / "split.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    found = names(load(folder, name="folder", path="p", split="split.csv", size=10))
    assert {split: sorted(each) for split, each in found.items()} == {"train": [0, 3], "val": [1], "test": [2]}


@pytest.mark.parametrize(
    ("rows", "line", "why"),
    [
        (["name,split", "even/0.png,train"], 1, "columns"),
        ([], 1, "missing"),
        (["file,split", "even/0.png,training"], 2, "'training'"),
        (["file,split", "even/0.png"], 2, "None"),
        (["file,split", "even/1.png,train"], 2, "not an image"),
        (["file,split", "even/0.png,train", "even/0.png,val"], 3, "twice"),
    ],
)
def test_a_wrong_split_file_is_refused(folder, rows, line, why):
    (folder / "split.csv").write_text("\n".join(rows))
    error = refused(folder, name="folder", path="p", split="split.csv", size=10)
    assert f"split.csv, line {line}" in error.given
    assert why in error.why


def test_what_does_not_decode_is_named(folder):
    bad = folder / "p" / "even" / "0.png"
    for content in (b"", b"no image", (folder / "p" / "even" / "2.png").read_bytes()[:60]):
        bad.write_bytes(content)
        error = refused(folder, name="folder", path="p", size=10)
        assert str(folder / "p") in error.given
        assert "1 of 60 files cannot be used: even/0.png (it does not decode: " in error.why
    Image.fromarray(np.zeros((9, 9), dtype=np.uint16)).save(bad)
    assert "8 bits" in refused(folder, name="folder", path="p", size=10).why


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"path": "q"}, "does not exist"),
        ({"path": "/p"}, "data root"),
        ({"path": "empty"}, "no image"),
        ({"path": "p", "split": "none.csv"}, "does not exist"),
        ({"path": "p", "train": 61}, "images"),
        ({"path": "single"}, "empty"),
    ],
)
def test_folders_that_cannot_serve_are_refused(folder, options, expected):
    (folder / "empty").mkdir()
    (folder / "empty" / ".hidden.png").write_bytes(b"")
    (folder / "single").mkdir()
    Image.new("RGB", (9, 9)).save(folder / "single" / "a.png")
    error = refused(folder, name="folder", **options)
    assert expected in f"{error.why} {error.allowed}"
    with pytest.raises(TrialError):
        images.check(DataConfig(name="folder", **options).model_dump(), folder)


def test_a_folder_needs_a_data_root():
    assert "SWEEPS_DATA" in refused(None, name="folder", path="p").fix


# --- files as they come -----------------------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path):
    """300 small images in the folder `many`."""
    (tmp_path / "many").mkdir()
    for number in range(300):
        pixels = np.random.default_rng(number).integers(0, 256, (10, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "many" / f"{number:03d}.png")
    return tmp_path


def test_few_damaged_files_are_left_out_and_named(many):
    whole = (many / "many" / "004.png").read_bytes()
    (many / "many" / "000.png").write_bytes(b"x")
    (many / "many" / "004.png").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match=r"000\.png .*; 004\.png "):
        found = load(many, name="folder", path="many", size=10)
    assert sum(len(getattr(found, split)) for split in images.SPLITS) == 298
    counts = images.image_counts(DataConfig(name="folder", path="many", size=10), many)
    for split in images.SPLITS:
        ((source, count),) = counts[split]
        assert count == len(getattr(found, split)), "captions and masks stay aligned"
        assert not {"000.png", "004.png"} & set(source.names(split, 0, count))


def test_more_damaged_files_are_named_at_once_before_and_after_decoding(many):
    for number in range(4):
        (many / "many" / f"{number:03d}.png").write_bytes(b"x")
    config = DataConfig(name="folder", path="many", size=10)
    for look in (lambda: images.check(config.model_dump(), many), lambda: images.load(config.model_dump(), many)):
        with pytest.raises(TrialError) as caught:
            look()
        assert "4 of 300 files" in caught.value.why
        assert all(f"{number:03d}.png" in caught.value.why for number in range(4))


def test_linked_folders_are_followed_but_not_in_circles(many):
    (many / "top" / "own").mkdir(parents=True)
    Image.new("RGB", (10, 10)).save(many / "top" / "own" / "a.png")
    (many / "top" / "linked").symlink_to(many / "many")
    (many / "top" / "own" / "circle").symlink_to(many / "top")
    names = image_files(many / "top", "x")
    assert len([name for name in names if name.startswith("linked/")]) == 300
    assert "own/a.png" in names
    assert len(names) == 301


def test_names_that_are_no_utf_8_are_used(many):
    Image.new("RGB", (10, 10)).save(many / "many" / "caf\udce9.png")
    found = load(many, name="folder", path="many", size=10)
    assert sum(len(getattr(found, split)) for split in images.SPLITS) == 301


@pytest.mark.parametrize("side", [*range(8, 128), 299, 720, 768, 1080, 1999])
def test_crops_stay_inside_images_of_every_size(side):
    """exp(log(n)) is a little more than n for every second n."""
    image = Image.new("RGB", (side, side + 3))
    assert len(list(folders._crops(image, range(3), side, 7))) == 3


@pytest.mark.parametrize(("encoding", "looks"), [("utf-16", "UTF-16"), ("cp1252", "Windows-1252")])
def test_a_table_in_another_encoding_is_refused_by_name(many, encoding, looks):
    (many / "split.csv").write_bytes("file,split\nä.png,train".encode(encoding))
    error = refused(many, name="folder", path="many", split="split.csv", size=10)
    assert "split.csv" in error.given
    assert looks in error.why
    assert "iconv" in error.fix


def test_the_inventory_counts_like_a_run_and_names_the_folders_of_published_sets(many, data_root):
    for options in ({"name": "folder", "path": "many"}, {"name": "folder", "path": "many", "crops": 2, "train": 100}):
        section = DataConfig(size=10, **options).model_dump()
        assert inventory.check({"data": section}, many) == images.check(section, many)
    for options in ({"name": "cifar10"}, {"name": "cifar10", "val_from_test": 3_000, "train": 7}):
        section = DataConfig(**options).model_dump()
        assert inventory.check({"data": section}, data_root) == images.check(section, data_root)
    assert {
        **{name: cifar.SETS[name].folder for name in cifar.SETS},
        "places365_val": places365.IMAGES,
        "cub200": cub_and_pets.CUB,
        "oxford_pets": cub_and_pets.PETS,
    } == inventory.FOLDERS
    assert inventory.absent_sets({"data": {"name": "cifar10"}}, many) == ["cifar10"]


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"data": {"name": "folder", "path": "absent", "size": 10}}, "absent"),
        ({"data": {"name": "folder", "path": "many", "size": 10, "train": 999}}, "999"),
        ({"data": {"name": "folder", "path": "many", "size": 10, "split": "no.csv"}}, "no.csv"),
        ({"mask": {"name": "irregular", "path": "none"}}, "none"),
        ({"test_masks": {"a": {"name": "irregular", "path": "none"}}}, "none"),
        ({"features": {"name": "vgg16", "weights": "vgg.pth"}}, "vgg.pth"),
        ({"data": {"set": {"layout": "folder", "path": "many"}}}, "labels.csv"),
    ],
)
def test_the_inventory_refuses_what_a_run_would_refuse(many, config, word):
    with pytest.raises(TrialError, match=word):
        inventory.check(config, many)


def test_the_inventory_tells_what_mask_files_cover_and_warns_if_it_is_not_what_is_asked(tmp_path):
    for i in range(150):
        pixels = np.zeros((20, 20), np.uint8)
        pixels[:5, : 20 if i % 50 else 2] = 255  # a quarter, or a fortieth
        (tmp_path / "m").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "m" / f"{i:03}.png")

    def notes(**options):
        mask = {"name": "irregular", "path": "m", "hole": "white", "fraction": None, **options}
        return inventory.mask_notes({"mask": mask, "test_masks": {"same": mask}, "data": {"size": 20}}, tmp_path)

    assert notes() == ["masks: m, 150 files, holes cover 24.1% of the image on average (75 files measured)"]
    [other] = notes(hole="black")
    assert other.startswith("warning: masks: m, 150 files, holes cover 75.9% of the image")
    assert "mask.hole" in other
    assert notes(fraction=[0.2, 0.3]) == notes()
    [few] = notes(fraction=[0.02, 0.03])
    assert few.startswith("warning: ")
    assert "`fraction` asks for 2% to 3%, which 3 of 75 files have" in few
