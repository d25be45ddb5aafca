"""Reading a forged set: the whole set, parts of it, and unfinished or damaged sets."""

from __future__ import annotations

import json

import pytest
import torch

from tests.trainables.forgery.make_forged import forge
from trainables.errors import TrialError
from trainables.forgery import forged_images

BLOCK = {
    "images": {"name": "cifar10", "train": 150, "val": 20, "test": 20},
    "mask": {"name": "box"},
    "inpainters": [{"name": "navier_stokes"}],
    "resaved": 0.5,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data_root):
    folder = tmp_path_factory.mktemp("forged")
    forge(BLOCK, folder, data_root)
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of the set that a test may damage."""
    for path in whole.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(whole)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path


def test_columns_are_aligned_and_typed(whole):
    found = forged_images.load(whole)
    train = found.train
    n = len(train)
    assert 2 * 150 < n < 3 * 150
    assert (train.image_n3hw.shape, train.image_n3hw.dtype) == ((n, 3, 32, 32), torch.uint8)
    assert (train.mask_n1hw.shape, train.mask_n1hw.dtype) == ((n, 1, 32, 32), torch.bool)
    assert train.box_n4.shape == (n, 4)
    assert len(train.source) == len(train.kind) == len(train.inpainter) == n
    fake = train.label_n == 1
    assert torch.equal(fake, torch.tensor([kind == "inpainted" for kind in train.kind]))
    assert torch.equal(fake, train.mask_n1hw.flatten(1).any(1)), "a control's changed pixels are no hole"
    assert torch.equal(fake, train.sharpness_n.isfinite())
    assert set(train.kind) <= set(forged_images.KINDS)
    assert not {*train.source} & {*found.val.source, *found.test.source}
    assert torch.equal(forged_images.load(whole, threads=1).train.image_n3hw, train.image_n3hw)


def test_a_prefix_reads_only_the_shards_it_needs(copy):
    found = forged_images.load(copy)
    rows = json.loads((copy / "index.json").read_bytes())["rows"]
    for shard, split in zip(rows["shard"], rows["split"], strict=True):
        if split == "test":
            (copy / "shards" / f"{shard}.tar").unlink(missing_ok=True)
    part = forged_images.load(copy, {"train": 11, "val": 4, "test": 0})
    assert torch.equal(part.train.image_n3hw, found.train.image_n3hw[:11])
    assert part.val.source == found.val.source[:4]
    assert len(part.test) == 0
    assert part.fingerprint == found.fingerprint
    with pytest.raises(TrialError) as caught:
        forged_images.load(copy, {"train": 10_000})
    assert "null for all" in caught.value.allowed


def test_images_by_an_index(whole):
    val = forged_images.load(whole).val
    some = val.take(torch.tensor([3, 0]))
    assert torch.equal(some.image_n3hw, val.image_n3hw[[3, 0]])
    assert some.source == [val.source[3], val.source[0]]
    assert len(some) == 2


def test_the_fingerprint_follows_pixels_masks_and_labels(whole):
    found = forged_images.load(whole)
    same = forged_images.fingerprint(found.train, found.val, found.test)
    assert same == forged_images.fingerprint(found.train, found.val, found.test)
    turned = found.val.take(torch.arange(len(found.val)).flip(0))
    assert forged_images.fingerprint(found.train, turned, found.test) != same


def break_tar(folder):
    content = bytearray((folder / "shards" / "00001.tar").read_bytes())
    content[700] ^= 1
    (folder / "shards" / "00001.tar").write_bytes(content)


@pytest.mark.parametrize(
    ("break_it", "file", "why"),
    [
        (lambda folder: (folder / "done.json").unlink(), "done.json", "unfinished"),
        (lambda folder: (folder / "done.json").write_text("{"), "done.json", "damaged"),
        (lambda folder: (folder / "index.json").write_text("{}"), "index.json", "damaged"),
        (lambda folder: (folder / "index.json").unlink(), "index.json", "cannot be read"),
        (lambda folder: (folder / "shards" / "00000.tar").unlink(), "00000.tar", "cannot be read"),
        (break_tar, "00001.tar", "damaged"),
    ],
)
def test_unfinished_and_damaged_sets_are_refused(copy, break_it, file, why):
    break_it(copy)
    with pytest.raises(TrialError) as caught:
        forged_images.load(copy)
    assert file in caught.value.given
    assert why in caught.value.why
    assert "`sweeps forge` again" in caught.value.fix
