"""Metrics: by hand in float64, and against torchmetrics."""

from __future__ import annotations

import math

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from trainables.inpaint.evaluation import metrics


@pytest.fixture
def batch():
    """Output, image and mask of five images; the fourth is all hole and the last one has no hole."""
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(5, 3, 16, 16, generator=rng)
    output = (image + 0.1 * torch.randn(5, 3, 16, 16, generator=rng)).clamp(0, 1)
    mask = (torch.rand(5, 1, 16, 16, generator=rng) < 0.3).float()
    mask[3], mask[4] = 1, 0
    return output, image, mask


def by_hand(output, image, mask):
    """Every metric but ssim, of one split, in plain float64."""
    output, image, mask = (t.double() for t in (output, image, mask))
    composite = image * (1 - mask) + output * mask
    rows: dict[str, list[float]] = {}
    squares = {"": [], "_raw": [], "_hole": []}
    for out, comp, img, m in zip(output, composite, image, mask, strict=True):
        hole = m.expand_as(img) > 0
        regions = {"": comp - img, "_raw": out - img, "_hole": (comp - img)[hole]}
        rows.setdefault("hole_fraction", []).append(m.mean().item())
        rows.setdefault("sse255", []).append(((comp - img) * 255).square().sum().item())
        border = torch.zeros_like(m)
        for y, x in m[0].nonzero().tolist():
            border[0, y, x] = (m[0, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] == 0).any()
        if border.any():
            rows.setdefault("l1_seam", []).append((comp - img).abs()[border.expand_as(img) > 0].mean().item())
        for suffix, error in regions.items():
            if error.numel():
                l2 = (error**2).mean().item()
                rows.setdefault("l1" + suffix, []).append(error.abs().mean().item())
                rows.setdefault("l2" + suffix, []).append(l2)
                rows.setdefault("psnr_db" + suffix, []).append(100.0 if l2 < 1e-10 else -10 * math.log10(l2))
                squares[suffix] += (error**2).flatten().tolist()
    values = {name: sum(v) / len(v) for name, v in rows.items()}
    for suffix, errors in squares.items():
        values[f"psnr_db{suffix}_pooled"] = -10 * math.log10(sum(errors) / len(errors))
    return values


OF_VALUES = {"dice_soft", "dice_squared", "dice_binary", "iou", "cross_entropy"}
"""Tested in test_image_similarity.py."""


def metered(*batches, by_share=False):
    meter = metrics.Meter(by_share=by_share)
    for each in batches:
        meter.update(*each)
    return meter.compute()


def test_by_hand(batch):
    values = metered(batch)
    expected = by_hand(*batch)
    assert set(values) == {*expected, *OF_VALUES, "ssim", "ssim_raw"}
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, rel=1e-5), name


def test_batches_change_nothing(batch):
    parts = [tuple(t[part] for t in batch) for part in (slice(0, 2), slice(2, 3), slice(3, 5))]
    assert metered(*parts, by_share=True) == pytest.approx(metered(batch, by_share=True), rel=1e-9)


def test_psnr_and_ssim_agree_with_torchmetrics(batch):
    output, image, mask = batch
    values = metrics.per_image(*batch)
    for index in range(4):
        expected = peak_signal_noise_ratio(output[index], image[index], data_range=1.0)
        assert values["psnr_db_raw"][index].item() == pytest.approx(expected.item(), rel=1e-5)
    for name, filled in (("ssim_raw", output), ("ssim", image * (1 - mask) + output * mask)):
        expected = structural_similarity_index_measure(filled, image, sigma=1.5, data_range=1.0, reduction="none")
        assert torch.allclose(values[name].float(), expected, atol=1e-5)


def test_a_perfect_output_is_capped_at_100_db(batch):
    _, image, mask = batch
    values = metered((image, image, mask))
    assert all(value == 100 for name, value in values.items() if name.startswith("psnr_db"))
    assert values["l1"] == values["l2_hole"] == 0


def test_output_is_clamped(batch):
    _, image, mask = batch
    assert metered((image + 5, image, mask)) == metered((torch.ones_like(image), image, mask))


def test_what_cannot_be_computed_is_left_out(batch):
    output, image, mask = batch
    values = metered((output, image, torch.zeros_like(mask)))
    assert not [name for name in values if "_hole" in name or "_seam" in name]
    assert "l1_seam" not in metered((output, image, torch.ones_like(mask)))
    assert values["hole_fraction"] == 0
    assert values["psnr_db"] == 100
    assert metrics.Meter().compute() == {}


def test_a_diverged_output_is_not_mistaken_for_an_image_without_hole(batch):
    output, image, mask = batch
    values = metered((output * math.nan, image, mask))
    assert all(math.isnan(v) for name, v in values.items() if name != "hole_fraction")


def test_sums_are_float64():
    image = torch.zeros(1, 3, 8, 8)
    mask = torch.ones(1, 1, 8, 8)
    meter = metrics.Meter()
    for _ in range(30):
        meter.update(image + 0.1, image, mask)
    assert meter.totals.dtype == torch.float64
    assert meter.compute()["l1"] == pytest.approx(float(torch.tensor(0.1)), abs=1e-12)


def test_totals_of_workers_add_up(batch):
    whole, first, second = (metrics.Meter(by_share=True) for _ in range(3))
    whole.update(*batch)
    first.update(*(t[:2] for t in batch))
    second.update(*(t[2:] for t in batch))
    first.totals += second.totals
    assert first.compute() == pytest.approx(whole.compute(), rel=1e-9)


def test_the_seam_of_a_square_hole():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 3:8] = 1  # reaches the right border of the image; pixels outside are not known
    expected = mask.clone()
    expected[..., 3:5, 4:8] = 0
    assert torch.equal(metrics.seam(mask), expected)


def test_by_share_of_hole():
    """A metric for a range of hole fractions equals the metric of a split that has only the images in this range."""
    rng = torch.Generator().manual_seed(2)
    image, output = torch.rand(6, 3, 10, 10, generator=rng), torch.rand(6, 3, 10, 10, generator=rng)
    mask = torch.zeros(6, 1, 10, 10)
    for number, pixels in enumerate((0, 5, 10, 11, 60, 61)):  # without a hole; up to 10 %; above; up to 60 %; above
        mask[number].view(-1)[:pixels] = 1
    values = metered((output, image, mask), by_share=True)
    groups = {"0_10": [1, 2], "10_20": [3], "50_60": [4], "60_100": [5]}
    shares = {name.partition("_share_")[2] for name in values if "_share_" in name}
    assert shares == set(groups)
    for share, members in groups.items():
        alone = metered((output[members], image[members], mask[members]))
        assert values[f"images_share_{share}"] == len(members)
        for name in metrics.SHARE_METRICS:
            assert values[f"{name}_share_{share}"] == pytest.approx(alone[name], rel=1e-6), name
    assert not [name for name in metered((output, image, mask)) if "_share_" in name]
