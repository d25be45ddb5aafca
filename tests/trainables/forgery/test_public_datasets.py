"""Public sets as small folders in their published layouts with real photographs, and errors."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tests.trainables.forgery.published_layouts import ANY_SIZE, LAYOUTS, is_mask, make_defacto, make_folder, save
from trainables.data import inventory
from trainables.errors import TrialError
from trainables.forgery import forged_images, layouts, public_datasets
from trainables.forgery.config import resolve_set

SPLITS = forged_images.SPLITS
COUNT = 40
"""Number of photographs in each small set: enough for every split to have some."""


@pytest.fixture(scope="module")
def photographs(data_root):
    """COUNT crops of Kodak photographs, 48 px high and 64 px wide, each with its own fill and the mask of its hole."""
    found = []
    image = np.array(Image.open(data_root / "kodak24" / "kodim05.png").convert("RGB"))
    for number in range(COUNT):
        top, left = 11 * number % 400, 17 * number % 600
        real = np.ascontiguousarray(image[top : top + 48, left : left + 64])
        mask = np.zeros((48, 64), dtype=np.uint8)
        mask[12:24, 8 + number % 16 : 40] = 255
        found.append((real, cv2.inpaint(real, mask, 3, cv2.INPAINT_TELEA), mask))
    return found


def load(root, layout, **options):
    given = {"layout": layout, **LAYOUTS[layout][1], "size": 48, **options}
    return public_datasets.load(resolve_set(given), root)


def refused(root, layout, **options):
    with pytest.raises(TrialError) as caught:
        load(root, layout, **options)
    error = caught.value
    assert all((error.given, error.why, error.allowed, error.fix))
    return error


def test_every_layout_is_tested():
    assert set(LAYOUTS) == set(layouts.NAMES)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_published_layout(tmp_path, photographs, layout):
    make, _, inpainter = LAYOUTS[layout]
    make(tmp_path / "s", photographs)
    found = load(tmp_path, layout)
    parts = [getattr(found, split) for split in SPLITS]
    assert sum(map(len, parts)) == 2 * COUNT
    sources = [set(part.source) for part in parts]
    own = 2 if layout == "columbia" else 1  # its names do not tell which photograph an image was made from
    assert len(set.union(*sources)) == sum(map(len, sources)) == own * COUNT, "split by photograph"
    for part in parts:
        assert own == 2 or part.label_n.mean() == 0.5
        fake = part.take(part.label_n.nonzero()[:, 0])
        assert set(fake.inpainter) == {inpainter}
        share = torch.tensor([photographs[0][2].mean() / 255])
        assert (fake.hole_share_n / share).min() > 0.3
        for box, mask in zip((fake.box_n4 * 48).round().int().tolist(), fake.mask_n1hw[:, 0], strict=True):
            assert abs(box[1] - 12) <= 1
            assert abs(box[3] - 24) <= 1
            assert mask[box[1] : box[3], box[0] : box[2]].float().mean() > 0.85
    assert found.fingerprint == load(tmp_path, layout).fingerprint
    some = load(tmp_path, layout, train=6)
    assert torch.equal(some.train.image_n3hw, found.train.image_n3hw[:6])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_masks_are_refused(tmp_path, photographs, layout):
    make, _, _ = LAYOUTS[layout]
    make(tmp_path / "s", photographs)
    [gone, *_] = (path for path in sorted((tmp_path / "s").rglob("*")) if is_mask(path, tmp_path))
    for path in gone.parent.glob(f"{gone.stem.partition('.png')[0].removesuffix('copy')}*"):
        path.unlink()  # COVERAGE and TGIF have several masks of an image
    error = refused(tmp_path, layout)
    assert gone.stem.partition(".png")[0].removesuffix("copy") in f"{error.given} {error.why}"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_folder_is_refused(tmp_path, layout):
    (tmp_path / "s" / "set").mkdir(parents=True)
    (tmp_path / "s" / "coco").mkdir()
    assert str(tmp_path) in refused(tmp_path, layout).given


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in ANY_SIZE])
def test_a_mask_of_another_size_is_refused(tmp_path, photographs, layout):
    larger = [(real, fake, np.pad(mask, 1)) for real, fake, mask in photographs]
    LAYOUTS[layout][0](tmp_path / "s", larger)
    assert "66x50 px, its image 64x48" in refused(tmp_path, layout).why


def test_check_refuses_a_set_without_a_class_or_a_split(tmp_path, photographs):
    make_folder(tmp_path / "s", photographs)
    rows = (tmp_path / "s" / "labels.csv").read_text().splitlines()
    section = {"data": {"set": resolve_set({"layout": "folder", "path": "s"})}}
    counts = inventory.check(section, tmp_path)
    assert sum(counts.values()) == 2 * COUNT
    forged = {"forged": {"images": {"name": "folder", "path": "s/images"}}}
    assert inventory.check({**section, "test_sets": {"own": section["data"], "made": forged}}, tmp_path) == counts

    (tmp_path / "s" / "labels.csv").write_text("\n".join(row for row in rows if "_fake" not in row))
    with pytest.raises(TrialError, match=r"data\.set\.path(.|\n)*no manipulated image"):
        inventory.check(section, tmp_path)
    (tmp_path / "s" / "labels.csv").write_text("\n".join([f"{rows[0]},split", *(f"{row},train" for row in rows[1:])]))
    with pytest.raises(TrialError, match="the val split"):
        inventory.check(section, tmp_path)
    for other in (tmp_path / "s" / "images").glob("[1-9]*"):
        other.unlink()
    with pytest.raises(TrialError, match=r"test_sets\.made(.|\n)*it is empty"):
        inventory.check({"test_sets": {"made": forged}}, tmp_path)
    forged["forged"]["images"]["path"] = "elsewhere"
    assert inventory.check({"data": forged}, tmp_path) is None, "the store may have the set"
    assert inventory.absent_sets({"data": forged}, tmp_path) == ["elsewhere"]


def test_one_class_only_is_refused(tmp_path, photographs):
    make_defacto(tmp_path / "s", photographs)
    error = refused(tmp_path, "defacto", authentic=None)
    assert "one class only" in error.why
    assert "authentic" in error.fix
    assert "one class only" in refused(tmp_path, "defacto", test=1).why


def test_a_set_that_is_only_tested_on_may_have_one_class(tmp_path, photographs):
    """Localisation benchmarks have fakes only, and no splits."""
    make_folder(tmp_path / "s", photographs)
    file = tmp_path / "s" / "labels.csv"
    file.write_text("\n".join(row for row in file.read_text().splitlines() if "_real" not in row))
    section = {"layout": "folder", "path": "s", "size": 48}
    for use, count in (("all", COUNT), ("test", 6)):
        given = resolve_set({**section, "use": use})
        found = public_datasets.load(given, tmp_path, test_alone=True)
        assert (len(found.train), len(found.val), len(found.test)) == (0, 0, count)
        assert found.test.label_n.all()
        assert found.test.mask_n1hw.any((1, 2, 3)).all()
        inventory.check({"test_sets": {"bench": {"set": given}}}, tmp_path)
    some = public_datasets.load(resolve_set({**section, "use": "all", "test": 3}), tmp_path, test_alone=True)
    assert torch.equal(
        some.test.image_n3hw,
        public_datasets.load(given | {"use": "all"}, tmp_path, test_alone=True).test.image_n3hw[:3],
    )
    with pytest.raises(TrialError, match="the set has 40 images"):
        inventory.check({"test_sets": {"bench": {"set": resolve_set({**section, "use": "all", "test": 41})}}}, tmp_path)
    file.write_text("\n".join(["file,label,split", *(f"{number}_fake.png,1,train" for number in range(COUNT))]))
    with pytest.raises(TrialError, match=r"test_sets\.bench(.|\n)*use: all"):
        inventory.check({"test_sets": {"bench": {"set": resolve_set(section)}}}, tmp_path)
    with pytest.raises(TrialError, match="use: all"):
        resolve_set({**section, "use": "all", "train": 5})


def test_boxes_without_masks(tmp_path, photographs):
    make_folder(tmp_path / "s", photographs)
    boxed = ["file,label,source,x1,y1,x2,y2"]
    for number in range(COUNT):
        boxed += [f"{number}_real.png,0,{number},,,,", f"{number}_fake.png,1,{number},16,12,48,24"]
    for path in (tmp_path / "s" / "masks").iterdir():
        path.unlink()
    (tmp_path / "s" / "labels.csv").write_text("\n".join(boxed))
    fake = load(tmp_path, "folder").train
    assert torch.allclose(fake.box_n4[fake.label_n == 1], torch.tensor([0.25, 0.25, 0.75, 0.5]))
    (tmp_path / "s" / "labels.csv").write_text("\n".join(boxed).replace("0,16,12,48,24", "0,16,12,65,24"))
    error = refused(tmp_path, "folder")
    assert "0_fake.png (the box 16 12 65 24 is empty" in error.why
    assert "64x48" in error.why


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("file,label", "name,label"), "columns"),
        (("3_fake.png,1", "3_fake.png,yes"), "'yes'"),
        (("3_fake.png,1", "3_missing.png,1"), "neither a mask"),
        (("3_real.png,0", "3_missing.png,0"), "missing"),
        (("3_real.png,0", "../3_real.png,0"), "outside the set"),
    ],
)
def test_wrong_labels_are_refused(tmp_path, photographs, change, expected):
    make_folder(tmp_path / "s", photographs)
    file = tmp_path / "s" / "labels.csv"
    file.write_text(file.read_text().replace(*change))
    assert expected in str(refused(tmp_path, "folder"))


@pytest.mark.parametrize(
    ("columns", "row", "expected"),
    [
        ("", "3_real.png,0,3,", ("line 10", "3_real.png is listed twice: first in line 8")),
        ("", "3_real.png,1,3,telea", ("line 10", "3_real.png", "label 0 there and 1 here")),
        ("", "more/3_real.png,0,3,", ("line 10", "more/3_real.png and 3_real.png (line 8) have the same stem")),
        ("", "3_real.jpg,0,3,", ("3_real.jpg and 3_real.png", "same stem")),
        (",split", "new.png,0,3,,test", ("source '3'", "two splits: train and test (lines 8 and 10)")),
        (",x1,y1,x2,y2", "new.png,1,99,,1,2,3,", ("line 10", "new.png has only a part of a box: x1, y1, x2")),
    ],
)
def test_labels_that_contradict_each_other_are_refused_by_line(tmp_path, photographs, columns, row, expected):
    make_folder(tmp_path / "s", photographs[:4])
    save(tmp_path / "s" / "masks" / "3_real.png", photographs[0][2])
    file = tmp_path / "s" / "labels.csv"
    header, *rows = file.read_text().splitlines()
    rest = ",train" if columns == ",split" else "," * columns.count(",")
    file.write_text("\n".join([header + columns, *(each + rest for each in rows), row]))
    told = str(refused(tmp_path, "folder"))
    assert all(words in told for words in expected), told


def test_two_masks_with_one_stem_are_refused(tmp_path, photographs):
    make_folder(tmp_path / "s", photographs[:4])
    save(tmp_path / "s" / "masks" / "3_fake.bmp", photographs[0][2])
    assert "3_fake.bmp and 3_fake.png have the same stem" in refused(tmp_path, "folder").why


def test_a_box_that_disagrees_with_its_mask_is_refused(tmp_path, photographs):
    make_folder(tmp_path / "s", photographs)
    file = tmp_path / "s" / "labels.csv"
    header, *rows = file.read_text().splitlines()
    boxes = [f"{8 + number // 2 % 16},12,39,23" if number % 2 else ",,," for number in range(2 * COUNT)]  # inclusive
    file.write_text("\n".join([f"{header},x1,y1,x2,y2", *map(",".join, zip(rows, boxes, strict=True))]))
    assert load(tmp_path, "folder").train.label_n.sum() > 0
    boxes[7] = "8,12,20,24"
    file.write_text("\n".join([f"{header},x1,y1,x2,y2", *map(",".join, zip(rows, boxes, strict=True))]))
    error = refused(tmp_path, "folder")
    assert "3_fake.png, box 8 12 20 24" in error.given
    assert "whose box is 11 12 40 24" in error.why


def test_masks_of_0_and_1_are_told_from_empty_ones(tmp_path, photographs):
    make_folder(tmp_path / "s", [(real, fake, mask // 255) for real, fake, mask in photographs])
    assert "0 and 1 instead of 0 and 255" in refused(tmp_path, "folder").why


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ('[["/etc/a.png", "Negative"]]', "outside the set"),
        ('[["real/1.jpg", "../m.png"]]', "outside the set"),
        ('[["a"]]', "not a list"),
        ("{", "not a list"),
    ],
)
def test_wrong_lists_are_refused(tmp_path, pairs, expected):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "list.json").write_text(pairs)
    assert expected in refused(tmp_path, "coco_inpaint").why


def test_a_photograph_that_several_lists_have_counts_once(tmp_path, photographs):
    LAYOUTS["coco_inpaint"][0](tmp_path / "s", photographs)
    section = resolve_set({"layout": "coco_inpaint", "path": "s", "size": 32, "use": "all"})
    before = public_datasets.load(section, tmp_path, test_alone=True).test
    lists = sorted((tmp_path / "s").glob("*.json"))
    pairs = json.loads(lists[0].read_text())
    (tmp_path / "s" / "another.json").write_text(json.dumps([pair for pair in pairs if pair[1] == "Negative"]))
    after = public_datasets.load(section, tmp_path, test_alone=True).test
    assert after.source == before.source
    fake, mask = next(pair for pair in pairs if pair[1] != "Negative")
    (tmp_path / "s" / "another.json").write_text(json.dumps([[fake, "Negative"]]))
    with pytest.raises(TrialError) as raised:
        public_datasets.load(section, tmp_path, test_alone=True)
    assert Path(fake).name in raised.value.given
    assert f"listed twice, with label 0 and mask {Path(mask).name}" in raised.value.why


def test_an_empty_split_is_named(tmp_path, photographs):
    LAYOUTS["casia1"][0](tmp_path / "s", photographs[:1])
    error = refused(tmp_path, "casia1")
    assert "images is in the" in error.why
    assert "test_sets" in error.fix


def test_an_unusable_set_is_not_said_to_have_shards(tmp_path, photographs):
    LAYOUTS["casia1"][0](tmp_path / "s", photographs)
    for file in (tmp_path / "s" / "Au").iterdir():
        file.write_bytes(b"no image")
    error = refused(tmp_path, "casia1")
    assert error.fix.endswith("run the same command again")


def test_a_tiny_hole_is_kept_and_an_empty_mask_refused(tmp_path, photographs):
    make_folder(tmp_path / "s", photographs)
    for path in (tmp_path / "s" / "masks").iterdir():
        mask = np.zeros((48, 64), dtype=np.uint8)
        mask[30, 33] = 255
        save(path, mask)
    fake = load(tmp_path, "folder", size=8).train
    assert (fake.mask_n1hw[fake.label_n == 1].sum((1, 2, 3)) == 1).all()
    save(path, np.zeros((48, 64), dtype=np.uint8))
    assert "no white pixel" in refused(tmp_path, "folder").why


def test_few_unreadable_files_are_left_out_with_a_warning(tmp_path, photographs):
    make_folder(tmp_path / "s", photographs[:1] * 130)
    (tmp_path / "s" / "images" / "7_real.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"7_real\.png"):
        found = load(tmp_path, "folder", size=16)
    assert sum(len(getattr(found, split)) for split in SPLITS) == 259
    save(tmp_path / "s" / "masks" / "9_fake.png", np.full((64, 48), 255, dtype=np.uint8))
    with pytest.warns(UserWarning, match="9_fake.png .the mask has 48x64 px, its image 64x48.") as told:
        found = load(tmp_path, "folder", size=16)
    assert "7_real.png" in str(told[0].message)
    assert sum(len(getattr(found, split)) for split in SPLITS) == 258
    for number in range(3):
        (tmp_path / "s" / "images" / f"{number}_real.png").write_bytes(b"")
    error = refused(tmp_path, "folder", size=16)
    assert "5 of 260" in error.given
    assert all(name in error.why for name in ("0_real.png", "1_real.png", "2_real.png", "7_real.png", "9_fake.png"))


def test_authentic_photographs_go_with_defacto_alone():
    with pytest.raises(TrialError, match="authentic"):
        resolve_set({"layout": "casia", "path": "s", "authentic": "coco"})
    with pytest.raises(TrialError, match="layout"):
        resolve_set({"layout": "casia3", "path": "s"})
