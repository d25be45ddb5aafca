"""SSIM, Dice, IoU and cross entropy, against torchmetrics or by hand in float64."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.classification import binary_f1_score, binary_jaccard_index
from torchmetrics.functional.image import structural_similarity_index_measure

from trainables.data import images
from trainables.inpaint.evaluation.image_similarity import AT_ONCE, LEAST_PROBABILITY, cross_entropy, overlap, ssim


def pair(b=4, side=16):
    rng = torch.Generator().manual_seed(1)
    image = torch.rand(b, 3, side, side, generator=rng)
    return (image + 0.2 * torch.randn(image.shape, generator=rng)).clamp(0, 1), image


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 3, 32, 48), (1, 1, 130, 64)])
def test_ssim_of_any_size_agrees_with_torchmetrics(shape):
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(shape, generator=rng)
    y = (x + 0.05 * torch.randn(shape, generator=rng)).clamp(0, 1)
    expected = structural_similarity_index_measure(y, x, sigma=1.5, data_range=1.0, reduction="none")
    assert torch.allclose(ssim(y, x), expected, atol=1e-5)
    assert torch.allclose(ssim(x, x), torch.ones(shape[0]))
    assert torch.equal(ssim(torch.stack([y, x]), x), torch.stack([ssim(y, x), ssim(x, x)]))


def test_ssim_does_not_depend_on_the_batch_or_the_memory_layout():
    output, image = pair(2 * AT_ONCE + 1, 32)
    both = torch.stack([output, image])
    found = ssim(both, image)
    assert torch.equal(found, torch.cat([ssim(both[:, i : i + 1], image[i : i + 1]) for i in range(len(image))], 1))
    assert torch.equal(found[0], ssim(*(x.contiguous(memory_format=torch.channels_last) for x in (output, image))))


def test_ssim_of_flat_images():
    """Equal ones have 1; otherwise only the luminance counts. Rounding must not pass for structure."""
    grey = torch.arange(256, dtype=torch.float64) / 255
    x, y = (values.float().view(-1, 1, 1, 1).expand(-1, 3, 32, 32).contiguous() for values in (grey, grey.roll(1)))
    assert torch.equal(ssim(x, x), torch.ones(256))
    expected = (2 * grey * grey.roll(1) + 1e-4) / (grey**2 + grey.roll(1) ** 2 + 1e-4)
    assert (ssim(x, y) - expected).abs().max() < 2e-6


def test_ssim_agrees_with_float64():
    """Flat regions, bright texture and an inverted image."""
    y = pair(32, 32)[1] * 0.05 + 0.95
    y[:, :, 8:24, 8:24] = 0.8
    for x in (1 - y, y.flip(0), y.clamp(max=0.97), torch.ones_like(y)):
        assert (ssim(x, y) - ssim(x.double(), y.double())).abs().max() < 1e-5
    assert torch.equal(ssim(y, y), torch.ones(32))


def test_binary_forms_agree_with_torchmetrics():
    output, image = pair()
    found = overlap(output, image)
    for index in range(len(image)):
        p, q = output[index].flatten(), (image[index].flatten() > 0.5).int()
        assert found["dice_binary"][index].item() == pytest.approx(binary_f1_score(p, q).item(), rel=1e-6)
        assert found["iou"][index].item() == pytest.approx(binary_jaccard_index(p, q).item(), rel=1e-6)


def test_soft_forms_by_hand():
    output, image = pair()
    p, q = output.double().flatten(1), image.double().flatten(1)
    found = overlap(output, image)
    assert torch.allclose(found["dice_soft"], 2 * (p * q).sum(1) / (p.sum(1) + q.sum(1)), rtol=1e-6)
    assert torch.allclose(found["dice_squared"], 2 * (p * q).sum(1) / ((p**2).sum(1) + (q**2).sum(1)), rtol=1e-6)


def test_a_perfect_output_is_1_by_all_forms_but_the_soft_one():
    _, image = pair()
    found = overlap(image, image)
    ones = torch.ones(len(image), dtype=torch.float64)
    assert all(torch.allclose(found[name], ones) for name in ("dice_squared", "dice_binary", "iou"))
    assert (found["dice_soft"] < 0.75).all()


def test_white_beats_a_perfect_output_by_the_soft_form(data_root):
    """On real images: why the Dice goals of 002_e338281c6a46a1c1, which are for CIFAR-100, are meaningless."""
    image = images.load({"name": "cifar10", "size": 32, "train": 2, "val": 2, "test": 2000}, data_root).test / 255.0
    perfect, white = (overlap(out, image)["dice_soft"].mean() for out in (image, torch.ones_like(image)))
    assert 0.5 < perfect < white < 0.75


def test_images_with_nothing_to_overlap_agree():
    black = torch.zeros(1, 3, 8, 8)
    assert all(value == 1 for value in overlap(black, black).values())
    assert all(value == 0 for value in overlap(torch.ones(1, 3, 8, 8), black).values())


def test_cross_entropy_by_hand():
    output, image = pair()
    p, q = output.double().clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY), image.double()
    expected = torch.nn.functional.binary_cross_entropy(p, q, reduction="none").mean((1, 2, 3))
    assert torch.allclose(cross_entropy(output, image), expected, rtol=1e-5)


def test_cross_entropy_is_least_but_not_0_for_a_perfect_output():
    output, image = pair()
    assert (cross_entropy(image, image) > 0.1).all()
    assert (cross_entropy(image, image) < cross_entropy(output, image)).all()
    wrong = cross_entropy(torch.zeros_like(image), torch.ones_like(image))
    assert wrong.tolist() == pytest.approx([13.863] * len(image), abs=1e-3)


def test_nan_stays_nan():
    output, image = pair()
    output[1, 0, 3, 3] = torch.nan
    for values in (*overlap(output, image).values(), cross_entropy(output, image), ssim(output, image)):
        assert values.isnan().tolist() == [False, True, False, False]
