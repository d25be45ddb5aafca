"""Holes of whole photographs: windows at the photograph's own resolution, coarser ones for wide holes, or a resize."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from trainables import schema
from trainables.errors import TrialError
from trainables.inference import filling, predict, user_images
from trainables.inference.windows import Region, ramp, starts
from trainables.training.networks import build_network

SIZE = 32


def slope(height: int = 150, width: int = 230) -> Image.Image:
    """A photograph without detail."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, 255 - x], 2).astype(np.uint8))


def rectangle(*box: int, shape: tuple[int, int] = (150, 230)) -> user_images.Mask:
    left, top, width, height = box
    hole_hw = np.zeros(shape, dtype=bool)
    hole_hw[top : top + height, left : left + width] = True
    return hole_hw


def painter(model: dict[str, Any] | None = None) -> filling.Painter:
    torch.manual_seed(0)
    section = schema.resolve(
        "inpaint", {"data": {"name": "cifar10"}, "mask": {"name": "centre"}, "model": model or {"name": "onion_peel"}}
    )["model"]
    centred = section.get("predicts") == "centre"
    return filling.Painter(build_network(section, SIZE), SIZE, centred=centred)


STROKE = rectangle(3, 70, 200, 4) | rectangle(100, 0, 5, 150)
HOLES = {
    "small": (rectangle(60, 40, 14, 15), 1.0),
    "at a corner": (rectangle(0, 0, 7, 12), 1.0),
    "a cross as wide as the photograph": (STROKE, 1.0),
    "wide": (rectangle(80, 40, 40, 70), 3.75),
    "wide at an edge": (rectangle(200, 20, 30, 90), 4.7),
    "wide and small": (rectangle(60, 40, 80, 80) | rectangle(5, 5, 4, 4) | rectangle(200, 100, 8, 20), 5.0),
}


@pytest.mark.parametrize("name", HOLES)
def test_a_hole_is_filled_as_finely_as_its_width_allows(name: str) -> None:
    hole_hw, cell = HOLES[name]
    truth = np.asarray(slope())
    given = Image.fromarray(np.where(hole_hw[..., None], 0, truth).astype(np.uint8))
    errors = []
    for fill in (filling.windowed, filling.resized):
        filled = fill(painter(), given, hole_hw)
        pixels = np.asarray(filled.image)
        assert np.array_equal(pixels[~hole_hw], truth[~hole_hw])
        errors.append(np.abs(pixels.astype(int) - truth)[hole_hw].mean())
        if fill is filling.windowed:
            assert filled.made["largest_cell_px"] == pytest.approx(cell, abs=0.1)
            assert (filled.note == "") == (cell == 1)
        else:
            assert "7.19 x 4.69 px" in filled.note
    assert errors[0] < errors[1] < 40


def test_several_windows_overlap_and_join_without_a_seam() -> None:
    hole_hw = STROKE
    filled = filling.windowed(painter(), slope(), hole_hw)
    (part,) = filled.made["parts"]
    assert part["windows"] > 20
    assert part["window_px"] == SIZE
    steps = np.abs(np.diff(np.asarray(filled.image)[71, 5:95].astype(int), axis=0))
    assert steps.max() <= 3


def test_a_photograph_that_is_smaller_than_the_network() -> None:
    hole_hw = rectangle(4, 4, 6, 5, shape=(20, 48))
    filled = filling.windowed(painter(), slope(20, 48), hole_hw)
    assert filled.made["largest_cell_px"] == 1
    assert np.abs(np.asarray(filled.image).astype(int) - np.asarray(slope(20, 48))).max() < 12


def test_a_network_for_centred_holes_fills_a_hole_anywhere() -> None:
    """Its windows have the hole in the middle, continued by mirroring at the edges; a resize cannot do that."""
    model = {"name": "context_encoder", "predicts": "centre", "width": 2, "bottleneck": 8}
    given = painter(model)
    masks: list[Any] = []
    given.network.register_forward_pre_hook(lambda _network, inputs: masks.append(inputs[1]))
    hole_hw = rectangle(0, 0, 9, 12) | rectangle(100, 60, 70, 50) | rectangle(215, 140, 15, 10)
    filled = filling.windowed(given, slope(), hole_hw)
    assert filled.made["parts_in_all"] == len(masks) == 3
    for mask_b1hw in masks:
        outside = mask_b1hw.clone()
        outside[..., 8:24, 8:24] = 0
        assert mask_b1hw.any()
        assert not outside.any()


def test_resize_refuses_what_only_windows_can_fill() -> None:
    model = {"name": "context_encoder", "predicts": "centre", "width": 2, "bottleneck": 8}
    config = schema.resolve("inpaint", {"data": {"name": "cifar10"}, "mask": {"name": "centre"}, "model": model})
    picture = user_images.decode(slope(), Path("x.png"))
    with pytest.raises(TrialError, match="central"):
        predict.fill(painter(model).network, config, picture, rectangle(0, 0, 9, 12), resize=True)


def test_windows_cover_and_mirror() -> None:
    for length in range(1, 120):
        places = starts(length, 32, 8)
        covered = {x for place in places for x in range(place, place + 32)}
        assert covered >= set(range(length))
        assert max(np.diff(places), default=0) <= 8
    assert ramp(5).tolist()[2] == [3, 6, 9, 6, 3]
    region = Region(-3, -2, 8, 6, 8, 6)
    image_hw = np.arange(20).reshape(4, 5)
    assert np.array_equal(region.of(image_hw), np.pad(image_hw, ((2, 0), (3, 0)), mode="symmetric"))
    there, here = region.inside(image_hw.shape)
    assert np.array_equal(region.of(image_hw)[here], image_hw[there])
