"""What is particular to one published layout of manipulated images."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.trainables.forgery import published_layouts
from tests.trainables.forgery.published_layouts import save
from trainables.errors import TrialError
from trainables.forgery import layouts
from trainables.forgery.config import resolve_set
from trainables.forgery.public_file_lists import listing

GREY = np.full((8, 8, 3), 99, np.uint8)
MASK = np.full((8, 8), 255, np.uint8)
TRIPLES = [(GREY, GREY, MASK)] * 3


def listed(layout: str, path: Path) -> dict[str, tuple[str, str, str, str]]:
    """By the name of an image: the name of its mask with its folder, its source, inpainter and split."""
    found = listing(layout)(path, None)
    names = {entry.image.name: entry for entry in found}
    assert len(names) == len(found)
    masks = {name: entry.mask.relative_to(path).as_posix() if entry.mask else "" for name, entry in names.items()}
    return {name: (masks[name], one.source, one.inpainter, one.split) for name, one in names.items()}


def test_the_page_has_a_line_that_can_be_typed_for_every_layout() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "published-sets.md").read_text()
    sections = [resolve_set(yaml.safe_load(line)) for line in re.findall(r"`(\{layout: .*?\})`", page)]
    assert {section["layout"] for section in sections} == set(layouts.NAMES)


def test_every_docstring_says_where_the_layout_was_found() -> None:
    for name in set(layouts.NAMES) - {"folder"}:
        text = listing(name).__globals__["__doc__"]
        assert any(words in text for words in ("layout is", "names are those of", "layout was not found")), name


def test_tgif_has_a_mask_for_every_model_and_size(tmp_path: Path) -> None:
    """Spliced images have the hole with Photoshop's border; regenerated ones that of the part that was filled."""
    for name in ("7_orig.png", "7_orig_512.png", "7_orig_1024.png", "8_orig.png"):
        save(tmp_path / "original" / "testing" / name, GREY)
    expected = {
        "SD2-sp/testing/7_mask_segm.png_ps_mask.png_sd2_0.png": ("masks/testing/7_mask_segm.png_ps_mask.png", "sd2-sp"),
        "PS-sp/testing/7_mask_bbox.png_ps_2.png": ("masks/testing/7_mask_bbox.png_ps_mask.png", "ps-sp"),
        "SD2-fr/testing/7_mask_bbox.png_sd2-512_1.png": ("masks/testing/7_mask_bbox_512.png", "sd2-fr"),
        "f/testing/7_mask_bbox.png_flux1dev-1024_1.png": ("masks-flux/testing/7_mask_bbox_1024.png", "flux1dev-fr"),
        "r/testing/7_mask_random.png_sd2_1.png": ("masks-sd2/testing/7_mask_random.png", "sd2-sp"),
    }
    for image, (mask, _) in expected.items():
        save(tmp_path / image, GREY)
        save(tmp_path / mask, MASK)
    save(tmp_path / "masks" / "testing" / "7_mask_bbox_1024.png", MASK)  # of another part of the photograph
    found = listed("tgif", tmp_path)
    for image, (mask, inpainter) in expected.items():
        assert found[Path(image).name] == (mask, "000000000007", inpainter, "test")
    assert {name for name, (mask, *_) in found.items() if not mask} == {
        "7_orig.png",
        "7_orig_512.png",
        "7_orig_1024.png",
    }, "photographs at the sizes of their fakes, and none without a fake"


def test_a_photograph_of_tgif_is_in_the_split_of_its_fakes(tmp_path: Path) -> None:
    """Otherwise a photograph could be trained on whose fakes are tested."""
    for number, split in enumerate(("training", "validation", "testing")):
        save(tmp_path / "originals" / f"{number}_orig.png", GREY)
        save(tmp_path / f"sp_{split}" / f"{number}_mask_bbox.png_ps_mask.png_sd2_0.png", GREY)
    splits = {name: split for name, (*_, split) in listed("tgif", tmp_path).items() if "orig" in name}
    assert splits == {"0_orig.png": "train", "1_orig.png": "val", "2_orig.png": "test"}


def test_tgif_names_are_one_source_in_sets_of_ms_coco(tmp_path: Path) -> None:
    for layout in ("tgif", "cocoglide", "coco_inpaint"):
        published_layouts.LAYOUTS[layout][0](tmp_path / layout, TRIPLES)
    sources = [{source for _, source, *_ in listed(name, tmp_path / name).values()} for name in ("tgif", "cocoglide")]
    assert sources[0] == sources[1] == {f"{number:012d}" for number in range(3)}


def test_casia1_is_read_as_it_is_unpacked(tmp_path: Path) -> None:
    published_layouts.make_casia1(tmp_path, TRIPLES)
    before = listed("casia1", tmp_path)
    assert not any("cha0011" in name for name in before), "the image without a published mask"
    assert {source for _, source, *_ in before.values()} == {"sec0000", "sec0001", "sec0002"}
    (tmp_path / "Modified Tp").mkdir()
    (tmp_path / "Tp").rename(tmp_path / "Modified Tp" / "Tp")
    assert listed("casia1", tmp_path) == before


def test_every_quality_of_autosplice_that_is_there_is_read(tmp_path: Path) -> None:
    published_layouts.make_autosplice(tmp_path, TRIPLES)
    save(tmp_path / "Forged_JPEG100" / "1_3.jpg", GREY)
    found = listed("autosplice", tmp_path)
    assert found["1_3.jpg"] == ("Mask/1_mask.png", "1", "dalle2_jpeg100", "")
    assert {inpainter for *_, inpainter, _ in found.values()} == {"", "dalle2_jpeg75", "dalle2_jpeg100"}


def test_images_of_nist16_have_the_photograph_that_they_were_made_from(tmp_path: Path) -> None:
    published_layouts.make_nist16(tmp_path, TRIPLES)
    file = tmp_path / "reference" / "manipulation" / "NC2016-manipulation-ref.csv"
    file.write_text(file.read_text().replace("world/NC2016_0001.jpg", "world/NC2016_0000.jpg"))
    sources = {name: source for name, (_, source, *_) in listed("nist16", tmp_path).items()}
    assert sources["NC2016_5000.jpg"] == sources["NC2016_5001.jpg"] == "NC2016_0000"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("IsTarget", "Target", "line 1\n  why:     it has no column IsTarget"),
        ("|Y|Y|", "|yes|Y|", "line 3\n  why:     the row names the image 'probe/NC2016_5000.jpg' with IsTarget 'yes'"),
        ("probe/NC2016_0000.jpg", "", "line 2\n  why:     the row names the image ''"),
        ("probe/NC2016_0000.jpg", "../NC2016_0000.jpg", "it is outside the set's folder"),
        ("reference/manipulation/mask/NC2016_0000.png", "", "NC2016_5000.jpg is manipulated, and no mask is named"),
    ],
)
def test_a_damaged_reference_of_nist16_is_refused(tmp_path: Path, old: str, new: str, why: str) -> None:
    published_layouts.make_nist16(tmp_path, TRIPLES)
    file = tmp_path / "reference" / "manipulation" / "NC2016-manipulation-ref.csv"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(TrialError) as raised:
        listing("nist16")(tmp_path, None)
    assert why in str(raised.value)


def test_an_unknown_layout_names_those_that_there_are() -> None:
    with pytest.raises(TrialError) as raised:
        resolve_set({"layout": "columbus", "path": "s"})
    assert raised.value.allowed == ", ".join(layouts.NAMES)
    assert "did you mean 'columbia'" in raised.value.fix
