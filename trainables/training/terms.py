"""Loss terms as sums with counts, from a training step to the means of an epoch.

A step returns a `Term` (sum, count) for every value that it records. The loop adds up sums and counts over the steps of
an epoch and over the workers, and divides once (`TermTotals`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trainables.training.distributed import BatchPart, Workers
from trainables.training.divergence import RecentSteps

Term = tuple[Tensor, int | Tensor]
"""The sum of a loss term, a scalar on the device, and the count that divides it."""
Terms = dict[str, Term]


def as_sums(means: Mapping[str, Tensor], part: BatchPart) -> Terms:
    """Terms that count the images of a batch, as float64, without their graph.

    means: scalars whose mean over the workers is the mean of the whole batch (`BatchPart.scale`).
    """
    sums = torch.stack([mean.detach() for mean in means.values()]).double() * (part.whole / part.workers.size)
    return {name: (total, part.images) for name, total in zip(means, sums.unbind(), strict=True)}


class TermTotals:
    """Sums and counts of loss terms over the steps of an epoch. All sums stay on the device."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], Tensor] = {}  # by the names of a step's terms, in their order
        self._counts: dict[str, int | Tensor] = {}
        self._loss: Tensor | None = None
        self._finite: Tensor | None = None
        self.recent = RecentSteps()

    def add(self, terms: Mapping[str, Term]) -> None:
        """Add the terms of one step. The first step that is not finite is found by `loss`, if there is such a term."""
        names = tuple(terms)
        sums = torch.stack([total.detach() for total, _ in terms.values()])
        if names in self._sums:
            self._sums[names].add_(sums)
        else:
            self._sums[names] = sums.to(torch.float64, copy=True)
        self.recent.add(names, sums, tuple(count for _, count in terms.values()))
        for name, (_, count) in terms.items():
            self._counts[name] = self._counts.get(name, 0) + count
        if "loss" in terms:
            self._count_finite(terms["loss"][0].detach())

    def _count_finite(self, loss: Tensor) -> None:
        """Count the steps before the first one whose loss is not finite: from there on the total is not finite."""
        if self._loss is None or self._finite is None:
            self._loss = loss.double()
            self._finite = (self._loss.abs() < torch.inf).long()
        else:
            self._loss = self._loss + loss
            self._finite.add_(self._loss.abs() < torch.inf)

    def first_bad_step(self, steps: int, workers: Workers) -> int | None:
        """The first of `steps` steps in which the loss of any worker was not finite; None if there is none."""
        if self._finite is None:
            return None
        first = int(workers.min(self._finite + 1))
        return first if first <= steps else None

    def means(self, workers: Workers) -> dict[str, float]:
        """Sums divided by counts, over all steps and workers; 0 where nothing was counted."""
        if not self._sums:
            return {}
        sums: dict[str, Tensor] = {}
        for names, totals in self._sums.items():
            for name, total in zip(names, totals.unbind(), strict=True):
                sums[name] = sums[name] + total if name in sums else total
        both = torch.stack([*sums.values(), *(_scalar(self._counts[name], sums[name]) for name in sums)])
        values = workers.sum(both).tolist()
        pairs = zip(sums, values[: len(sums)], values[len(sums) :], strict=True)
        return {name: total / count if count else 0.0 for name, total, count in pairs}


def _scalar(count: int | Tensor, like: Tensor) -> Tensor:
    return count.to(like) if isinstance(count, Tensor) else like.new_full((), count)
