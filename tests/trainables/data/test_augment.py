"""Augmentation: small cases by hand; draws depend on (seed, epoch, image index) and change training images only."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from trainables import schema
from trainables.data import augment
from trainables.errors import TrialError
from trainables.inpaint import task as inpaint
from trainables.inpaint.method import Regression
from trainables.training.session import Machine

ALL = {"rotation_deg": 10.0, "zoom": [1.0, 1.2], "blur_sigma": [0.0, 1.0], "flip": 0.5}


def changes(n: int = 8, seed: int = 0, **options: Any) -> augment.Augmentation:
    section = {**dict.fromkeys(ALL), **options}
    return augment.draw(section, n, torch.Generator().manual_seed(seed))


@pytest.fixture
def image() -> Tensor:
    return torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_mirrored_left_to_right(image: Tensor) -> None:
    assert torch.equal(changes(flip=1.0).apply(image, torch.arange(8)), image.flip(3))
    mirrored = changes(n=10_000, flip=0.3).mirrored_n
    assert mirrored is not None
    assert mirrored.float().mean().item() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(("angle", "quarter_turns"), [(0.0, 0), (90.0, 1), (-90.0, -1), (180.0, 2)])
def test_turned_counter_clockwise(image: Tensor, angle: float, quarter_turns: int) -> None:
    turned = augment.Augmentation(None, torch.full((8,), angle), None, None).apply(image, torch.arange(8))
    torch.testing.assert_close(turned, image.rot90(quarter_turns, (2, 3)), atol=1e-5, rtol=0)


def test_enlarged_about_the_centre(image: Tensor) -> None:
    """At twice the size, pixel 4 of the result is at position 5.75 of the original, between pixels 5 and 6."""
    enlarged = augment.Augmentation(None, None, torch.full((8,), 2.0), None).apply(image, torch.arange(8))
    expected = sum(wy * wx * image[:, :, y, x] for y, wy in ((5, 0.25), (6, 0.75)) for x, wx in ((5, 0.25), (6, 0.75)))
    torch.testing.assert_close(enlarged[:, :, 4, 4], expected, atol=1e-5, rtol=0)


def test_blurred_by_a_gaussian_of_its_own(image: Tensor) -> None:
    sigma = torch.tensor([0.0, 0.04, 0.5, 1.0, 1.0, 2.0, 3.0, 5.0])
    blurred = augment.Augmentation(None, None, None, sigma).apply(image.double(), torch.arange(8))
    assert torch.equal(blurred[:2], image[:2].double()), "nothing to blur"
    weights = [math.exp(-((x - 8) ** 2) / 2) for x in range(16)]
    expected = (
        sum(weights[y] * weights[x] * image[3, :, y, x].double() for y in range(16) for x in range(16))
        / sum(weights) ** 2
    )
    torch.testing.assert_close(blurred[3, :, 8, 8], expected)
    assert (blurred.var((1, 2, 3)).diff()[[1, 2, 4, 5, 6]] < 0).all(), "more blur, less variance"
    flat = torch.full_like(image, 0.25)
    torch.testing.assert_close(changes(blur_sigma=[2.0, 5.0]).apply(flat, torch.arange(8)), flat)


def test_ranges_are_kept_and_options_drawn_apart() -> None:
    every, zoom = changes(n=1000, **ALL), changes(n=1000, zoom=[1.0, 1.2])
    assert every.angle_n is not None
    assert every.zoom_n is not None
    assert every.sigma_n is not None
    assert every.angle_n.abs().max() <= 10
    assert every.angle_n.min() < -9
    assert (every.zoom_n.min() >= 1, every.zoom_n.max() <= 1.2) == (True, True)
    assert (every.sigma_n.min() >= 0, every.sigma_n.max() <= 1) == (True, True)
    assert zoom.zoom_n is not None
    assert torch.equal(zoom.zoom_n, every.zoom_n)
    assert zoom.angle_n is None


def test_an_image_is_changed_alike_in_any_batch_and_stays_in_range(image: Tensor) -> None:
    drawn = changes(**ALL)
    whole = drawn.apply(image.contiguous(memory_format=torch.channels_last), torch.arange(8))
    assert whole.is_contiguous(memory_format=torch.channels_last)
    assert 0 <= whole.min() <= whole.max() <= 1
    for index in (torch.tensor([5]), torch.tensor([7, 0, 3])):
        torch.testing.assert_close(drawn.apply(image[index], index), whole[index], atol=1e-6, rtol=0)
    assert not torch.equal(changes(seed=1, **ALL).apply(image, torch.arange(8)), whole)


# --- in a trial -------------------------------------------------------------------------------------------------------


def configured(seed: int = 1, **section: Any) -> dict[str, Any]:
    data = {"name": "cifar10", "train": 24, "val": 4, "test": 4, "augment": section or None}
    config = {"data": data, "mask": {"name": "lines"}, "model": {"name": "vanilla_autoencoder", "width": 2}, "batch": 8}
    return {**schema.resolve("inpaint", config), "seed": seed}


def seen(config: dict[str, Any], data_root: Path, epoch: int, monkeypatch: pytest.MonkeyPatch) -> dict[int, Tensor]:
    """The training images of an epoch, by image index."""
    machine = Machine(data_root=data_root)
    data = inpaint.load(config, machine)
    learner = inpaint.build(config, data, machine)
    order: list[int] = []
    found: list[Tensor] = []
    batch = inpaint.InpaintDataset.batch
    with monkeypatch.context() as patched:
        patched.setattr(
            inpaint.InpaintDataset, "batch", lambda s, p, i, d: (order.extend(i.tolist()), batch(s, p, i, d))[1]
        )
        step = Regression.begin_step
        patched.setattr(
            Regression, "begin_step", lambda s, batch: (found.extend(batch.image_b3hw.clone()), step(s, batch))[1]
        )
        for _ in inpaint.train(learner, config, data, epoch):
            pass
    return dict(zip(order, found, strict=True))


def test_only_training_images_change_and_by_seed_epoch_and_index_alone(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = seen(configured(), data_root, 1, monkeypatch)
    first, again, large = (
        seen({**configured(**ALL), "batch": batch}, data_root, 1, monkeypatch) for batch in (8, 8, 12)
    )
    assert all(torch.equal(first[i], again[i]) for i in range(24))
    assert all(torch.allclose(first[i], large[i], atol=1e-6) for i in range(24))
    others = [seen(configured(seed, **ALL), data_root, epoch, monkeypatch) for seed, epoch in ((1, 2), (2, 1))]
    for other in (plain, *others):
        assert sum(not torch.allclose(first[i], other[i], atol=1e-3) for i in range(24)) > 20
    machine = Machine(data_root=data_root)
    changed, same = (inpaint.load(config, machine) for config in (configured(**ALL), configured()))
    assert changed.images is same.images or torch.equal(changed.images.test, same.images.test)
    assert changed.fingerprint == same.fingerprint


def test_what_is_off_does_not_change_an_identity() -> None:
    identity = schema.identity("inpaint", configured(), 1)
    assert identity["data"] == {"name": "cifar10", "size": 32, "train": 24, "val": 4, "test": 4}
    flipped = schema.identity("inpaint", configured(flip=0.5), 1)
    assert flipped["data"]["augment"] == {"flip": 0.5}


@pytest.mark.parametrize(
    "section", [{"zoom": [1.2, 1.0]}, {"zoom": [0.0, 1.0]}, {"rotation": 5.0}, {"flip": 1.5}, {"blur_sigma": 1.0}]
)
def test_mistakes_are_told(section: dict[str, Any]) -> None:
    with pytest.raises(TrialError) as caught:
        configured(**section)
    assert "augment" in caught.value.key


# --- further test masks -----------------------------------------------------------------------------------------------


def test_the_test_images_are_also_scored_under_other_masks(data_root: Path) -> None:
    own = {"name": "rectangle", "fraction": [0.1, 0.25], "aspect": 2.0}
    others = {"rectangles": own, "lines": {"name": "lines"}}
    config = {**configured(), "mask": own, "test_masks": others}
    del config["seed"]
    config = {**schema.resolve("inpaint", config), "seed": 1}
    machine = Machine(data_root=data_root)
    data = inpaint.load(config, machine)
    learner = inpaint.build(config, data, machine)
    scores = inpaint.evaluate(learner, data, "test")
    for name in ("psnr_db", "l2_hole", "ssim", "hole_fraction"):
        assert scores[f"{name}_on_rectangles"] == scores[name], "the same section, the same holes"
        assert scores[f"{name}_on_lines"] != scores[name]
    assert not any("_on_" in name for name in inpaint.evaluate(learner, data, "val"))
    without = schema.resolve("inpaint", {key: config[key] for key in ("data", "mask", "model")})
    assert without["test_masks"] is None
    fill = {**without, "model": {"name": "mean_fill"}}
    fills = [schema.resolve("inpaint", {**fill, "test_masks": given}) for given in (None, others)]
    assert schema.identity("inpaint", fills[0], 0) != schema.identity("inpaint", fills[1], 0), "it has more columns"


@pytest.mark.parametrize(
    ("given", "named"), [({"On it": {"name": "lines"}}, "On it"), ({"a": {"name": "line"}}, "line"), ({"a": 1}, "a")]
)
def test_wrong_test_masks_are_told(given: dict[str, Any], named: str) -> None:
    config = {key: value for key, value in configured().items() if key != "seed"}
    with pytest.raises(TrialError, match=named):
        schema.resolve("inpaint", {**config, "test_masks": given})
    centre = {**config, "model": {"name": "context_encoder", "predicts": "centre"}, "mask": {"name": "centre"}}
    with pytest.raises(TrialError, match="predicts"):
        schema.resolve("inpaint", {**centre, "test_masks": {"lines": {"name": "lines"}}})
