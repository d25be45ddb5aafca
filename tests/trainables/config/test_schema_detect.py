"""Configurations of task `detect`: defaults, identity, and errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainables import schema
from trainables.errors import TrialError
from trainables.forgery.config import ForgeConfig, resolve_forge

FORGED = {"images": {"name": "cifar10"}, "inpainters": [{"name": "telea"}]}
BASE: dict[str, Any] = {"data": {"forged": FORGED}, "model": {"name": "detector", "backbone": "alexnet"}}


def resolved(**changes: Any) -> dict[str, Any]:
    return schema.resolve("detect", {**BASE, **changes})


def test_defaults_are_filled_in_and_stay() -> None:
    found = resolved()
    assert found["data"]["input_size"] == 63, "what AlexNet needs at least"
    assert found["loss"] == {"bce": 100.0, "smooth_l1": 0.8}
    assert found["boxes"] == {"units": "pixel", "over": "positives", "beta": 1.0}
    assert schema.resolve("detect", found) == found


@pytest.mark.parametrize(
    ("model", "size", "expected"),
    [
        ({"name": "detector", "backbone": "alexnet"}, 32, 63),
        ({"name": "detector", "backbone": "alexnet"}, 256, 256),
        ({"name": "detector", "backbone": "resnet18"}, 32, 32),
        ({"name": "detector", "backbone": "vit_b_16"}, 64, 224),
        ({"name": "search_net"}, 32, 32),
        ({"name": "majority"}, 48, 48),
    ],
)
def test_the_default_input_is_the_sets_or_what_the_backbone_needs(model: Any, size: int, expected: int) -> None:
    forged = {**FORGED, "images": {"name": "cifar10", "size": size}}
    assert resolved(model=model, data={"forged": forged})["data"]["input_size"] == expected


def test_a_set_that_others_made() -> None:
    found = resolved(data={"set": {"layout": "casia", "path": "casia2"}})
    assert found["data"]["input_size"] == 256
    assert not schema.needs("detect", found, 0).forged


def test_a_set_may_be_used_whole_as_a_test_set_alone() -> None:
    bench = {"layout": "folder", "path": "bench", "use": "all"}
    found = resolved(test_sets={"bench": {"set": bench}})
    assert found["test_sets"]["bench"]["set"]["use"] == "all"
    plain = resolved(test_sets={"bench": {"set": {**bench, "use": "test"}}})
    assert plain == resolved(test_sets={"bench": {"set": {"layout": "folder", "path": "bench"}}})
    assert "use" not in plain["test_sets"]["bench"]["set"], "as in older configurations"
    with pytest.raises(TrialError, match=r"data\.set\.use"):
        resolved(data={"set": bench})


def test_it_needs_its_forged_sets_once_each() -> None:
    other = {**FORGED, "inpainters": [{"name": "mean_fill"}]}
    tests = {"same": {"forged": FORGED}, "other": {"forged": other}}
    needs = schema.needs("detect", resolved(test_sets=tests), 0)
    assert len(needs.forged) == 2
    assert {block["inpainters"][0]["name"] for block in needs.forged.values()} == {"telea", "mean_fill"}


def test_identity_leaves_out_what_is_off_or_decides_nothing() -> None:
    first = schema.identity("detect", resolved(), 0)
    assert "boxes" in first
    assert "epochs" not in first
    assert "fold" not in first["data"]
    assert first != schema.identity("detect", resolved(), 1)
    label = resolved(model={"name": "detector", "head": "label"})
    assert label["boxes"] is None, "nothing compares boxes"
    assert "boxes" not in schema.identity("detect", label, 0)
    base = resolved(model={"name": "constant_box"}, epochs=5, loss={"giou": 1.0})
    assert base["epochs"] == 0
    assert schema.identity("detect", base, 0) == schema.identity("detect", base, 1)


CHANGED: dict[str, Any] = {
    "mask": {"name": "lines"},
    "captions": {"template": "a {class}"},
    "inpainters": [{"name": "navier_stokes"}],
    "encoder": {"name": "jpeg"},
    "fake_encoder": {"name": "webp"},
    "composite": "raw",
    "reals": "apart",
    "feather": 2.0,
    "feather_side": "outside",
    "fake_reals": 0.5,
    "pasted": 0.5,
    "pasted_by": "resampling",
    "resaved": 0.5,
    "controls": "instead",
    "seed": "trial",
}
"""Every key of a forge block except `images`, with a value that is not its default."""
NEEDS = {"feather_side": ("feather",), "pasted_by": ("pasted",), "controls": ("pasted",)}


@pytest.mark.parametrize("key", CHANGED)
def test_a_test_set_has_only_the_photographs_of_the_training_set(key: str) -> None:
    """So that an arm that changes a key of its own set is tested on the same set as the other arms."""
    assert {*CHANGED, "images"} == set(ForgeConfig.model_fields)
    tested = {"plain": {"forged": {"inpainters": [{"name": "mean_fill"}]}}}
    change = {name: CHANGED[name] for name in (*NEEDS.get(key, ()), key)}
    found = resolved(data={"forged": {**FORGED, **change}}, test_sets=tested)
    assert found["data"]["forged"][key] != resolved()["data"]["forged"].get(key)
    assert found["test_sets"] == resolved(test_sets=tested)["test_sets"]
    assert found["test_sets"]["plain"]["forged"] == resolve_forge({**FORGED, **tested["plain"]["forged"]})
    assert schema.resolve("detect", found) == found


def test_the_photographs_of_a_test_set_are_those_of_the_training_set_or_its_own() -> None:
    mine = {"name": "cifar10", "size": 32, "train": 20, "val": 10, "test": 10}
    other = {"name": "folder", "path": "kodak24", "size": 32}
    tested = {
        "same": {"forged": {"inpainters": [{"name": "telea"}]}},
        "other": {"forged": {"images": other, "inpainters": [{"name": "telea"}]}},
    }
    found = resolved(data={"forged": {**FORGED, "images": mine}}, test_sets=tested)
    assert found["test_sets"]["same"]["forged"]["images"] == found["data"]["forged"]["images"]
    assert found["test_sets"]["other"]["forged"]["images"]["path"] == "kodak24"
    with pytest.raises(TrialError, match=r"test_sets\.same\.forged without `images`"):
        resolved(data={"set": {"layout": "casia", "path": "casia2"}}, test_sets=tested)


BENCH = {"bench": {"set": {"layout": "folder", "path": "bench"}}}


def test_levels_and_steps_are_written_out() -> None:
    """What is written in another way is the same trial."""
    curve = resolved(test_changes={"jpeg": {"jpeg": [90, 50]}, "blur": {"blur": [0.8, 2]}})
    single = {"jpeg90": {"jpeg": 90}, "jpeg50": {"jpeg": 50}, "blur0p8": {"blur": 0.8}, "blur2": {"blur": 2.0}}
    assert curve == resolved(test_changes=single)
    assert resolved(test_changes={"one": {"steps": [{"jpeg": 75}], "on": ["own"]}}) == resolved(
        test_changes={"one": {"jpeg": 75}}
    )
    steps = {"steps": [{"resize": 0.5}, {"jpeg": [75, 50]}], "on": "all"}
    found = resolved(test_sets=BENCH, test_changes={"shared": steps})["test_changes"]
    assert list(found) == ["shared75", "shared50"]
    assert found["shared75"]["on"] == ["bench", "own"]
    assert [step["jpeg"] for step in found["shared50"]["steps"]] == [None, 50]
    assert schema.resolve("detect", resolved(test_sets=BENCH, test_changes={"shared": steps}))["test_changes"] == found


@pytest.mark.parametrize(
    ("change", "key", "hint"),
    [
        ({"test_changes": {"a": {"steps": [{"jpeg": 75}, {"jpeg": 0}]}}}, "test_changes.a.steps.1.jpeg", "quality"),
        ({"test_changes": {"a": {"steps": [{"jpeg": 75}], "on": ["b"]}}}, "test_changes.a.on", "own, all"),
        ({"test_changes": {"a": {"steps": []}}}, "test_changes.a.steps", "at least 1"),
        ({"test_changes": {"a": {"steps": [{"jpeg": [9, 8]}, {"blur": [1, 2]}]}}}, "test_changes", "one list"),
        ({"test_changes": {"a": {"jpeg": [9, 90]}, "a90": {"jpeg": 1}}}, "test_changes.a", "'a90'"),
        ({"test_changes": {"a": {"jpeg": [9, 900]}}}, "test_changes.a900.jpeg", "quality"),
        ({"data": {"forged": FORGED, "set": {"layout": "casia", "path": "p"}}}, "data", "exactly one of `forged`"),
        ({"data": {"input_size": 64}}, "data", "forged"),
        ({"data": {"forged": {**FORGED, "inpainter": []}}}, "data.forged.inpainter", "inpainters"),
        ({"data": {"forged": FORGED, "input_size": 32}}, "data.input_size", "63"),
        ({"data": {"forged": FORGED, "fold": [3, 3]}}, "data", "below"),
        ({"data": {"forged": FORGED, "train": 1}}, "data.train", "half"),
        ({"data": {"forged": FORGED, "augment": {"rotation_deg": 5.0}}}, "data.augment.rotation_deg", "flip"),
        ({"model": {"name": "vanilla_autoencoder"}}, "model.name", "detector"),
        ({"model": {"name": "detector", "head": "boxes"}}, "model.head", "mask"),
        ({"loss": {"psnr": 1.0}}, "loss.psnr", "giou"),
        ({"loss": {"bce": 1.0, "mask_dice": 1.0}}, "loss.mask_dice", "smooth_l1"),
        ({"loss": {"bce": 0.0}}, "loss", "bce"),
        ({"boxes": {"units": "px"}}, "boxes.units", "unit"),
        ({"test_sets": {"A": {"forged": FORGED}}}, "test_sets", "lower-case"),
        ({"test_sets": {"a": {"forged": FORGED, "train": 5}}}, "test_sets.a.train", "forged"),
        ({"test_sets": {"a": {"forged": {"mask": {"name": "lines"}}}}}, "test_sets.a.forged.inpainters", "telea"),
        ({"test_sets": {"a": {"forged": {"inpainter": []}}}}, "test_sets.a.forged.inpainter", "inpainters"),
        ({"test_changes": {"a": {"jpeg": 50, "blur": 1.0}}}, "test_changes.a", "jpeg"),
        ({"test_changes": {"a": {"jpeg": 0}}}, "test_changes.a.jpeg", "quality"),
        ({"test_sets": {"a": {"forged": FORGED}}, "test_changes": {"a": {"jpeg": 50}}}, "test_changes.a", "a2"),
        ({"mask": {"name": "lines"}}, "mask", "data"),
    ],
)
def test_a_mistake_is_told_in_four_parts(change: dict[str, Any], key: str, hint: str) -> None:
    with pytest.raises(TrialError) as caught:
        resolved(**change)
    error = caught.value
    assert all((error.given, error.why, error.allowed, error.fix)), error
    assert error.key.startswith(key)
    assert hint in f"{error.why} {error.allowed} {error.fix}"


def test_it_imports_no_torch() -> None:
    code = (
        f"import sys; from trainables import schema; schema.resolve('detect', {BASE!r}); print('torch' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
