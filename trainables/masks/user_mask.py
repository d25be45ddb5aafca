"""Masks that a user's function draws."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.config.code_checks import described
from trainables.config.sections import StrictConfig
from trainables.errors import TrialError
from trainables.masks.rasterise import MaskDraw, MaskFiles
from trainables.registry import Code


def draw(code: Code, n: int, size: int, generator: torch.Generator, options: StrictConfig) -> MaskDraw:
    """The n masks of size x size px that the function returns. Raises TrialError if they are something else."""
    masks = code.function()(n, size, generator, **options.model_dump())
    holes_nhw = masks.squeeze(1) if isinstance(masks, Tensor) and masks.dim() == 4 and masks.shape[1] == 1 else masks
    if not isinstance(holes_nhw, Tensor) or holes_nhw.shape != (n, size, size):
        given = f"a tensor {tuple(masks.shape)}" if isinstance(masks, Tensor) else type(masks).__name__
        raise _error(code, f"it returned {given}", f"a tensor {(n, size, size)} or {(n, 1, size, size)}")
    holes_nhw = holes_nhw.cpu()
    if not ((holes_nhw == 0) | (holes_nhw == 1)).all():
        raise _error(code, "it returned values other than 0 and 1", "1 (or true) in the holes, 0 elsewhere")
    if n > 1 and not holes_nhw.any():
        raise _error(code, f"none of the {n} masks has a hole", "1 (or true) in the holes, 0 elsewhere")
    place = torch.zeros(n, 4, dtype=torch.long)
    place[:, 0] = torch.arange(n)
    return MaskFiles(size, place, holes_nhw.to(torch.uint8))


def _error(code: Code, why: str, allowed: str) -> TrialError:
    return TrialError(
        f"mask.name: {described(code.function())}",
        why,
        allowed,
        "return torch.zeros(n, size, size), with 1 where holes are",
        "mask.name",
    )
