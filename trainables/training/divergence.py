"""How a training diverged: the error, and the loss terms of the steps that led to it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trainables.training.distributed import Workers
from trainables.training.session import Row

NOT_FINITE_EVERY = 50
"""Steps between two reads of the device-side flag for a loss that is not finite."""
TRACED = 30
"""Steps, and epochs, before a divergence whose values are recorded."""


class Diverged(RuntimeError):  # noqa: N818 - the word that records use
    """A loss became NaN or infinite; the message names the epoch and the first bad step.

    trace: what led there, for the store: {epoch, steps, terms: {name: value of each step}, epochs: {column: value of
    each epoch before}}; None for a value that is not finite.
    """

    def __init__(self, message: str, trace: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.trace = dict(trace or {})

    def add_epochs(self, history: Sequence[Row]) -> None:
        """Add the records of the epochs before."""
        rows = history[-TRACED:]
        names = dict.fromkeys(name for row in rows for name in row if not name.startswith("sys/"))
        self.trace["epochs"] = {name: [_finite(row.get(name)) for row in rows] for name in names}


class RecentSteps:
    """The loss terms of the newest steps. They stay on the device until a training has diverged."""

    def __init__(self) -> None:
        self._steps: deque[tuple[tuple[str, ...], Tensor, tuple[int | Tensor, ...]]] = deque(
            maxlen=TRACED + NOT_FINITE_EVERY
        )
        self._number = 0

    def add(self, names: tuple[str, ...], sums: Tensor, counts: tuple[int | Tensor, ...]) -> None:
        """Add a step. sums: of its terms, not changed later."""
        self._number += 1
        self._steps.append((names, sums, counts))

    def trace(self, epoch: int, last: int | None, workers: Workers) -> dict[str, Any]:
        """The terms of the steps up to `last`, of all steps if it is None, as means over the images of all workers.

        All workers call this together.
        """
        last = self._number if last is None else last
        end = len(self._steps) - (self._number - last)
        steps = list(self._steps)[max(0, end - TRACED) : end]
        names = list(dict.fromkeys(name for known, _, _ in steps for name in known))
        if not names:
            return {}
        both = torch.zeros(2, len(steps), len(names), dtype=torch.float64, device=steps[0][1].device)
        for row, (known, sums, counts) in enumerate(steps):
            for name, total, count in zip(known, sums.unbind(), counts, strict=True):
                both[0, row, names.index(name)] = total
                both[1, row, names.index(name)] = count
        totals, divisors = workers.sum(both).tolist()
        terms = {
            name: [
                _finite(total[at] / count[at]) if count[at] else None
                for total, count in zip(totals, divisors, strict=True)
            ]
            for at, name in enumerate(names)
        }
        return {"epoch": epoch, "steps": list(range(last - len(steps) + 1, last + 1)), "terms": terms}


def _finite(value: float | int | None) -> float | int | None:
    """The value with six digits; None if it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.6g}")
