"""Sharpness of fills: against OpenCV, what blur and noise do to it, and its column in the last record of a trial."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.trainables.inpaint.evaluation.test_perceptual_metrics import trained
from trainables.inpaint.evaluation.sharpness import Sharpness


def sharpness(composite: torch.Tensor, image: torch.Tensor, mask: torch.Tensor) -> float | None:
    meter = Sharpness()
    for part in (slice(0, 2), slice(2, None)):
        meter.update(composite[part], image[part], mask[part])
    return meter.compute()


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Images with texture, and masks: a square at a border, a line of one pixel, no hole, everything."""
    image = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(4, 1, 16, 16)
    mask[0, :, :7, 3:10], mask[1, :, 4], mask[3] = 1, 1, 1
    return image, mask


def variance(image_3hw: torch.Tensor, mask_hw: torch.Tensor) -> float:
    """By OpenCV, in grey levels of [0, 1]."""
    hole = mask_hw.numpy().astype(np.uint8)
    inside = cv2.erode(hole, np.ones((3, 3), np.uint8)) > 0
    where = inside if inside.any() else hole > 0
    grey = cv2.cvtColor(image_3hw.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F)[where].var()) if where.any() else 0.0


def test_it_is_the_variance_of_opencvs_laplacian(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    image, mask = images
    fill = image.roll(3, 0) * 0.5
    composite = torch.where(mask > 0.5, fill, image)
    filled, original = (sum(map(variance, one, mask[:, 0])) for one in (composite, image))
    assert sharpness(composite, image, mask) == pytest.approx(filled / original, rel=1e-4)


def test_blur_lowers_it_and_noise_raises_it(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    image, mask = images
    blurred = torch.nn.functional.avg_pool2d(image, 3, 1, 1)
    noisy = image + 0.3 * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    values = [sharpness(torch.where(mask > 0.5, fill, image), image, mask) for fill in (blurred, image, noisy)]
    assert values[0] is not None
    assert values[2] is not None
    assert values[0] < 0.5 < values[1] == 1.0 < values[2]
    assert sharpness(image, image, torch.zeros_like(mask)) is None


def test_it_is_in_the_last_record_alone_and_changes_no_other_column(data_root: Path) -> None:
    with_it, without = (trained(data_root, extra).result["history"] for extra in (("sharpness",), ()))  # type: ignore[index]
    assert with_it[-1].pop("test/sharpness") > 0
    for row, same in zip(with_it, without, strict=True):
        assert {k: v for k, v in row.items() if "sys/" not in k} == {k: v for k, v in same.items() if "sys/" not in k}
