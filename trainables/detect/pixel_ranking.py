"""Average precision of the pixels of a split, ranked by their logits, exactly and in bounded memory.

The logits of all pixels of inpainted images are kept as float32 in sorted runs, 4 bytes a pixel. That is less than the
images and masks of the split take, which are in memory as well: 4 bytes a pixel of every image. Each worker keeps the
pixels of its own images only.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from trainables.training.distributed import Workers

RUN = 2**24
"""Smallest number of values in a run, except the last one. While a run is sorted, it takes more memory."""
AT_ONCE = 2**20
"""Number of values that are ranked at a time; bounds the memory for their ranks."""


class SortedRuns:
    """Float32 values in a few sorted runs, to count how many are at least as large as a given value."""

    def __init__(self, run: int = RUN) -> None:
        self._run = run
        self._runs: list[Tensor] = []
        self._unsorted: list[Tensor] = []
        self._waiting = 0

    def add(self, values_n: Tensor) -> None:
        self._unsorted.append(values_n.float())
        self._waiting += len(values_n)
        if self._waiting >= self._run:
            self._sort()

    def runs(self) -> list[Tensor]:
        if self._waiting:
            self._sort()
        return self._runs

    def count_from(self, least_n: Tensor) -> Tensor:
        """Number of values that are equal to each given value or larger, int64."""
        count_n = torch.zeros(len(least_n), dtype=torch.int64, device=least_n.device)
        for run in self.runs():
            count_n += len(run) - torch.searchsorted(run, least_n)
        return count_n

    def _sort(self) -> None:
        values = torch.cat(self._unsorted)
        self._unsorted, self._waiting = [], 0
        if values.is_cpu:
            values.numpy().sort()  # in place; torch's sort also makes indices, and takes three times as long
            self._runs.append(values)
        else:
            self._runs.append(values.sort().values)


class PixelRanking:
    """Logits of the pixels of inpainted images, inside and outside of the holes."""

    def __init__(self, device: torch.device, run: int = RUN) -> None:
        self._device = device
        self._inside, self._outside = SortedRuns(run), SortedRuns(run)

    def add(self, logit_b1hw: Tensor, mask_b1hw: Tensor) -> None:
        """Add the pixels of some images. mask: True in the hole."""
        self._inside.add(logit_b1hw[mask_b1hw])
        self._outside.add(logit_b1hw[~mask_b1hw])

    def average_precision(self, workers: Workers) -> float | None:
        """Average precision over the pixels of all workers; None without a pixel in a hole, NaN if a logit is NaN.

        It is the mean over the pixels in holes of the precision at a threshold equal to the pixel's logit. Pixels of
        equal logits share a threshold, as in scikit-learn's `average_precision_score`.
        """
        runs = self._inside.runs() + self._outside.runs()
        nan = torch.tensor(float(any(bool(run[-1].isnan()) for run in runs)), device=self._device)  # NaN is sorted last
        if workers.sum(nan) > 0:
            return float("nan")
        total, count = torch.zeros((), dtype=torch.float64, device=self._device), 0
        for logit_n in self._positives(workers):
            right_n, wrong_n = workers.sum(
                torch.stack([self._inside.count_from(logit_n), self._outside.count_from(logit_n)])
            )
            total += (right_n.double() / (right_n + wrong_n)).sum()
            count += len(logit_n)
        return float(total) / count if count else None

    def _positives(self, workers: Workers) -> Iterator[Tensor]:
        """The logits inside of holes, in parts; those of each worker in turn, on every worker."""
        mine = [part for run in self._inside.runs() for part in torch.split(run, AT_ONCE)]
        if workers.size == 1:
            yield from mine
            return
        most = int(workers.max(len(mine)))
        lengths = torch.zeros(workers.size, most + 1, dtype=torch.int64, device=self._device)  # each row ends with 0
        lengths[workers.rank, : len(mine)] = torch.tensor([len(part) for part in mine], dtype=torch.int64)
        for rank, row in enumerate(workers.sum(lengths).tolist()):
            for number, length in enumerate(row[: row.index(0)]):
                here = rank == workers.rank
                yield workers.sum(mine[number].clone() if here else torch.zeros(length, device=self._device))
