"""The loss terms, by hand."""

from __future__ import annotations

import pytest
import torch

from trainables import losses

PREDICTION = torch.tensor([[[[0.5, 0.0]], [[1.0, 0.0]], [[0.0, 0.0]]]])  # one image of 1x2 px, three channels
TARGET = torch.zeros(1, 3, 1, 2)
MASK = torch.tensor([[[[1.0, 0.0]]]])


@pytest.mark.parametrize(
    ("term", "expected"),
    [(losses.l1, 1.5 / 6), (losses.l2, 1.25 / 6), (losses.l1_hole, 1.5 / 3), (losses.l2_hole, 1.25 / 3)],
)
def test_value(term, expected):
    loss = term(PREDICTION, TARGET, MASK)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize("term", [losses.l1_hole, losses.l2_hole])
def test_a_hole_term_sees_only_the_hole_and_is_zero_without_one(term):
    prediction = torch.rand(2, 3, 4, 4, requires_grad=True)
    mask = torch.zeros(2, 1, 4, 4)
    assert term(prediction, torch.zeros(2, 3, 4, 4), mask).item() == 0
    mask[0, 0, 1, 2] = 1
    term(prediction, torch.zeros(2, 3, 4, 4), mask).backward()
    assert prediction.grad is not None
    touched = prediction.grad.abs().sum(1, keepdim=True) > 0
    assert torch.equal(touched.float(), mask)


@pytest.mark.parametrize("term", [losses.l1_hole, losses.l2_hole])
def test_a_hole_term_does_not_depend_on_the_size_of_the_hole(term):
    ones, zeros = torch.ones(4, 3, 8, 8), torch.zeros(4, 3, 8, 8)
    for fraction in (0.1, 0.9, 1.1):
        mask = (torch.rand(4, 1, 8, 8) < fraction).float()
        assert term(ones, zeros, mask).item() == pytest.approx(1)
