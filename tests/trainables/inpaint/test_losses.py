"""The loss terms, by hand."""

from __future__ import annotations

import pytest
import torch

from trainables.inpaint import losses
from trainables.inpaint.batch import batch_means
from trainables.training.distributed import Workers

PREDICTION = torch.tensor([[[[0.5, 0.0]], [[1.0, 0.0]], [[0.0, 0.0]]]])  # one image of 1x2 px, three channels
TARGET = torch.zeros(1, 3, 1, 2)
MASK = torch.tensor([[[[1.0, 0.0]]]])


def mean(term, *inputs):
    """The mean of a term of a whole batch."""
    (value,) = batch_means({"term": term(*inputs)}, Workers().place(len(inputs[0]))).values()
    return value


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        *((losses.l1, 1.5 / 6), (losses.l2, 1.25 / 6), (losses.l1_hole, 1.5 / 3), (losses.l2_hole, 1.25 / 3)),
        *((losses.l1_valid, 0.0), (losses.valid, 0.0), (losses.hole, 1.5 / 6)),
        (losses.tv, 1.5 / 6),  # both pixels lie in the hole enlarged by one, and the known one is 0
    ],
)
def test_value(term, expected):
    loss = mean(term, PREDICTION, TARGET, MASK)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize("term", [losses.l1_hole, losses.l2_hole])
def test_a_hole_term_sees_only_the_hole_and_is_zero_without_one(term):
    prediction = torch.rand(2, 3, 4, 4, requires_grad=True)
    mask = torch.zeros(2, 1, 4, 4)
    assert mean(term, prediction, torch.zeros(2, 3, 4, 4), mask).item() == 0
    mask[0, 0, 1, 2] = 1
    mean(term, prediction, torch.zeros(2, 3, 4, 4), mask).backward()
    assert prediction.grad is not None
    touched = prediction.grad.abs().sum(1, keepdim=True) > 0
    assert torch.equal(touched.float(), mask)


@pytest.mark.parametrize("term", [losses.l1_hole, losses.l2_hole])
def test_a_hole_term_does_not_depend_on_the_size_of_the_hole(term):
    ones, zeros = torch.ones(4, 3, 8, 8), torch.zeros(4, 3, 8, 8)
    for fraction in (0.1, 0.9, 1.1):
        mask = (torch.rand(4, 1, 8, 8) < fraction).float()
        assert mean(term, ones, zeros, mask).item() == pytest.approx(1)


# --- against a hand computation in float64 ----------------------------------------------------------------------------


@pytest.fixture
def batch():
    source = torch.Generator().manual_seed(0)
    prediction, target = (torch.rand(2, 3, 6, 7, dtype=torch.float64, generator=source) for _ in range(2))
    mask = torch.zeros(2, 1, 6, 7, dtype=torch.float64)
    mask[0, 0, 1:3, 2:4], mask[1, 0, 4:, 5:] = 1, 1
    return prediction, target, mask


def test_the_known_pixels_by_hand(batch):
    prediction, target, mask = batch
    errors = [
        abs(prediction[b, c, y, x] - target[b, c, y, x]).item()
        for b, c, y, x in (prediction * (1 - mask)).nonzero().tolist()
    ]
    assert mean(losses.l1_valid, *batch).item() == pytest.approx(sum(errors) / len(errors), rel=1e-12)
    assert losses.valid(*batch).item() == pytest.approx(sum(errors) / prediction.numel(), rel=1e-12)
    assert (losses.valid(*batch) + losses.hole(*batch)).item() == pytest.approx(losses.l1(*batch).item(), rel=1e-12)
    assert mean(losses.l1_valid, prediction, target, torch.ones_like(mask)).item() == 0


def test_total_variation_by_hand(batch):
    prediction, target, mask = batch
    _, channels, height, width = prediction.shape

    def near(b, y, x):
        around = ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
        return any(0 <= v < height and 0 <= u < width and mask[b, 0, v, u] for v, u in around)

    def value(b, c, y, x):
        return (prediction if mask[b, 0, y, x] else target)[b, c, y, x].item()

    total = 0.0
    for b, y, x in [(b, y, x) for b in range(2) for y in range(height) for x in range(width) if near(b, y, x)]:
        for v, u in ((y + 1, x), (y, x + 1)):
            if v < height and u < width and near(b, v, u):
                total += sum(abs(value(b, c, v, u) - value(b, c, y, x)) for c in range(channels))
    assert losses.tv(*batch).item() == pytest.approx(total / prediction.numel(), rel=1e-12)
    assert losses.tv(prediction, target, torch.zeros_like(mask)).item() == 0


@pytest.mark.parametrize("term", [losses.l1_valid, losses.valid, losses.hole, losses.tv])
def test_gradients(term, batch):
    """Absolute values have a corner at 0, where random numbers are not."""
    prediction, target, mask = batch
    assert torch.autograd.gradcheck(lambda x: mean(term, x, target, mask), prediction.requires_grad_())
