"""A detector on whole photographs: windows at native resolution, blended maps, the largest region."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from trainables.detect.calibration import Threshold
from trainables.detect.output import DetectorOutput
from trainables.inference import predict, scanning, user_images

CONFIG: dict[str, Any] = {"data": {"forged": {"images": {"size": 32}}, "input_size": 64}}


class FindsGrain(nn.Module):
    """Finds pixels that differ from their neighbours, which a resize of the photograph averages away."""

    def __init__(self, head: str) -> None:
        super().__init__()
        self.head = head
        self.scale = nn.Parameter(torch.tensor(40.0))
        self.sizes: list[int] = []

    def forward(self, image_b3hw: Tensor) -> DetectorOutput:
        self.sizes.append(image_b3hw.shape[2])
        grey_b1hw = image_b3hw[:, :1]
        local = nn.functional.avg_pool2d(grey_b1hw, 5, 1, 2, count_include_pad=False)
        grain = nn.functional.avg_pool2d((grey_b1hw - local).abs(), 9, 1, 4, count_include_pad=False)
        logit_b1hw = self.scale * (grain - 0.08)
        box_b4 = None
        if self.head == "box":
            box_b4 = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(len(image_b3hw), -1)
        return DetectorOutput(logit_b1hw.amax((1, 2, 3)), box_b4, logit_b1hw if self.head == "mask" else None)


def photograph(orientation: int = 1) -> user_images.Picture:
    """Smooth, with a grainy rectangle at (100, 40) to (160, 90), upright, and a small grainy spot."""
    pixels = np.full((150, 230, 3), 120, np.uint8)
    noise = np.random.default_rng(0).integers(0, 2, (150, 230, 1)) * 200
    for top, bottom, left, right in ((40, 90, 100, 160), (10, 16, 200, 206)):
        pixels[top:bottom, left:right] = noise[top:bottom, left:right]
    upright = user_images.decode(Image.fromarray(pixels), Path("x.png"))
    picture = user_images.Picture(Path("x.png"), upright.stored, orientation, None)
    return user_images.Picture(Path("x.png"), picture.back(upright.stored), orientation, None)


@pytest.mark.parametrize("head", ["mask", "box", "label"])
def test_what_a_resize_averages_away_is_found_at_native_resolution(head: str) -> None:
    network, limit, asked = FindsGrain(head), Threshold(0.0, {}), []

    def threshold(windows: int) -> Threshold:
        asked.append(windows)
        return limit

    found = predict.detect(network, CONFIG, threshold, photograph())
    assert found.label == "inpainted"
    assert set(network.sizes) == {64}
    assert found.heat_hw.shape == (150, 230)
    assert found.windows is not None
    probabilities = np.array(found.windows["probabilities"])
    assert asked == [probabilities.size]
    row, column = np.unravel_index(probabilities.argmax(), probabilities.shape)
    assert 0 <= found.windows["tops"][row] <= 90
    assert 68 <= found.windows["lefts"][column] <= 206
    if head == "label":
        assert found.box is None
    else:
        assert found.box == pytest.approx((100, 40, 160, 90), abs=8 if head == "mask" else 24)
    resized = predict.detect(network, CONFIG, threshold, photograph(), resize=True)
    assert (resized.label, resized.box, resized.windows) == ("authentic", None, None)
    assert asked[1] == 1


@pytest.mark.parametrize("orientation", [3, 6])
def test_places_are_those_of_the_file(orientation: int) -> None:
    picture = photograph(orientation)
    found = predict.detect(FindsGrain("mask"), CONFIG, lambda _: Threshold(0.0, {}), picture)
    assert found.box is not None
    x1, y1, x2, y2 = (round(edge) for edge in found.box)
    inside = np.asarray(picture.stored)[y1 + 8 : y2 - 8, x1 + 8 : x2 - 8]
    assert inside.size > 1000
    assert set(np.unique(inside)) == {0, 200}


def test_a_photograph_that_is_smaller_than_a_window() -> None:
    picture = user_images.decode(photograph().stored.crop((100, 40, 120, 90)), Path("x.png"))
    found = predict.detect(FindsGrain("mask"), CONFIG, lambda _: Threshold(0.0, {}), picture)
    assert (found.label, found.heat_hw.shape) == ("inpainted", (50, 20))


def test_the_number_of_windows_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for most, size, step in ((4000, (230, 150), 16), (50, (230, 150), 32)):
        monkeypatch.setattr(scanning, "MOST_WINDOWS", most)
        assert scanning._plan((230, 150), 32) == (size, step)
    monkeypatch.setattr(scanning, "MOST_WINDOWS", 12)
    scan = scanning.scan(FindsGrain("mask"), CONFIG, photograph().upright())
    assert scan.windows <= 12
    assert scan.summary()["scale"] > 1
    assert scan.map_hw.shape[0] < 150


def test_the_largest_region_is_not_every_stray_pixel() -> None:
    map_hw = np.zeros((50, 80), np.float32)
    map_hw[10:20, 30:60] = 0.9
    map_hw[0, 0] = map_hw[49, 79] = map_hw[30:34, 5:9] = 1
    assert scanning.largest_region(map_hw, 0.5) == (30 / 80, 10 / 50, 60 / 80, 20 / 50)
    assert scanning.largest_region(map_hw, 1.5) is None
