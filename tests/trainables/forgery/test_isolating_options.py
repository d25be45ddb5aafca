"""Options of forged sets that isolate a shortcut: equal shares of fill, true paste controls, equal classes, redraws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.trainables.forgery.forged_small import configured, on_disk
from tests.trainables.forgery.make_forged import forge
from trainables import schema
from trainables.detect import task as detect
from trainables.errors import TrialError
from trainables.forgery import forged_images
from trainables.forgery.config import forged_id, of_trial, resolve_forge
from trainables.forgery.encoding import untar
from trainables.forgery.forged_images import LabelledImages
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession

IMAGES = {"name": "cifar10", "size": 32, "train": 128, "val": 8, "test": 8}
REGIONS = {"name": "random_regions", "fraction": [0.04, 0.25]}
RECTANGLES = {"name": "rectangle", "fraction": [0.04, 0.25]}
BLOCK = {"images": IMAGES, "mask": REGIONS, "inpainters": [{"name": "telea"}]}
OUTSIDE = {"feather": 2.0, "feather_side": "outside"}
PASTED = {"pasted": 0.5, "pasted_by": "resampling"}
TOLERANCE = 0.01
"""Largest difference of mean shares of fully replaced pixels between kinds of holes: a fourteenth of 14.5 %."""


@pytest.fixture
def made(tmp_path: Path, data_root: Path) -> Any:
    """A function that forges BLOCK with changes and gives its training images and rows."""

    def make(**changes: Any) -> tuple[LabelledImages, list[dict[str, Any]]]:
        folder = tmp_path / forged_id(resolve_forge({**BLOCK, **changes}))
        forge({**BLOCK, **changes}, folder, data_root)
        files = dict(untar((folder / "shards" / "00000.tar").read_bytes()))
        lines = [json.loads(data) for name, data in files.items() if name.endswith(".json")]
        assert {tuple(line) for line in lines} == {tuple(lines[0])}, "an index has every column of every image"
        for line in lines:
            line["bytes"] = files.get(f"{line['key']}.png") or files[f"{line['key']}.jpg"]
        return forged_images.load(folder).train, lines

    return make


def replaced(rows: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    return np.array([row["replaced"] for row in rows if row["label"]])


def test_kinds_of_holes_have_equal_shares_of_fully_replaced_pixels(made: Any) -> None:
    """A feather inside of the hole leaves thin shapes hardly any pixel; outside, every shape keeps what was drawn."""
    regions, rows = made(mask=REGIONS, **OUTSIDE)
    _, of_rectangles = made(mask=RECTANGLES, **OUTSIDE)
    assert abs(replaced(rows).mean() - replaced(of_rectangles).mean()) < TOLERANCE
    hard, _ = made(mask=REGIONS)
    drawn = hard.hole_share_n[hard.label_n > 0.5].numpy()
    np.testing.assert_allclose(replaced(rows), drawn, atol=1e-6, err_msg="the drawn hole is replaced, and nothing else")
    ring = regions.mask_n1hw[regions.label_n > 0.5] & ~hard.mask_n1hw[hard.label_n > 0.5]
    assert ring.any((1, 2, 3)).all(), "the mask has the ring as well, which is blended"
    inside = {}
    for name, mask in (("regions", REGIONS), ("rectangles", RECTANGLES)):
        soft = made(mask=mask, feather=2.0, feather_side="inside")[0]
        hole_nhw = soft.mask_n1hw[soft.label_n > 0.5, 0].numpy().astype(np.uint8)
        depth_nhw = [cv2.distanceTransform(hole_hw, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for hole_hw in hole_nhw]
        inside[name] = (np.stack(depth_nhw) >= 3).mean()
    assert inside["regions"] < 0.5 * inside["rectangles"], "what the option is for"


def test_only_the_ring_is_blended(made: Any) -> None:
    soft, _ = made(**OUTSIDE, inpainters=[{"name": "mean_fill"}])
    hard, _ = made(inpainters=[{"name": "mean_fill"}])
    real = hard.image_n3hw[hard.label_n < 0.5].float()
    fake, core = soft.image_n3hw[soft.label_n > 0.5].float(), hard.mask_n1hw[hard.label_n > 0.5]
    ring = soft.mask_n1hw[soft.label_n > 0.5] & ~core
    assert torch.equal(fake[~(core | ring).expand_as(fake)], real[~(core | ring).expand_as(real)])
    for i in range(20):
        flat = fake[i][:, core[i, 0]]
        assert (flat == flat[:, :1]).all(), "the drawn hole has the flat fill"


@pytest.mark.parametrize("encoder", [{"name": "png"}, {"name": "jpeg", "quality": [70, 95]}])
def test_pasted_controls_differ_in_bytes_from_the_real_image(made: Any, encoder: dict[str, Any]) -> None:
    found, rows = made(**PASTED, **OUTSIDE, encoder=encoder)
    real = {row["source"]: row["bytes"] for row in rows if row["kind"] == "real"}
    pasted = {row["source"]: row["bytes"] for row in rows if row["kind"] == "pasted"}
    assert len(pasted) > 30
    assert not [source for source, data in pasted.items() if data == real[source]]
    if encoder["name"] == "png":  # nothing but the hole was touched
        by_kind = {kind: [i for i, one in enumerate(found.kind) if one == kind] for kind in set(found.kind)}
        at = {found.source[i]: i for i in by_kind["real"]}
        for i in by_kind["pasted"]:
            changed = (found.image_n3hw[i] != found.image_n3hw[at[found.source[i]]]).any(0)
            fake = next(j for j in by_kind["inpainted"] if found.source[j] == found.source[i])
            assert not (changed & ~found.mask_n1hw[fake, 0]).any()
            assert changed.any()
    _, rows = made(pasted=0.5)
    real = {row["source"]: row["bytes"] for row in rows if row["kind"] == "real"}
    same = [row["bytes"] == real[row["source"]] for row in rows if row["kind"] == "pasted"]
    assert all(same), "as they were, and are without the option"


def test_controls_instead_of_the_real_image_keep_the_classes_equal(made: Any) -> None:
    found, _ = made(**PASTED, resaved=0.5, controls="instead")
    assert found.label_n.mean() == 0.5
    kinds: dict[str, list[str]] = {}
    for source, kind in zip(found.source, found.kind, strict=True):
        kinds.setdefault(kind, []).append(source)
    assert len(kinds["pasted"]) > 30
    assert len(kinds["resaved"]) > 10
    negatives = [source for kind in ("real", "pasted", "resaved") for source in kinds[kind]]
    assert sorted(negatives) == sorted(kinds["inpainted"]), "one negative and one fake of each photograph"
    added, _ = made(**PASTED)
    assert added.label_n.mean() < 0.5
    apart, _ = made(**PASTED, controls="instead", reals="apart")
    assert apart.label_n.mean() == 0.5
    assert len(set(apart.source)) == len(apart)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"feather_side": "outside"}, "requires a `feather`"),
        ({"pasted_by": "resampling"}, "requires a share of `pasted`"),
        ({"controls": "instead"}, "requires a share of them"),
        ({"feather": 2.0, "feather_side": "around"}, "inside"),
        ({"seed": "trial"}, "belongs to no trial"),
        ({"seed": "seed"}, "trial"),
    ],
)
def test_options_that_do_not_fit_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(TrialError, match=words):
        resolve_forge({**BLOCK, **changes})


def test_options_that_are_off_leave_a_block_as_it_was() -> None:
    off = {"feather_side": None, "pasted_by": None, "controls": None}
    assert resolve_forge({**BLOCK, **off}) == resolve_forge(BLOCK)
    assert not set(off) & set(resolve_forge(BLOCK))
    assert not set(off) & set(configured()["data"]["forged"])


def test_a_feather_inside_of_the_hole_is_the_default() -> None:
    """So it gives the same set, and trials of the same ids."""
    default, inside = {**BLOCK, "feather": 2.0}, {**BLOCK, "feather": 2.0, "feather_side": "inside"}
    assert forged_id(resolve_forge(inside)) == forged_id(resolve_forge(default))
    configs = [configured(data={"forged": block}) for block in (default, inside)]
    assert configs[0] == configs[1]
    assert forged_id(resolve_forge({**default, **OUTSIDE})) != forged_id(resolve_forge(default))
    with pytest.raises(TrialError, match="requires a `feather`"):
        resolve_forge({**BLOCK, "feather_side": "inside"})


# --- sets that are redrawn for every seed -----------------------------------------------------------------------------


def test_every_seed_has_a_set_of_its_own() -> None:
    """Also a model that is not trained: its sets differ, so one evaluation does not serve all seeds."""
    for model in (None, {"name": "high_pass_probe"}):
        changes: dict[str, Any] = {"data": {"forged": {**BLOCK, "seed": "trial"}}}
        config = configured(**changes, **({} if model is None else {"model": model}))
        sets = [set(schema.needs("detect", config, seed).forged) for seed in range(3)]
        assert len(set.union(*sets)) == 3
        (block,) = schema.needs("detect", config, 2).forged.values()
        assert block["seed"] == 2
        del config["seed"]
        assert schema.identity("detect", config, 0) != schema.identity("detect", config, 1)
    fixed = configured(model={"name": "high_pass_probe"})
    del fixed["seed"]
    assert schema.identity("detect", fixed, 0) == schema.identity("detect", fixed, 1)


def test_a_trial_reads_the_set_of_its_seed(data_root: Path, tmp_path: Path) -> None:
    rows = []
    for seed in (0, 1):
        block, folders = on_disk(data_root, tmp_path / str(seed), seed=seed)
        forged = {**block, "seed": "trial"}
        config = configured(
            seed=seed,
            data={"forged": forged},
            test_sets={"same": {"forged": {**forged, "feather": 2.0}}},
            model={"name": "high_pass_probe"},
        )
        _, other = on_disk(data_root, tmp_path / str(seed), seed=seed, feather=2.0)
        assert of_trial(config["test_sets"]["same"]["forged"], seed)["seed"] == seed
        session = MemorySession(Goal(0), Machine(data_root=data_root, forged={**folders, **other}))
        fit(detect, config, session)  # type: ignore[arg-type]
        rows.append(session.rows[-1])
        with pytest.raises(TrialError, match="not available"):
            detect.load({**config, "seed": 7}, Machine(data_root=data_root, forged={**folders, **other}))
    assert rows[0]["test/auc"] != rows[1]["test/auc"], "masks differ"
