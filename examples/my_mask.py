"""A mask family: one round hole at a random place."""

from typing import Annotated

import torch
from pydantic import Field


def disc(n, size, generator, *, radius: Annotated[float, Field(gt=0, lt=0.5)] = 0.2):
    """Draw n masks of size x size px, 1 in the hole. radius: as a share of the image's side."""
    centre = radius + (1 - 2 * radius) * torch.rand(n, 2, 1, 1, generator=generator)
    pixel = (torch.arange(size) + 0.5) / size
    down, right = pixel[:, None] - centre[:, 0], pixel - centre[:, 1]
    return down**2 + right**2 < radius**2
