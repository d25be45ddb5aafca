"""Workers that are threads of one process, for tests of what they exchange."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainables.training.distributed import Workers


@dataclass(frozen=True)
class Threads(Workers):
    """Workers that are threads of one process."""

    shared: Any = None
    """A barrier, and a list with a place for each worker."""

    def _reduce(self, values: Tensor, operation: str) -> Tensor:
        barrier, places = self.shared
        places[self.rank] = values.clone()
        barrier.wait(10)
        stacked = torch.stack(places)
        barrier.wait(10)
        reduced = {"SUM": lambda: stacked.sum(0), "MIN": lambda: stacked.amin(0)}[operation]()
        return values.copy_(reduced)


def together(size: int, act: Callable[[Workers], Any]) -> list[Any]:
    """What `act` returns in each of several workers."""
    shared, found = (threading.Barrier(size), [None] * size), [None] * size

    def run(rank: int) -> None:
        try:
            found[rank] = act(Threads(rank, size, shared=shared))
        except Exception as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return found
