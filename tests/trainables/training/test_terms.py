"""Sums and counts of loss terms: means over steps, and over workers with uneven and empty parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainables.training.threads import together
from trainables.training.distributed import Workers
from trainables.training.divergence import Diverged
from trainables.training.loop import _train
from trainables.training.terms import TermTotals, as_sums


class Values:
    """A task whose loss is the mean of a batch of numbers; each worker takes its part of every batch."""

    def __init__(self, workers: Workers, batches: Sequence[Tensor]) -> None:
        self.workers, self.batches = workers, batches

    def train(self, *_: Any) -> Any:
        for values in self.batches:
            part = self.workers.place(len(values))
            yield len(values), as_sums({"loss": part.mean(part.of(values)), "norm": values.new_tensor(3.0)}, part)


def trained(workers: Workers, batches: Sequence[Tensor]) -> tuple[int, Mapping[str, float]]:
    images, totals = _train(Values(workers, batches), None, {}, None, 1, workers)  # type: ignore[arg-type]
    return images, totals.means(workers)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_an_epoch_is_the_mean_over_images_with_uneven_and_empty_parts(size: int) -> None:
    batches = torch.rand(15, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).split([8, 5, 2])
    for images, means in together(size, lambda workers: trained(workers, batches)):
        assert images == 15
        assert means["loss"] == pytest.approx(torch.cat(batches).mean().item(), rel=1e-14)
        assert means["norm"] == pytest.approx(3.0, rel=1e-14), "a value that all workers share is itself"


def test_a_loss_that_is_not_finite_on_one_worker_is_named_by_all() -> None:
    batches = [torch.ones(4), torch.tensor([1.0, 1.0, 1.0, torch.nan]), torch.ones(4)]
    for error in together(2, lambda workers: trained(workers, batches)):
        assert isinstance(error, Diverged)
        assert "epoch 1, step 2 " in str(error)
        assert error.trace["steps"] == [1, 2]
        assert error.trace["terms"] == {"loss": [1.0, None], "norm": [3.0, 3.0]}, "the mean over both workers"


def test_a_term_is_divided_once_by_the_counts_of_its_own_steps() -> None:
    totals = TermTotals()
    one = torch.ones(())
    totals.add({"loss": (one, 4), "hole": (6 * one, torch.tensor(3.0))})
    totals.add({"loss": (3 * one, 4), "hole": (one, torch.tensor(4.0)), "rare": (5 * one, 2)})
    totals.add({"loss": (2 * one, 4), "empty": (0 * one, 0)})
    assert totals.means(Workers()) == {"loss": 0.5, "hole": 1.0, "rare": 2.5, "empty": 0.0}
    assert TermTotals().means(Workers()) == {}


def test_sums_are_exact_and_have_no_graph() -> None:
    value = torch.tensor(0.1, requires_grad=True)
    (total, count) = as_sums({"loss": value * 1}, Workers().place(7))["loss"]
    assert (total.dtype, count) == (torch.float64, 7)
    assert not total.requires_grad
    assert total.item() == value.double().item() * 7
