"""Task `detect` on real images: dependence on the seed, resuming, flips, folds, further test images, files."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic.fields import FieldInfo

from sweeps.results import columns as record_columns
from tests.trainables.forgery.forged_small import InMemory, configured, on_disk, small
from trainables import schema
from trainables.detect import dataset as detect_dataset
from trainables.detect import task as detect
from trainables.detect.change_config import PerturbationConfig
from trainables.detect.output import DetectorOutput
from trainables.detect.perturbations import check_change, perturb
from trainables.errors import TrialError
from trainables.training import checkpoint
from trainables.training.divergence import Diverged
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession, Restored, Row

MASK = {"name": "search_net", "width": 4, "depth": 1, "stages": 2, "head": "mask"}
LABEL = {**MASK, "head": "label"}
FLIPS = {"flip": 0.5, "flip_vertical": 0.5}


def run(root: Path, restored: Restored | None = None, fill: str = "mean", **changes: Any) -> MemorySession:
    config = configured(**changes)
    session = MemorySession(Goal(config["epochs"]), Machine(data_root=root), restored)
    fit(InMemory(small(root, fill=fill), {"noise": small(root, fill="noise")}), config, session)  # type: ignore[arg-type]
    return session


def same(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if not name.startswith("sys/")} for row in rows]


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [None, LABEL, MASK])
def test_every_head_trains_and_its_columns_are_described(data_root: Path, model: Any) -> None:
    session = run(data_root, data={"augment": FLIPS}, **({} if model is None else {"model": model}))
    row = session.rows[-1]
    assert row["train/loss"] > 0
    assert all(record_columns.describe(name)[2] for name in row if name != "epoch")
    assert ("test/mean_iou" in row) == (model != LABEL)
    assert ("test/average_precision_pixel" in row) == (model == MASK)
    assert session.result is not None
    assert session.result["parameters"] > 100


def test_it_goes_on_to_the_last_bit(data_root: Path) -> None:
    changes: dict[str, Any] = {"epochs": 3, "data": {"augment": FLIPS}}
    whole = run(data_root, **changes)
    again = run(data_root, Restored(1, whole.saved[1]), **changes)
    assert same(again.rows) == same(whole.rows)[1:]
    ends = [checkpoint.unpack(session.saved[3])[0]["network"] for session in (whole, again)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_trial_that_goes_on_after_its_last_checkpoint_writes_the_same_files(data_root: Path) -> None:
    """It was killed before its result was written. Its records are complete, and its predictions are made again."""
    whole = run(data_root, model=MASK)
    again = run(data_root, Restored(2, whole.saved[2]), model=MASK)
    assert again.result is not None
    assert whole.result is not None
    assert same(again.result["history"]) == same(whole.result["history"])
    assert again.images[2].keys() == whole.images[2].keys() >= {"per_image.npz", "image_scores.npz", "outputs.npz"}
    assert all(again.images[2][name] == whole.images[2][name] for name in whole.images[2])


def test_seeds_differ_and_arms_of_one_seed_see_the_same_order(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[detect.DetectLearner, list[float]] = {}
    step = detect.DetectLearner.step

    def spy(self: detect.DetectLearner, image: torch.Tensor, truth: detect.Targets, whole: int) -> Any:
        seen.setdefault(self, []).extend(image.sum((1, 2, 3)).tolist())
        return step(self, image, truth, whole)

    monkeypatch.setattr(detect.DetectLearner, "step", spy)
    for batch, seed in ((16, 0), (8, 0), (16, 1)):
        run(data_root, epochs=1, batch=batch, seed=seed)
    first, narrow, other = seen.values()
    assert first == pytest.approx(narrow)
    assert first != pytest.approx(other)
    assert sorted(first) == pytest.approx(sorted(other))


def test_degenerate_boxes_train(data_root: Path) -> None:
    """Start from boxes without area, with every loss term that compares boxes."""
    own = small(data_root)
    for term in ("iou", "giou", "diou", "ciou", "l2_distance", "smooth_l1_seed"):
        config = configured(loss={"bce": 1.0, term: 1.0}, boxes={"units": "unit", "over": "all"})
        data = detect_dataset.prepare(config, own, {}, Machine())
        learner = detect.build(config, data, Machine())
        with torch.no_grad():
            learner.network.head.linear.weight[1:] = 0  # type: ignore[union-attr, index]
            learner.network.head.linear.bias[1:] = 0.5  # type: ignore[union-attr, index]
        losses = [float(terms["loss"][0]) / count for count, terms in detect.train(learner, config, data, 1)]
        assert np.isfinite(losses).all()
        assert all(p.isfinite().all() for p in learner.network.parameters())


def test_units_change_the_loss_and_over_all_counts_negatives(data_root: Path) -> None:
    own = small(data_root)
    first = {}
    for units, over in (("unit", "positives"), ("pixel", "positives"), ("unit", "all")):
        config = configured(loss={"mse": 1.0}, boxes={"units": units, "over": over}, batch=64)
        data = detect_dataset.prepare(config, own, {}, Machine())
        (_, terms), *_ = detect.train(detect.build(config, data, Machine()), config, data, 1)
        first[units, over] = float(terms["mse"][0]) / terms["mse"][1]
    assert first["pixel", "positives"] == pytest.approx(32**2 * first["unit", "positives"], rel=1e-4)
    assert first["unit", "all"] > first["unit", "positives"], "a central box is far from 0 0 0 0"


def test_boxes_in_half_precision_are_converted_before_they_become_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    box, true = torch.rand(2, 50, 4, generator=generator)
    truth = detect.Targets(torch.ones(50), true, None)
    section = {"units": "pixel", "over": "positives", "beta": 1.0}
    learner = detect.DetectLearner(torch.nn.Identity(), None, {"l1": 1.0, "ciou": 1.0}, section, 224)
    half, full = (
        learner._terms(DetectorOutput(torch.zeros(50), found), truth, 50)
        for found in (box.bfloat16(), box.bfloat16().float())
    )
    assert half == full


def test_a_rate_that_is_too_high_ends_as_diverged(data_root: Path) -> None:
    with pytest.raises(Diverged):
        run(data_root, optimiser={"name": "sgd", "lr": 1e12}, loss={"bce": 1.0, "mse": 100.0}, epochs=4)


@pytest.mark.slow
@pytest.mark.parametrize(("head", "epochs", "f1", "mean_iou"), [("box", 160, None, 0.5), ("mask", 60, 0.95, 0.5)])
def test_it_learns_64_images_by_heart(
    data_root: Path, head: str, epochs: int, f1: float | None, mean_iou: float
) -> None:
    model = {"name": "search_net", "width": 16, "depth": 2, "stages": 3, "head": head}
    loss = {"bce": 1.0, "smooth_l1": 0.8} if head == "box" else {"bce": 1.0, "mask_bce": 1.0, "mask_dice": 1.0}
    config = configured(model=model, epochs=epochs, loss=loss, optimiser={"name": "adam", "lr": 3e-3})
    data = detect_dataset.prepare(config, small(data_root), {}, Machine())
    learner = detect.build(config, data, Machine())
    for epoch in range(1, epochs + 1):
        list(detect.train(learner, config, data, epoch))
    found = detect.detection_metrics.scores(detect._predict_split(learner, data.train).labelled)
    assert found["mean_iou"] > mean_iou
    assert f1 is None or found["f1"] > f1


# --- data -------------------------------------------------------------------------------------------------------------


def test_flips_take_boxes_and_masks_along(data_root: Path) -> None:
    own = small(data_root)
    data = detect_dataset.prepare(configured(model=MASK), own, {}, Machine())
    image, truth = detect.batch(data.train, torch.arange(8), data, True)
    which = torch.tensor([True, False] * 2 + [True, True, False, False]), torch.tensor([False] * 4 + [True] * 4)
    turned = truth.mirrored(*which)
    from trainables.detect.boxes import masks_to_boxes

    assert turned.mask_b1hw is not None
    torch.testing.assert_close(masks_to_boxes(turned.mask_b1hw > 0.5), turned.box_b4)
    assert torch.equal(detect.mirrored(detect.mirrored(image, *which), *which), image)
    twice = turned.mirrored(*which)
    torch.testing.assert_close(twice.box_b4, truth.box_b4)


def test_fewer_images_are_balanced_parts_of_more(data_root: Path) -> None:
    own = small(data_root)
    few, more = (detect_dataset.first_images(own.train, n, "train") for n in (10, 20))
    assert few.label_n.sum() == 5
    assert set(few.source) < set(more.source)
    with pytest.raises(TrialError, match="the set has 32"):
        detect_dataset.first_images(own.train, 80, "train")


def test_folds_part_by_photograph_and_are_recorded(data_root: Path) -> None:
    own = small(data_root)
    kept, out = zip(*(detect_dataset.split_fold(own.train, i, 3) for i in range(3)), strict=True)
    assert sorted(s for part in out for s in part.source) == sorted(own.train.source)
    assert all(not set(a.source) & set(b.source) for a, b in zip(kept, out, strict=True))
    session = run(data_root, epochs=1, data={"fold": [1, 3]})
    arrays = np.load(io.BytesIO(session.images[1]["outputs.npz"]))
    assert arrays["held_source"].tolist() == out[1].source
    assert arrays["held_feature"].shape == (len(out[1]), 8)


def test_a_set_of_one_kind_is_refused(data_root: Path) -> None:
    own = small(data_root)
    positives = own.train.take(torch.arange(1, 64, 2))
    one = type(own)(positives, own.val, own.test, own.fingerprint)
    with pytest.raises(TrialError) as caught:
        detect_dataset.prepare(configured(), one, {}, Machine())
    assert "32, of which 32 are inpainted" in str(caught.value)


def test_a_set_that_was_not_brought_is_told() -> None:
    with pytest.raises(TrialError, match="not available on this machine"):
        detect.load(configured(), Machine())


@pytest.mark.parametrize(
    "change", [{"jpeg": 30}, {"webp": 30}, {"blur": 1.5}, {"noise_sd": 8.0}, {"resize": 0.5}, {"resize": 2.0}]
)
def test_changes_of_test_images(data_root: Path, change: dict[str, Any]) -> None:
    image = small(data_root).test.image_n3hw
    found = perturb(image, change)
    assert found.dtype == torch.uint8
    assert found.shape == image.shape
    difference = (found.float() - image.float()).abs().mean()
    assert 1 < difference < 25
    assert torch.equal(found, perturb(image, change))
    if change == {"noise_sd": 8.0}:
        assert (found.float() - image.float()).std() == pytest.approx(8, rel=0.1)
        assert torch.equal(found, perturb(image, {"noise": 8.0})), "the older name"


@pytest.mark.parametrize(
    ("name", "options"), [(name, field) for name, field in PerturbationConfig.model_fields.items()]
)
def test_every_change_changes_an_image_at_its_weakest(name: str, options: FieldInfo) -> None:
    """At the least value that the key accepts, or 100, the highest quality."""
    bounds = {type(bound).__name__: bound for bound in options.metadata}
    weakest = bounds["Le"].le if name in ("jpeg", "webp") else bounds["Ge"].ge
    change = PerturbationConfig.model_validate({name: weakest}).model_dump()
    check_change({"label": "weak", "change": change, "size": 32}, None)


def test_a_change_that_changes_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrialError, match=r"test_changes\.grain\.noise_sd"):
        configured(test_changes={"grain": {"noise_sd": 0.02}})
    with pytest.raises(TrialError, match="keep their size"):
        configured(test_changes={"same": {"resize": 1.01}})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text("def same(image): return image\n")
    config = configured(test_changes={"same": {"name": "./own.py:same"}})
    [(check, section)] = detect.checks(config)
    with pytest.raises(TrialError, match=r"test_changes\.same(.|\n)*changes no pixel"):
        check(section, None)


# --- scoring ----------------------------------------------------------------------------------------------------------


def test_other_sets_and_changes_are_scored_at_the_threshold_of_validation(data_root: Path) -> None:
    forged = configured()["data"]["forged"]
    row = run(
        data_root, model=LABEL, test_sets={"noise": {"forged": forged}}, test_changes={"jpeg50": {"jpeg": 50}}
    ).rows[-1]
    assert {"test/f1_on_noise", "test/auc_on_jpeg50", "test/f1_tuned_on_noise"} <= set(row)
    assert row["test/threshold"] == row["val/threshold"]
    assert all(record_columns.describe(name)[2] for name in row if name != "epoch")


def test_steps_are_applied_in_their_order_and_on_other_sets(data_root: Path) -> None:
    config = configured(
        test_sets={"bench": {"forged": configured()["data"]["forged"]}},
        test_changes={
            "shared": {"steps": [{"resize": 0.5}, {"jpeg": 75}], "on": "all"},
            "jpeg": {"steps": [{"jpeg": [90, 30]}], "on": ["bench"]},
            "grain": {"steps": [{"noise_sd": 4}, {"noise_sd": 4}]},
        },
    )
    own, other = small(data_root), small(data_root, fill="noise")
    data = detect_dataset.prepare(config, own, {"bench": other}, Machine())
    found = dict(data.changed_tests())
    assert list(found) == ["bench_shared", "shared", "bench_jpeg90", "bench_jpeg30", "grain"]
    by_hand = perturb(perturb(other.test.image_n3hw, {"resize": 0.5}), {"jpeg": 75})
    assert torch.equal(found["bench_shared"].image_n3hw, by_hand)
    assert found["bench_shared"].inpainter == other.test.inpainter
    assert torch.equal(found["bench_jpeg30"].image_n3hw, perturb(other.test.image_n3hw, {"jpeg": 30}))
    twice = (found["grain"].image_n3hw.float() - own.test.image_n3hw.float()).std()
    assert twice == pytest.approx(32**0.5, rel=0.1), "the two draws are independent"

    session = MemorySession(Goal(1), Machine(data_root=data_root))
    config["epochs"] = 1
    fit(InMemory(own, {"bench": other}), config, session)  # type: ignore[arg-type]
    row = session.rows[-1]
    assert {"test/auc_on_shared", "test/auc_on_bench_shared", "test/f1_tuned_on_bench_jpeg30"} <= set(row)
    assert "after the change `jpeg30`" in record_columns.describe("test/f1_tuned_on_bench_jpeg30")[2]
    assert all(record_columns.describe(name)[2] for name in row if name != "epoch")


@pytest.mark.parametrize("label", [1, 0])
def test_a_test_set_of_one_class_has_the_metrics_that_are_defined_there(data_root: Path, label: int) -> None:
    own, other = small(data_root), small(data_root, fill="noise")
    alone = replace(other, test=other.test.take(torch.nonzero(other.test.label_n == label).flatten()))
    config = configured(model=MASK, epochs=1, test_sets={"bench": {"forged": configured()["data"]["forged"]}})
    session = MemorySession(Goal(1), Machine(data_root=data_root))
    fit(InMemory(own, {"bench": alone}), config, session)  # type: ignore[arg-type]
    there = {name.removeprefix("test/").removesuffix("_on_bench") for name in session.rows[-1] if "_on_bench" in name}
    places = {"mean_iou", "iou_above_50", "pixel_f1", "pixel_iou", "average_precision_pixel"}
    if label:
        found = places | {"recall", "recall_tuned", "accuracy", "accuracy_tuned"}
        assert found <= there <= found | {"mean_iou_tp"}
    else:
        assert there == {"fpr_authentic", "accuracy", "accuracy_tuned"}


def test_metrics_and_changes_of_users_are_scored(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(
        "better = 'max'\n"
        "def right(probability, label): return ((probability >= 0.5) == (label > 0.5)).float()\n"
        "def inside(box, true_box): return (box[:, 0] >= true_box[:, 0]).float()\n"
        "def black(image): return image * 0\n"
    )
    added = {
        "metrics": {"right": {"name": "./own.py:right"}, "inside": {"name": "./own.py:inside"}},
        "test_changes": {"black": {"name": "./own.py:black"}},
    }
    row = same(run(data_root, model=MASK, **added).rows)[-1]
    for column in ("val/{}", "test/{}", "test/{}_on_black"):
        assert row[column.format("right")] == pytest.approx(row[column.format("accuracy")])
        assert 0 <= row[column.format("inside")] <= 1
    assert row["test/accuracy_on_black"] == 0.5
    added["metrics"] = {}
    without = same(run(data_root, model=MASK, **added).rows)[-1]
    assert without == {name: value for name, value in row.items() if "right" not in name and "inside" not in name}
    added["metrics"] = {"inside": {"name": "./own.py:inside"}}
    assert not any("inside" in name for name in run(data_root, model=LABEL, **added).rows[-1])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("majority", {"f1": 2 / 3, "auc": 0.5, "accuracy": 0.5}),
        ("constant_box", {"f1": 2 / 3, "recall": 1.0, "auc": 0.5, "fpr_authentic": 1.0}),
        ("high_pass_probe", {}),
    ],
)
def test_baselines(data_root: Path, name: str, expected: dict[str, float]) -> None:
    row = run(data_root, model={"name": name}).rows[-1]
    assert {key: row[f"test/{key}"] for key in expected} == pytest.approx(expected)
    if name == "constant_box":
        assert 0.1 < row["test/mean_iou"] < 0.35
    if name == "high_pass_probe":
        assert row["test/auc"] > 0.7


def test_files(data_root: Path) -> None:
    session = run(data_root, model=MASK)
    files = session.images[2]
    values = np.load(io.BytesIO(files["per_image.npz"]))
    assert {name: values[name].shape for name in ("probability", "iou", "box")} == {
        "probability": (32,),
        "iou": (32,),
        "box": (32, 4),
    }
    assert np.isnan(values["iou"]).tolist() == (values["label"] < 0.5).tolist()
    outputs = np.load(io.BytesIO(files["outputs.npz"]))
    assert {name.partition("_")[0] for name in outputs.files} == {"val", "test"}
    assert len(outputs["test_logit"]) == len(outputs["test_source"]) == 32
    scores = np.load(io.BytesIO(files["image_scores.npz"]))
    assert {name.partition(".")[0] for name in scores.files} == {"sources", "kinds", "threshold", "own", "noise"}
    assert np.array_equal(scores["own.logit"] >= 0, values["probability"] >= 0.5)
    assert scores["sources"][scores["noise.source"]].tolist() == outputs["test_source"].tolist()
    assert scores["own.pixels"].shape == (32, 3)
    for name in ("truth.png", "found.png", "heat.png"):
        assert Image.open(io.BytesIO(files[name])).width == 8 * 96


def test_samples_of_an_epoch_are_there_for_the_eye(data_root: Path) -> None:
    session = run(data_root)
    assert set(session.images[1]) == {"truth.png", "found.png"}
    green = np.array(Image.open(io.BytesIO(session.images[1]["truth.png"])).convert("RGB"))
    assert (green == (0, 200, 0)).all(2).any()


def test_extra_scores_are_refused() -> None:
    with pytest.raises(TrialError, match="does not fill images"):
        detect.check_extra(None, ["fid"])  # type: ignore[arg-type]


def test_a_forged_set_from_its_folder(data_root: Path, tmp_path: Path) -> None:
    """The set of a trial, and another one to test on."""
    own, folders = on_disk(data_root, tmp_path)
    other, more = on_disk(data_root, tmp_path, inpainters=[{"name": "telea"}])
    config = configured(data={"forged": own}, test_sets={"telea": {"forged": other}})
    assert set(schema.needs("detect", config, 0).forged) == {*folders, *more}
    session = MemorySession(Goal(2), Machine(data_root=data_root, forged={**folders, **more}))
    fit(detect, config, session)  # type: ignore[arg-type]
    assert session.rows[-1]["test/fpr_authentic_on_telea"] >= 0
    assert session.rows[-1]["test/images_sharp_low"] > 0
    assert session.result is not None
    assert len(session.result["data_fingerprint"]) == 64
