"""A training batch of task `inpaint`, and the means of its loss terms.

Shapes: b images of this worker's part of the batch, w images of the whole batch, t words; mask_b1hw is 1 where a pixel
is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from trainables.config.code_checks import KEY, described
from trainables.errors import TrialError
from trainables.training.distributed import BatchPart, Workers
from trainables.training.terms import Term

LossTerm = Tensor | Term
"""A loss term of a part of a batch: a scalar that is a mean over the part's images, or (sum, count).

A count is a number if it is proportional to the images of the part, and a tensor if it depends on the data, such as
the number of missing pixels.
"""


@dataclass(frozen=True)
class Batch:
    """One worker's part of a batch."""

    image_b3hw: Tensor
    """The original images, in [0, 1]. The part may have no images."""
    mask_b1hw: Tensor
    part: BatchPart
    """The place of these images in the whole batch."""
    index_b: Tensor
    """Indices of the images among the training images, on the device of the images."""
    tokens_wt: Tensor | None = None
    """Captions of the whole batch; None for a method that takes no text, and for images without captions."""
    epoch: int = 1
    noise_seed: int = 0
    """The same on all workers and different in every step: a method that draws random numbers with it can draw those
    of the whole batch on every worker."""
    last: bool = True
    """Whether this is the last batch of its epoch."""

    @classmethod
    def of(cls, image_b3hw: Tensor, mask_b1hw: Tensor, tokens_bt: Tensor | None = None) -> Batch:
        """A whole batch in one process."""
        b = len(image_b3hw)
        return cls(image_b3hw, mask_b1hw, Workers().place(b), torch.arange(b, device=image_b3hw.device), tokens_bt)

    @cached_property
    def damaged_b3hw(self) -> Tensor:
        """The images with 0 in their holes."""
        return self.image_b3hw * (1 - self.mask_b1hw)

    @property
    def tokens_bt(self) -> Tensor | None:
        """Captions of these images."""
        return None if self.tokens_wt is None else self.part.of(self.tokens_wt)


def batch_means(terms: Mapping[str, LossTerm], part: BatchPart) -> dict[str, Tensor]:
    """The terms as scalars whose mean over the workers is the mean over the whole batch, with their graphs.

    The means of an empty part may be NaN, but their graph is kept, because all workers have to take part in the
    backward pass; no gradient depends on them. A term that counts nothing in the whole batch is 0.
    """
    counts = {name: term[1] for name, term in terms.items() if isinstance(term, tuple)}
    by_data = {name: count for name, count in counts.items() if isinstance(count, Tensor)}
    totals = dict(by_data)
    if by_data and part.workers.size > 1:
        summed = part.workers.sum(torch.stack(list(by_data.values())).detach())
        totals = {name: total / part.workers.size for name, total in zip(by_data, summed.unbind(), strict=True)}
    return {name: _mean(term, totals.get(name), part) for name, term in terms.items()}


def _mean(term: LossTerm, total: Tensor | None, part: BatchPart) -> Tensor:
    """total: the count in the whole batch, divided by the number of workers; None unless it depends on the data."""
    if isinstance(term, tuple):
        if total is not None:
            return term[0] / total.clamp(min=1 / part.workers.size)
        term = term[0] / max(1, term[1])
    return term if part.workers.size == 1 else term * part.scale


def check_terms(terms: Any, method: object) -> None:
    """Raise TrialError unless `training_step` of a method returned (sum, count) for every term, and a term `loss`."""
    if not isinstance(terms, Mapping):
        raise _terms_error(method, f"it returned {type(terms).__name__}")
    for name, term in terms.items():
        if not isinstance(term, tuple) or len(term) != 2:
            raise _terms_error(method, f"term `{name}` is not (sum, count) but {type(term).__name__}")
        total, count = term
        if not isinstance(total, Tensor) or total.dim():
            raise _terms_error(method, f"the sum of term `{name}` is not a tensor without dimensions")
        if not isinstance(count, int | Tensor):
            raise _terms_error(method, f"the count of term `{name}` is {type(count).__name__}")
    if "loss" not in terms:
        raise _terms_error(method, f"it returned no term `loss`, only {', '.join(map(repr, terms)) or 'nothing'}")


def _terms_error(method: object, why: str) -> TrialError:
    return TrialError(
        described(type(method).training_step),  # type: ignore[attr-defined]
        why,
        "{name: (sum, count)} with a term `loss`; the sum is a scalar tensor, the count a number of images or a tensor",
        'return as_sums({"loss": loss, ...}, batch.part), from trainables.training.terms',
        KEY,
    )
