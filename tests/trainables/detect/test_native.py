"""Sets that keep the size of their photographs: windows in training, overlapping windows in testing."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from sweeps.cli import main
from tests.trainables.detect.native_set import COUNTS, SET, WINDOW, make
from trainables import schema
from trainables.detect import boxes, calibration
from trainables.detect import dataset as detect_dataset
from trainables.detect import task as detect
from trainables.detect.evaluation import photographs
from trainables.detect.perturbations import perturb
from trainables.forgery import public_datasets
from trainables.forgery.config import resolve_set
from trainables.forgery.native_images import NativeImages, region
from trainables.inference import predict, user_images
from trainables.training import checkpoint
from trainables.training.distributed import Workers
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession, Restored

NET = {"name": "search_net", "width": 4, "depth": 1, "stages": 2, "head": "mask"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("native"))


def configured(seed: int = 0, **changes: Any) -> dict[str, Any]:
    base = {"data": {"set": SET, **changes.pop("data", {})}, "model": NET, "batch": 8, "epochs": 2}
    return {**schema.resolve("detect", {**base, **changes}, Path.cwd()), "seed": seed}


def prepared(root: Path, **changes: Any) -> tuple[dict[str, Any], detect_dataset.DetectDataset]:
    config = configured(**changes)
    return config, detect.load(config, Machine(data_root=root))


def run(root: Path, restored: Restored | None = None, extra: tuple[str, ...] = (), **changes: Any) -> MemorySession:
    config = configured(**changes)
    session = MemorySession(Goal(config["epochs"], extra=extra), Machine(data_root=root), restored)
    fit(detect, config, session)  # type: ignore[arg-type]
    return session


def test_photographs_keep_their_size(root: Path) -> None:
    found = public_datasets.load(resolve_set(SET), root)
    squares = public_datasets.load(resolve_set({**SET, "native": None}), root)
    assert [len(part) for part in (found.train, found.val, found.test)] == [2 * count for count in COUNTS.values()]
    part = found.test
    assert isinstance(part, NativeImages)
    assert not isinstance(squares.test, NativeImages)
    assert found.fingerprint != squares.fingerprint
    assert part.source == squares.test.source
    for i, name in enumerate(f"{part.source[i]}-{'fake' if part.label_n[i] else 'real'}" for i in range(len(part))):
        file = np.array(Image.open(root / "set" / "images" / f"{name}.png"))
        assert np.array_equal(part.photograph[i].permute(1, 2, 0).numpy(), file)
        mask = np.zeros(file.shape[:2], np.uint8)
        if part.label_n[i]:
            mask = np.array(Image.open(root / "set" / "masks" / f"{name}.png"))
        assert np.array_equal(part.hole[i].numpy(), mask > 127)
        assert part.hole_share_n[i] == pytest.approx((mask > 127).mean())
        if part.label_n[i]:
            x, y, width, height = cv2.boundingRect(mask)
            true = np.array([x, y, x + width, y + height]) / ([*mask.shape[::-1]] * 2)
            assert part.box_n4[i].tolist() == pytest.approx(true.tolist())
    few = part.take(torch.tensor([3, 1]))
    assert isinstance(few, NativeImages)
    assert torch.equal(few.photograph[1], part.photograph[1])


def test_a_set_that_is_resized_is_the_same_trial_as_before() -> None:
    plain = schema.resolve("detect", {"data": {"set": {**SET, "native": None}}, "model": NET}, Path.cwd())
    off = schema.resolve("detect", {"data": {"set": {**SET, "native": False}}, "model": NET}, Path.cwd())
    assert plain == off
    assert "native" not in plain["data"]["set"]
    assert configured()["data"]["set"]["native"] is True


def test_a_window_of_a_fake_has_a_part_of_the_hole_and_every_place_is_possible() -> None:
    hole = np.zeros((40, 70), dtype=np.bool_)
    hole[5:8, 60:65] = True
    draws = np.random.default_rng(0).random((2000, 3)).tolist()
    places = [region(hole, 16, draw) for draw in draws]
    assert all(place.of(hole).any() for place in places)
    assert all(0 <= place.top <= 40 - 16 and 0 <= place.left <= 70 - 16 for place in places)
    assert {place.top for place in places} == set(range(8))
    assert {place.left for place in places} == set(range(45, 55))
    anywhere = [region(np.zeros((40, 70), dtype=np.bool_), 16, draw) for draw in draws]
    assert {place.top for place in anywhere} == set(range(25))
    assert {place.left for place in anywhere} == set(range(55))
    small = region(hole[:10], 16, [0.5, 0.9, 0.9])
    assert small.top == 0
    assert small.of(hole[:10]).shape == (16, 16)


def test_windows_are_pixels_of_the_photograph_with_their_own_boxes(root: Path) -> None:
    _, data = prepared(root)
    part = data.train
    assert isinstance(part, NativeImages)
    draws = detect_dataset.window_draws(part, 0, "windows", 1)
    assert draws is not None
    found = detect_dataset.windows(part, torch.arange(len(part)), draws, data.side)
    for i in range(len(part)):
        place = region(part.hole[i].numpy(), WINDOW, draws[i].tolist())
        pixels = place.of(part.photograph[i].permute(1, 2, 0).numpy())
        assert np.array_equal(found.image_n3hw[i].permute(1, 2, 0).numpy(), pixels)
        assert np.array_equal(found.mask_n1hw[i, 0].numpy(), place.of(part.hole[i].numpy()))
        assert bool(found.mask_n1hw[i].any()) == bool(part.label_n[i])
    assert torch.equal(found.box_n4, boxes.masks_to_boxes(found.mask_n1hw))
    few = detect_dataset.windows(part, torch.tensor([5, 2]), draws, data.side)
    assert torch.equal(few.image_n3hw, found.image_n3hw[[5, 2]])


def test_windows_depend_on_seed_and_epoch_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[float]] = []
    step = detect.DetectLearner.step

    def spy(self: detect.DetectLearner, image: torch.Tensor, truth: detect.Targets, whole: int) -> Any:
        seen[-1].extend(image.double().sum((1, 2, 3)).tolist())
        return step(self, image, truth, whole)

    monkeypatch.setattr(detect.DetectLearner, "step", spy)
    for batch, seed in ((8, 0), (4, 0), (8, 1)):
        seen.append([])
        run(root, epochs=2, batch=batch, seed=seed)
    assert seen[0] == seen[1]
    assert sorted(seen[0]) != sorted(seen[2])
    half = len(seen[0]) // 2
    assert sorted(seen[0][:half]) != sorted(seen[0][half:]), "another window in each epoch"


def test_it_goes_on_to_the_last_bit(root: Path) -> None:
    changes: dict[str, Any] = {"epochs": 3, "data": {"augment": {"flip": 0.5}}}
    whole = run(root, **changes)
    again = run(root, Restored(1, whole.saved[1]), **changes)
    ends = [checkpoint.unpack(session.saved[3])[0]["network"] for session in (whole, again)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert again.images[3]["per_image.npz"] == whole.images[3]["per_image.npz"]


@pytest.mark.parametrize("head", ["mask", "box", "label"])
def test_a_photograph_is_scanned_as_predict_does(root: Path, head: str) -> None:
    config, data = prepared(root, model={**NET, "head": head})
    learner = detect.build(config, data, Machine(data_root=root))
    learner.network.eval()
    part = data.test
    assert isinstance(part, NativeImages)
    found = photographs.predict_photographs(learner.predict, part, Workers())
    calm = calibration.Threshold(-100.0, {})
    for i in range(len(part)):
        pixels = Image.fromarray(part.photograph[i].permute(1, 2, 0).contiguous().numpy())
        detection = predict.detect(learner.network, config, lambda _: calm, user_images.decode(pixels, Path("x.png")))
        by_predict = np.log(detection.probability / (1 - detection.probability))
        assert found.labelled.logit_n[i] == pytest.approx(by_predict, rel=1e-9, abs=1e-9)
        if head == "label":
            assert found.box_n4 is None
            continue
        assert found.box_n4 is not None
        assert found.labelled.iou_n is not None
        assert found.labelled.pixel_n3 is not None
        width, height = pixels.size
        shares = np.array(detection.box or (0, 0, 0, 0)) / [width, height, width, height]
        assert found.box_n4[i].tolist() == pytest.approx(shares.tolist())
        own = boxes.iou(torch.from_numpy(found.box_n4[i][None]), part.box_n4[i][None].double())
        assert found.labelled.iou_n[i] == pytest.approx(float(own))
        right, wrong, missed = found.labelled.pixel_n3[i]
        assert right + missed == int(part.hole[i].sum())
        assert right + wrong <= width * height
        if head == "mask":
            assert right + wrong == int((detection.heat_hw >= 0.5).sum())


def test_every_metric_is_one_of_the_photograph(root: Path) -> None:
    names = ("pixel_auc", "mean_iou_region", "pixel_fpr_authentic", "pixel_f1_best", "fpr_authentic_tuned")
    changes = {"jpeg": {"jpeg": [90, 40]}, "half": {"resize": 0.5}, "grain": {"noise_sd": 20.0}}
    session = run(root, extra=names, test_changes=changes, test_sets={"bench": {"set": {**SET, "use": "all"}}})
    row = session.rows[-1]
    for name in (*names, "pixel_f1", "mean_iou", "auc", "average_precision_pixel"):
        assert f"test/{name}" in row, name
    assert any(name.startswith("test/recall_share_") for name in row)
    assert all(f"test/auc_on_{label}" in row for label in ("jpeg90", "jpeg40", "half", "grain", "bench"))
    files = session.images[2]
    with np.load(io.BytesIO(files["outputs.npz"])) as outputs:
        assert len(outputs["val_windows"]) == len(outputs["val_logit"]) == 2 * COUNTS["val"]
        assert outputs["val_windows"].max() > 4
        assert len(outputs["val_feature"]) == 2 * COUNTS["val"]
        mean = outputs["val_windows"][outputs["val_label"] < 0.5].mean()
    assert calibration.validation(files["outputs.npz"], "outputs").windows == pytest.approx(mean)
    assert {"truth.png", "found.png", "heat.png"} <= set(files)


def test_a_change_has_the_random_numbers_of_the_photograph(root: Path) -> None:
    _, data = prepared(root, test_changes={"grain": {"noise_sd": 20.0}})
    part, changed = data.test, dict(data.changed_tests())["grain"]
    assert isinstance(part, NativeImages)
    assert isinstance(changed, NativeImages)
    by_hand = perturb(part.photograph[3][None], {"noise_sd": 20.0}, 3)[0]
    assert torch.equal(changed.photograph[3], by_hand)
    assert not torch.equal(changed.photograph[3], perturb(part.photograph[3][None], {"noise_sd": 20.0})[0])


def test_a_detector_of_squares_is_tested_on_whole_photographs(root: Path) -> None:
    session = run(
        root,
        data={"set": {**SET, "native": None}},
        test_sets={"whole": {"set": {**SET, "use": "all"}}},
        test_changes={"soft": {"steps": [{"blur": 1.0}], "on": "all"}},
    )
    assert {"test/auc_on_whole", "test/mean_iou_on_whole", "test/auc_on_whole_soft", "test/auc_on_soft"} <= set(
        session.rows[-1]
    )


def test_baselines_answer_for_the_whole_photograph(root: Path) -> None:
    config, data = prepared(root, model={"name": "constant_box"})
    learner = detect.build(config, data, Machine(data_root=root))
    part = data.test
    assert isinstance(part, NativeImages)
    found = photographs.predict_photographs(learner.predict, part, Workers())
    assert found.box_n4 is not None
    assert found.labelled.iou_n is not None
    same = learner.predict(data.test.image_n3hw[:1].float()).box_b4
    assert same is not None
    assert np.allclose(found.box_n4, same.numpy())
    fakes = part.label_n.numpy() > 0.5
    assert found.labelled.iou_n[fakes].mean() == pytest.approx(
        float(boxes.iou(same.expand(len(part), 4), part.box_n4)[torch.from_numpy(fakes)].mean())
    )
    probe = run(root, model={"name": "high_pass_probe"})
    assert probe.rows[-1]["test/auc"] > 0.9, "the fakes are noise"


def test_the_threshold_for_as_many_windows_is_that_of_the_validation_photographs() -> None:
    logit_n = np.random.default_rng(0).normal(size=400)
    plain = calibration.at_rate(logit_n, 0.05)
    assert calibration.at_rate(logit_n, 0.05, windows=12, validated=12.0).logit == plain.logit
    more = calibration.at_rate(logit_n, 0.05, windows=48, validated=12.0)
    assert more.logit > plain.logit
    assert more.origin["supported_false_positive_rate"] <= 0.05
    assert calibration.at_rate(logit_n, 0.05, windows=12, validated=12.0).origin["windows_of_validation_images"] == 12
    assert "windows_of_validation_images" not in plain.origin


def test_a_sweep_and_predict(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, store = tmp_path / "native.yaml", tmp_path / "store"
    given = {"data": {"set": SET}, "model": NET, "batch": 8, "epochs": 1}
    file.write_text(f"# Is the noise found?\nname: native\ntask: detect\nbase: {json.dumps(given)}\nseeds: 1\n")
    where = ["--store", str(store)]
    assert main(["run", str(file), *where, "--data", str(root), "--address", "in-process", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["status", "native", *where, "--json"]) == 0
    trial = next(iter(_ids(json.loads(capsys.readouterr().out))))
    image = root / "set" / "images" / "test3-fake.png"
    assert main(["predict", trial, str(image), *where, "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "test3-fake.png.found.json").read_text())
    assert found["threshold_chosen"]["windows_of_validation_images"] > 1
    assert found["windows"]["window_px"] == WINDOW
    assert main(["export", trial, *where, "--out", str(tmp_path / "exported")]) == 0
    assert " windows on average" in (tmp_path / "exported" / "README.md").read_text()


def _ids(value: Any) -> Any:
    """Every value of a key `trial_id` or `id` of 16 digits."""
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if key in ("trial", "trial_id", "id") and isinstance(one, str) and len(one) == 16:
            yield one
        else:
            yield from _ids(one)
