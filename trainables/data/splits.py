"""The three splits of a data set: what decides them, and how many images of one are taken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from trainables.errors import TrialError

SPLITS = ("train", "val", "test")
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class Source(Protocol):
    """A data set of which images can be taken, split by split, always in the same order."""

    what: str
    """What it is called in messages."""
    more: str
    """What to type for more images than it has."""

    def verify(self) -> None:
        """Raise TrialError where a file is damaged that `take` would read; decodes nothing."""

    def count(self, split: str) -> int:
        """How many images a split has."""

    def take(self, split: str, count: int, size: int) -> Tensor:
        """The first images of a split: uint8 (count, 3, size, size)."""

    def names(self, split: str, start: int, stop: int) -> list[str]:
        """Which photograph each of these images is of: the same name for two crops of one."""

    def read(self, split: str, start: int, stop: int, size: int, threads: int) -> Iterator[Pixels | TrialError]:
        """These images of a split one by one, (size, size, 3); what is wrong with a file in the place of its images."""

    def classes(self, split: str, start: int, stop: int) -> list[str]:
        """What each of these images shows, in words. Raises TrialError where the data set does not say."""

    def objects(self, split: str, count: int, size: int) -> Tensor:
        """Where the object of each of the first images is: uint8 (count, size, size), 1 in it. TrialError as above."""


def hashed(name: str) -> int:
    """64 bits that are the same on every machine, for ever: changing this changes every split."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def taken(source: Source, split: str, wanted: int | None, share: str = "") -> int:
    """How many images of a split to take: all unless a number is wanted.

    share: what the number is a part of, where several sources give their images. Raises TrialError where the split is
    empty or has fewer.
    """
    there = source.count(split)
    if there == 0:
        raise TrialError(
            f"data: the {split} split of {source.what}",
            "it is empty",
            "at least one image in each of train, val and test",
            "add images, or name a CSV file with the columns file, split under `data.split`",
        )
    if wanted is not None and wanted > there:
        raise TrialError(
            f"data.{split}: {wanted}{share}",
            f"the {split} split of {source.what} has {there:,} images",
            f"1 to {there}, or null for all",
            f"{split}: {there}{source.more}" if not share else f"lower `data.{split}`{source.more}",
        )
    return there if wanted is None else wanted


def no_objects(what: str) -> TrialError:
    """What to say where holes shall be objects, and a data set does not know where they are."""
    return TrialError(
        f"mask.name: object with {what}",
        "that data set does not say where its objects are",
        "object masks with data.name: cub200 or oxford_pets",
        "change `data.name`, or choose another mask, e.g. mask.name=centre",
        "mask.name",
    )
