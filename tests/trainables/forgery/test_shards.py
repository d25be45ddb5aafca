"""Forged sets of real CIFAR-10 and Kodak photographs: changed and unchanged pixels, equal bytes, and errors."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tests.trainables.forgery.make_forged import forge
from trainables import registry
from trainables.config.sections import SizedConfig
from trainables.data import images, inventory
from trainables.errors import TrialError
from trainables.forgery import composites, forged_images, near_duplicates
from trainables.forgery import shards as forged_shards
from trainables.forgery.config import forge_needs, forged_id, resolve_forge
from trainables.inpaint import inference
from trainables.inpaint.methods.vanilla_autoencoder.config import Config
from trainables.inpaint.methods.vanilla_autoencoder.network import build as build_autoencoder
from trainables.match.text_encoder import Vocabulary
from trainables.schema import resolve
from trainables.training import networks
from trainables.training.checkpoint import load_weights

CIFAR = {"name": "cifar10", "train": 100, "val": 20, "test": 20}
BLOCK = {"images": CIFAR, "mask": {"name": "box"}, "inpainters": [{"name": "telea"}, {"name": "mean_fill"}]}


@pytest.fixture
def made(tmp_path, data_root):
    """A function that forges BLOCK with changes, and loads the set."""

    def make(name="set", trained=None, **changes):
        forge({**BLOCK, **changes}, tmp_path / name, data_root, trained)
        return forged_images.load(tmp_path / name)

    return make


def of_kind(split, kind):
    return split.take(torch.tensor([i for i, each in enumerate(split.kind) if each == kind]))


def photographs(data_root, split="train", **section):
    config = SizedConfig.model_validate({**CIFAR, **section})
    return images.source(config, data_root).take(split, getattr(config, split), config.size)


# --- what changes -----------------------------------------------------------------------------------------------------


def test_only_hole_pixels_change_and_boxes_bound_the_holes(made, data_root):
    found = made()
    real, fake = of_kind(found.train, "real"), of_kind(found.train, "inpainted")
    assert torch.equal(real.image_n3hw, photographs(data_root))
    assert fake.source == real.source
    assert set(fake.inpainter) == {"telea", "mean_fill"}
    changed = (fake.image_n3hw != real.image_n3hw).any(1, keepdim=True)
    assert not (changed & ~fake.mask_n1hw).any()
    assert changed.sum() > 0.8 * fake.mask_n1hw.sum()
    box = (fake.box_n4 * 32).round().int().tolist()
    for (x1, y1, x2, y2), mask in zip(box, fake.mask_n1hw[:, 0], strict=True):
        assert mask.sum() == (x2 - x1) * (y2 - y1), "a rectangle and its box are the same pixels"
        assert mask[y1:y2, x1:x2].all()
    torch.testing.assert_close(fake.hole_share_n, fake.mask_n1hw.float().mean((1, 2, 3)))
    assert not real.mask_n1hw.any()
    assert not real.box_n4.any()
    assert real.sharpness_n.isnan().all()
    flat = torch.tensor([name == "mean_fill" for name in fake.inpainter])
    assert fake.sharpness_n[flat].max() < 0.01, "a flat fill has no edges inside"
    assert fake.sharpness_n[~flat].median() > 0.01


def test_lines_get_the_box_around_all_of_them(made):
    fake = of_kind(made(mask={"name": "lines"}).train, "inpainted")
    for box, mask in zip((fake.box_n4 * 32).round().int(), fake.mask_n1hw[:, 0], strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_a_trained_network_composited_or_raw(made, data_root):
    config = resolve(
        "inpaint",
        {"data": {"name": "cifar10"}, "mask": {"name": "lines"}, "model": {"name": "vanilla_autoencoder", "width": 4}},
    )
    torch.manual_seed(0)
    network = build_autoencoder(Config(width=4), 32)
    trained = {"abc": (config, network.state_dict())}
    inpainters = [{"trial": "abc"}]
    hole, raw = (
        of_kind(made(c, trained, inpainters=inpainters, composite=c).val, "inpainted") for c in ("hole", "raw")
    )
    real = photographs(data_root, "val")
    known = ~hole.mask_n1hw.expand_as(real)
    assert torch.equal(hole.image_n3hw[known], real[known])
    assert (raw.image_n3hw[known] != real[known]).float().mean() > 0.9
    assert torch.equal(hole.image_n3hw[~known], raw.image_n3hw[~known])
    assert set(hole.inpainter) == {"abc"}
    damaged = real / 255 * ~hole.mask_n1hw
    with torch.inference_mode():
        expected = network.eval()(damaged, hole.mask_n1hw.float()).clamp(0, 1).mul(255).round()
    assert (raw.image_n3hw - expected).abs().max() <= 1, "rounding may differ between batch sizes"


def test_fake_reals_pass_through_the_network(made, data_root):
    config = resolve(
        "inpaint",
        {"data": {"name": "cifar10"}, "mask": {"name": "lines"}, "model": {"name": "vanilla_autoencoder", "width": 4}},
    )
    trained = {"abc": (config, build_autoencoder(Config(width=4), 32).state_dict())}
    section = {"inpainters": [{"trial": "abc"}], "fake_reals": 0.5}
    raw = made("raw", trained, composite="raw", **section).train
    passed = of_kind(raw, "fake_real")
    assert 30 < len(passed) < 70
    assert len(passed) + len(of_kind(raw, "real")) == 100
    assert not passed.label_n.any()
    sources = dict(zip(of_kind(made("plain").train, "real").source, photographs(data_root), strict=True))
    assert all(
        (image != sources[name]).float().mean() > 0.9
        for image, name in zip(passed.image_n3hw, passed.source, strict=True)
    )
    hole = of_kind(made("hole", trained, **section).train, "fake_real")
    assert all(torch.equal(image, sources[name]) for image, name in zip(hole.image_n3hw, hole.source, strict=True))


def test_controls_are_negatives_with_the_photographs_own_pixels(made, data_root):
    found = made(pasted=1.0, resaved=1.0).train
    pasted, resaved = of_kind(found, "pasted"), of_kind(found, "resaved")
    real = photographs(data_root)
    assert torch.equal(pasted.image_n3hw, real)
    assert not resaved.mask_n1hw.any()
    assert not resaved.label_n.any()
    hole = of_kind(found, "inpainted").mask_n1hw
    changed = (resaved.image_n3hw != real).any(1, keepdim=True)
    assert not (changed & ~hole).any()
    assert changed.sum() > 0.5 * hole.sum()
    assert (resaved.image_n3hw.float() - real).abs().mean() < 2


def test_a_feathered_fill_meets_the_photograph_at_the_edge(made, data_root):
    real = photographs(data_root).float()
    hard, soft = (of_kind(made(str(f), feather=f).train, "inpainted") for f in (None, 3.0))
    mask = hard.mask_n1hw
    assert torch.equal(soft.mask_n1hw, mask)
    known = ~mask.expand_as(real)
    assert torch.equal(soft.image_n3hw[known].float(), real[known])
    inner = -torch.nn.functional.max_pool2d(-mask.float(), 3, 1, 1) > 0
    rim = (mask & ~inner).expand_as(real)
    error = [(each.image_n3hw.float() - real)[rim].abs().mean() for each in (hard, soft)]
    assert error[1] < 0.4 * error[0]


def test_apart_halves_the_photographs_in_each_split(made):
    found = made(reals="apart")
    for split in forged_images.SPLITS:
        part = getattr(found, split)
        assert len(part) == CIFAR[split]
        assert part.label_n.mean() == 0.5
        assert len(set(part.source)) == len(part)
        assert part.label_n[:10].sum() == 5, "prefixes are balanced"


@pytest.mark.parametrize(("name", "suffix"), [("jpeg", "jpg"), ("webp", "webp")])
def test_all_leave_through_one_encoder_with_one_quality_a_photograph(tmp_path, data_root, name, suffix):
    forge({**BLOCK, "encoder": {"name": name, "quality": [40, 90]}}, tmp_path, data_root)
    rows = json.loads((tmp_path / "index.json").read_bytes())["rows"]
    of_source = {}
    for source, quality in zip(rows["source"], rows["quality"], strict=True):
        of_source.setdefault(source, set()).add(quality)
    assert all(len(each) == 1 for each in of_source.values())
    assert len(set.union(*of_source.values())) > 20
    with tarfile.open(tmp_path / "shards" / "00000.tar") as archive:
        pictures = [entry.name for entry in archive if not entry.name.endswith((".json", ".mask.png"))]
        assert all(entry.endswith(f".{suffix}") for entry in pictures)
        assert Image.open(archive.extractfile(pictures[0])).size == (32, 32)
    found = forged_images.load(tmp_path)
    assert 0 < (of_kind(found.train, "real").image_n3hw.float() - photographs(data_root)).abs().mean() < 12


def test_another_encoder_for_fakes_is_told(tmp_path, data_root):
    forge({**BLOCK, "fake_encoder": {"name": "jpeg"}}, tmp_path, data_root)
    with tarfile.open(tmp_path / "shards" / "00000.tar") as archive:
        endings = {entry.name.partition("-")[2].partition("-")[2] for entry in archive}
    assert endings == {"real.png", "real.json", "inpainted.jpg", "inpainted.mask.png", "inpainted.json"}
    assert "the format reveals the label" in (tmp_path / "card.md").read_text()


# --- equal bytes ------------------------------------------------------------------------------------------------------


def test_equal_bytes_in_any_order_with_any_threads_and_after_a_kill(tmp_path, data_root):
    forge(BLOCK, tmp_path / "a", data_root)
    forge(BLOCK, tmp_path / "b", data_root, order=[2, 0], threads=1)  # killed: the middle one is missing
    before = (tmp_path / "b" / "shards" / "00002.tar").stat().st_mtime_ns
    with pytest.raises(TrialError, match="unfinished"):
        forged_images.load(tmp_path / "b")
    forge(BLOCK, tmp_path / "b", data_root, threads=3)
    assert (tmp_path / "b" / "shards" / "00002.tar").stat().st_mtime_ns == before
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 10
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_a_smaller_set_is_a_part_of_a_larger_one_and_seeds_differ(made):
    whole, small = made("a").train, made("b", images={**CIFAR, "train": 70}).train
    assert torch.equal(whole.image_n3hw[:140], small.image_n3hw)
    other = made("c", seed=1).train
    assert other.source == whole.source
    assert (of_kind(other, "inpainted").mask_n1hw != of_kind(whole, "inpainted").mask_n1hw).any()


def test_shards_do_not_change_the_images(made, monkeypatch):
    whole = made("a", images={**CIFAR, "train": 150}).train
    monkeypatch.setattr(forged_shards, "MOST", forged_shards.BLOCK)
    parts = made("b", images={**CIFAR, "train": 150}).train
    assert torch.equal(whole.image_n3hw, parts.image_n3hw)
    assert whole.source == parts.source


def test_a_tar_says_nothing_of_the_machine(tmp_path, data_root):
    forge(BLOCK, tmp_path, data_root)
    with tarfile.open(tmp_path / "shards" / "00001.tar") as archive:
        entries = archive.getmembers()
    assert {(e.mtime, e.uid, e.gid, e.uname, e.gname, e.mode) for e in entries} == {(0, 0, 0, "", "", 0o644)}


# --- splits, near duplicates, card ------------------------------------------------------------------------------------


def test_crops_of_a_photograph_stay_in_one_split(tmp_path, data_root):
    section = {"name": "folder", "path": "kodak24", "crops": 3, "size": 48, "train": 40, "val": 6, "test": 5}
    forge({**BLOCK, "images": section}, tmp_path, data_root)
    found = forged_images.load(tmp_path)
    sources = [set(getattr(found, split).source) for split in forged_images.SPLITS]
    assert not sources[0] & sources[1]
    assert not sources[0] & sources[2]
    assert not sources[1] & sources[2]
    assert "kodim" in next(iter(sources[0]))
    expected = images.source(SizedConfig.model_validate(section), data_root).take("train", 40, 48)
    assert torch.equal(of_kind(found.train, "real").image_n3hw, expected)


def test_a_set_to_test_on_has_every_photograph_and_no_other_split(tmp_path, data_root):
    section = {"name": "folder", "path": "kodak24", "crops": 2, "size": 48, "use": "all"}
    forge({**BLOCK, "images": section}, tmp_path, data_root)
    found = forged_images.load(tmp_path)
    assert len(found.train.source) == len(found.val.source) == 0
    assert len(set(found.test.source)) == len(list((data_root / "kodak24").glob("*.png"))) == 24
    assert len(of_kind(found.test, "real").source) == 48


def test_every_photograph_is_tested_on_only_in_test_sets():
    whole = {**BLOCK, "images": {"name": "folder", "path": "kodak24", "use": "all"}}
    model = {"model": {"name": "majority"}}
    with pytest.raises(TrialError) as caught:
        resolve("detect", {"data": {"forged": whole}, **model})
    assert caught.value.key == "data.forged.images.use"
    resolved = resolve("detect", {"data": {"forged": BLOCK}, "test_sets": {"kodak": {"forged": whole}}, **model})
    assert resolved["test_sets"]["kodak"]["forged"]["images"]["use"] == "all"
    assert "use" not in resolved["data"]["forged"]["images"]


def test_few_photographs_are_told_however_many_crops_are_made_of_them(data_root):
    folder = {"name": "folder", "path": "kodak24", "crops": 200}
    sets = {
        "tenth": {"forged": {**BLOCK, "images": folder}},
        "whole": {"forged": {**BLOCK, "images": {**folder, "use": "all"}}},
        "cifar": {"forged": BLOCK},
    }
    config = resolve("detect", {"data": {"forged": BLOCK}, "test_sets": sets, "model": {"name": "majority"}})
    tenth, whole = inventory.few_test_photographs(config, data_root)
    assert tenth.startswith("test_sets.tenth.forged.images: only 2 test photographs, in 400 crops: ")
    assert tenth.endswith("; `use: all` tests on all 24")
    assert whole.startswith("test_sets.whole.forged.images: only 24 test photographs, in 4,800 crops: ")
    assert "use: all" not in whole
    inpaint = {"data": folder, "mask": {"name": "box"}, "model": {"name": "mean_fill"}}
    (own,) = inventory.few_test_photographs(resolve("inpaint", inpaint), data_root)
    assert own.startswith("data: only 2 test photographs, in 400 crops")


def test_planted_near_duplicates_are_found(tmp_path, data_root):
    folder = tmp_path / "p"
    folder.mkdir()
    for number in range(1, 25):
        image = Image.open(data_root / "kodak24" / f"kodim{number:02d}.png").resize((96, 64))
        image.save(folder / f"{number:02d}.png")
    source = images.source(SizedConfig(name="folder", path="p", size=64), tmp_path)
    train, test = source.names("train", 0, 1)[0], source.names("test", 0, 1)[0]
    Image.open(folder / train).save(folder / test.replace("png", "jpg"), quality=80)
    (folder / test.replace("png", "jpg")).replace(folder / test)  # a photograph of training, saved again
    forge({**BLOCK, "images": {"name": "folder", "path": "p", "size": 64}}, tmp_path / "set", tmp_path)
    pairs = json.loads((tmp_path / "set" / "index.json").read_bytes())["near_duplicates"]
    assert [pair["sources"] for pair in pairs] == [[train, test]]
    assert pairs[0]["distance"] <= 4
    card = (tmp_path / "set" / "card.md").read_text()
    assert train in card
    assert "1 pairs" in card


def test_near_duplicates_by_brute_force():
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**63, size=60, dtype=np.uint64)
    near = hashes[:5] ^ np.uint64(0b1011)
    far = hashes[5:10] ^ np.uint64(0b11111)
    splits = {"train": hashes, "test": np.concatenate([near, far])}
    found = near_duplicates.find_across_splits(
        {split: [f"{each:016x}" for each in some] for split, some in splits.items()}
    )
    assert found == [("train", i, "test", i, 3) for i in range(5)]


def test_the_card_tells_sources_counts_and_what_not_to_do(tmp_path, data_root):
    resolved = forge(BLOCK, tmp_path, data_root)
    card = (tmp_path / "card.md").read_text()
    for words in (forged_id(resolved), "withdrew", "| train | 100 | 100 | 100 |", "must not be used", "telea"):
        assert words in card
    done = json.loads((tmp_path / "done.json").read_bytes())
    assert done["counts"]["val"] == {"inpainted": 20, "real": 20}
    assert done["skipped"] == []


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path):
    """A data root with a folder `p` of 240 small images."""
    (tmp_path / "p").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, size=(240, 16, 16, 3), dtype=np.uint8)
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(tmp_path / "p" / f"{number}.png")
    return tmp_path


def test_a_photograph_that_does_not_decode_is_named_skipped_and_counted(many):
    block = {**BLOCK, "images": {"name": "folder", "path": "p", "size": 16}}
    (many / "p" / "7.png").write_bytes(b"no image")
    (many / "p" / "8.png").write_bytes((many / "p" / "9.png").read_bytes()[:100])
    forge(block, many / "set", many)
    done = json.loads((many / "set" / "done.json").read_bytes())
    assert sorted(each["source"] for each in done["skipped"]) == ["7.png", "8.png"]
    assert sum(done["photographs"].values()) == 238
    assert "7.png" in (many / "set" / "card.md").read_text()
    found = forged_images.load(many / "set")
    assert all(part.label_n.mean() == 0.5 for part in (found.train, found.val, found.test))
    with pytest.warns(UserWarning, match=r"7\.png .*; 8\.png "):  # training leaves out and names the same files
        trained = images.load({"name": "folder", "path": "p", "size": 16}, many)
    assert sum(len(getattr(trained, split)) for split in images.SPLITS) == 238
    (many / "p" / "10.png").write_bytes(b"")
    with pytest.raises(TrialError) as caught:
        forge(block, many / "again", many)
    assert "3 of 240" in caught.value.given
    assert "1%" in caught.value.allowed


TRAINED = resolve(
    "inpaint",
    {"data": {"name": "cifar10"}, "mask": {"name": "lines"}, "model": {"name": "vanilla_autoencoder", "width": 4}},
)


@pytest.mark.parametrize(
    ("trained", "expected"),
    [
        (lambda network: {}, "no finished result"),
        (lambda network: {"abc": ({**TRAINED, "data": {"size": 64}}, network)}, "64 px"),
        (
            lambda network: {"abc": ({**TRAINED, "model": {"name": "telea", "radius": 3}}, {})},
            "not a trained inpainter",
        ),
        (lambda network: {"abc": (TRAINED, dict(list(network.items())[1:]))}, "is missing"),
        (
            lambda network: {
                "abc": (
                    TRAINED,
                    {key: value[:1] for key, value in network.items() if value.ndim} | {"x": torch.ones(1)},
                )
            },
            "instead of",
        ),
    ],
)
def test_inpainters_that_cannot_serve_are_refused(tmp_path, data_root, trained, expected):
    weights = build_autoencoder(Config(width=4), 32).state_dict()
    with pytest.raises(TrialError) as caught:
        forge({**BLOCK, "inpainters": [{"trial": "abc"}]}, tmp_path, data_root, trained(weights))
    assert expected in caught.value.why
    assert all((caught.value.given, caught.value.allowed, caught.value.fix))


def test_layers_that_do_not_fit_are_named():
    network = build_autoencoder(Config(width=4), 32)
    load_weights(network, network.state_dict(), "here")
    first = next(iter(network.state_dict()))
    with pytest.raises(TrialError) as caught:
        load_weights(network, {**network.state_dict(), first: torch.ones(3)}, "here")
    assert f"{first} has the shape (3,) instead of" in caught.value.why


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"images": None}, "`images`"),
        ({"images": {"name": "cifar11"}}, "images.name"),
        ({"images": {**CIFAR, "size": 4}}, "images.size"),
        ({"images": {"name": "cifar10", "use": "all"}}, "`use: all`"),
        ({"images": {"name": "folder", "path": "kodak24", "use": "all", "train": 3}}, "`use: all`"),
        ({"inpainters": []}, "inpainters"),
        ({"inpainters": [{"name": "telia"}]}, "telea"),
        ({"inpainters": [{"name": "outputs"}]}, "outputs"),
        ({"inpainters": [{"name": "telea", "trial": "a"}]}, "exactly one of"),
        ({"inpainters": [{"trial": "A/B"}]}, "trial id"),
        ({"inpainters": [{"name": "telea"}, {"name": "telea", "radius": 3}]}, "twice"),
        ({"mask": {"name": "boxes"}}, "box"),
        ({"composite": "whole"}, "composite"),
        ({"composite": "raw", "feather": 2.0}, "feather"),
        ({"encoder": {"name": "gif"}}, "jpeg"),
        ({"encoder": {"name": "jpeg", "quality": [90, 70]}}, "above the second"),
        ({"encoder": {"name": "png", "quality": [70, 90]}}, "quality"),
        ({"pasted": 1.5}, "pasted"),
        ({"seeds": 1}, "seed"),
    ],
)
def test_blocks_that_are_wrong_are_refused(change, expected):
    with pytest.raises(TrialError) as caught:
        resolve_forge({**BLOCK, **change})
    error = caught.value
    assert expected in str(error)
    assert all((error.given, error.why, error.allowed, error.fix))
    with pytest.raises(TrialError) as inside:
        resolve("detect", {"data": {"forged": {**BLOCK, **change}}, "model": {"name": "majority"}})
    assert inside.value.key.startswith("data.forged")


def test_one_class_only_is_refused(data_root):
    block = resolve_forge({**BLOCK, "images": {**CIFAR, "val": 1}, "reals": "apart"})
    with pytest.raises(TrialError, match="one class only"):
        forged_shards.plan_shards(block, data_root)


def test_the_block_in_the_documentation_is_valid():
    page = Path(__file__).resolve().parents[3] / "docs" / "detection-and-forged-sets.md"
    blocks = re.findall(r"^```yaml[^\n]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    block = next(each for each in blocks if re.search("^images:", each, re.M))
    given = yaml.safe_load(block)
    assert {key for key, value in resolve_forge(given).items() if value is None} == {"fake_encoder"}, (
        "all but one shown"
    )


def test_holes_are_not_outlined():
    with pytest.raises(TrialError, match=r"mask\.name: object"):
        resolve_forge({**BLOCK, "mask": {"name": "object"}})


def test_inpainters_that_take_text_are_told_the_captions(data_root):
    model = registry.model("tdanet").config(width=2, embedding=8)
    config = {"model": {"name": "tdanet", **model.model_dump()}, "data": {"size": 32}}
    torch.manual_seed(0)
    network = networks.build_network(config["model"], 32)
    network.set_vocabulary(Vocabulary(["a", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]))
    trained = {"abc": (config, network.state_dict())}
    given = {"images": {**CIFAR, "train": 8, "val": 2, "test": 2}, "inpainters": [{"trial": "abc"}]}

    def made(**captions):
        block = resolve_forge({**given, **captions})
        first = forged_shards.plan_shards(block, data_root)[0]
        index = json.loads(forged_shards.make_shard(block, first, data_root, trained)["shards/00000.json"])
        return index["rows"], index["sha256"]

    rows, told = made(captions={"template": "a {class}"})
    source = images.source(SizedConfig(**given["images"]), data_root)
    names, shown = source.names("train", 0, 8), source.classes("train", 0, 8)
    assert {row["source"]: row["caption"] for row in rows} == {
        name: f"a {what}" for name, what in zip(names, shown, strict=True)
    }
    plain, untold = made()
    assert "caption" not in plain[0]
    assert told != untold, "the caption changes the fill"
    with pytest.raises(TrialError, match="exactly one of"):
        made(captions={})
    with pytest.raises(TrialError) as caught:
        made(captions={"file": "none.txt"})
    assert "none.txt" in str(caught.value)


def test_a_network_that_was_trained_with_captions_is_not_used_without_them():
    model = {"name": "tdanet", **registry.model("tdanet").config(width=2, embedding=8).model_dump()}
    network = networks.build_network(model, 32)
    network.set_vocabulary(Vocabulary(["a", "cat"]))
    block = resolve_forge({"images": {**CIFAR, "train": 8, "val": 2, "test": 2}, "inpainters": [{"trial": "abc"}]})

    def loaded(**captions):
        data = {"size": 32, "captions": {"template": "a {class}", "file": None, "folder": None, **captions}}
        return inference.load(block, {"abc": ({"model": model, "data": data}, network.state_dict())})

    assert loaded(text="none")[0].takes_text
    for text in ("right", "shuffled"):
        with pytest.raises(TrialError) as caught:
            loaded(text=text)
        assert caught.value.key == "captions"
        assert 'captions: {"template": "a {class}"}' in caught.value.fix


def test_identity_is_what_is_on():
    resolved = resolve_forge(BLOCK)
    assert forged_id(resolved) == "afda43daf133d1ee"  # if it changes, forged sets in existing stores are not found
    assert forged_id(resolve_forge({**BLOCK, "feather": None, "composite": "hole"})) == forged_id(resolved)
    assert forged_id(resolve_forge({**BLOCK, "seed": 1})) != forged_id(resolved)
    both = resolve_forge({**BLOCK, "inpainters": [{"trial": "b"}, {"name": "telea"}, {"trial": "pending-0a"}]})
    assert forge_needs(both) == ("b", "pending-0a")


def test_a_box_in_pixels():
    hole = np.zeros((10, 20), dtype=bool)
    hole[2:5, 4], hole[3, 9] = True, True
    assert composites.box(hole) == [4 / 20, 2 / 10, 10 / 20, 5 / 10]


# --- Places365 --------------------------------------------------------------------------------------------------------


def places(root, count):
    """A data root with the published layout of the validation images, of 4 px."""
    (root / "val_256").mkdir()
    names = [f"Places365_val_{number:08d}.jpg" for number in range(1, count + 1)]
    for number, name in enumerate(names):
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), (number % 256, number // 256, 0)).save(buffer, "JPEG")
        (root / "val_256" / name).write_bytes(buffer.getvalue())
    (root / "places365_val.txt").write_text("".join(f"{name} {i % 365}\n" for i, name in enumerate(names)))
    return names


def test_places_in_their_published_layout(tmp_path, data_root):
    names = places(tmp_path, 60)
    forge({**BLOCK, "images": {"name": "places365_val", "size": 16}}, tmp_path / "set", tmp_path)
    found = forged_images.load(tmp_path / "set")
    assert {*found.train.source, *found.val.source, *found.test.source} == set(names)
    assert "non-commercial" in (tmp_path / "set" / "card.md").read_text()
    section = {"name": "places365_val", "size": 16, "train": 5, "val": 2, "test": 2}
    assert images.load(section, tmp_path).train.shape == (5, 3, 16, 16)
    (tmp_path / "val_256" / names[3]).unlink()
    with pytest.raises(TrialError, match="missing in the folder"):
        images.check(section, tmp_path)
    with pytest.raises(TrialError) as caught:
        images.check(section, data_root)
    assert "places365_val.txt" in caught.value.given
    assert "val_256.tar" in caught.value.fix


def test_places_scenes_have_the_names_of_the_list_beside_them(tmp_path):
    names = places(tmp_path, 30)
    source = images.source(SizedConfig(name="places365_val", size=16), tmp_path)
    with pytest.raises(TrialError) as caught:
        source.classes("train", 0, 1)
    assert "categories_places365.txt" in caught.value.given
    (tmp_path / "categories_places365.txt").write_text("/a/airfield 0\n")
    with pytest.raises(TrialError, match="no name for the scene '1'"):
        source.classes("train", 0, 1)
    scenes = "".join(f"/s/scene_{i}/outdoor {i}\n" for i in range(365))
    (tmp_path / "categories_places365.txt").write_text(scenes)
    assert source.classes("test", 0, 2) == [f"scene {names.index(name)} outdoor" for name in source.names("test", 0, 2)]
    with pytest.raises(TrialError, match="no object masks"):
        source.objects("test", 1, 16)


def test_a_download_of_places_that_fails_says_what_to_do(tmp_path, monkeypatch):
    from torchvision.datasets import Places365

    def download(_):
        raise OSError("no route to host")

    monkeypatch.setattr(Places365, "download_devkit", download)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    with pytest.raises(TrialError) as caught:
        images.load({"name": "places365_val", "size": 16}, None)
    assert "no route to host" in caught.value.why
    assert str(tmp_path / ".cache" / "inpaint-sweeps") in caught.value.fix


def test_all_of_places_are_parted_as_in_the_document(tmp_path):
    (tmp_path / "val_256").mkdir()
    lines = "".join(f"Places365_val_{number:08d}.jpg 0\n" for number in range(1, 36_501))
    (tmp_path / "places365_val.txt").write_text(lines)
    source = images.source(SizedConfig(name="places365_val", size=256), tmp_path)
    assert [source.count(split) for split in forged_images.SPLITS] == [25_000, 5_000, 6_500]
