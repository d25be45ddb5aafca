"""The three splits of a data set, the interface of data sets, and the number of images to take."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trainables.errors import TrialError

if TYPE_CHECKING:
    from torch import Tensor

SPLITS = ("train", "val", "test")
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class Source(Protocol):
    """A data set that provides the images of each split, always in the same order."""

    what: str
    """Name of the data set in messages."""
    more: str
    """Advice for the error if it has too few images; may be empty."""

    def verify(self) -> None:
        """Raise TrialError if a file that `take` would read is missing or damaged, without decoding images."""

    def count(self, split: str) -> int:
        """Number of images in a split."""

    def take(self, split: str, count: int, size: int) -> Tensor:
        """The first images of a split: uint8 (count, 3, size, size)."""

    def names(self, split: str, start: int, stop: int) -> list[str]:
        """The photograph of each of these images; two crops of one photograph have the same name."""

    def read(self, split: str, start: int, stop: int, size: int, threads: int) -> Iterator[Pixels | TrialError]:
        """These images one by one, (size, size, 3); for a file that does not decode, the error in place of its images.

        threads: number of threads that decode.
        """

    def classes(self, split: str, start: int, stop: int) -> list[str]:
        """The class name of each of these images. Raises TrialError if the data set has no classes."""

    def objects(self, split: str, count: int, size: int) -> Tensor:
        """The object masks of the first images of a split: uint8 (count, size, size), 1 inside the object.

        Raises TrialError if the data set has none.
        """


def hashed(name: str) -> int:
    """A hash of 64 bits, the same on every machine. Changing this function changes every split.

    A file name that is not UTF-8 is hashed by its bytes.
    """
    return int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8], "big")


def split_by_hash(name: str) -> str:
    """The split of a name: 80 % train, 10 % val, 10 % test, independent of other files."""
    tenth = hashed(f"split {name}") * 10 >> 64
    return "train" if tenth < 8 else ("val" if tenth == 8 else "test")


def image_count(source: Source, split: str, wanted: int | None, share: str = "") -> int:
    """The number of images to take of a split: `wanted`, or all if that is None.

    share: description of the total that `wanted` is a share of, for the error.

    Raises TrialError if the split is empty or has too few images.
    """
    there = source.count(split)
    if there == 0:
        raise TrialError(
            f"data: the {split} split of {source.what}",
            "it is empty",
            "at least one image in each of train, val and test",
            "add images, or set `data.split` to a CSV file with the columns file and split",
        )
    if wanted is not None and wanted > there:
        raise TrialError(
            f"data.{split}: {wanted}{share}",
            f"the {split} split of {source.what} has {there:,} images",
            f"1 to {there}, or null for all",
            f"{split}: {there}{source.more}" if not share else f"lower `data.{split}`{source.more}",
        )
    return there if wanted is None else wanted


def no_objects_error(what: str) -> TrialError:
    """The error for object-shaped holes with a data set that has no object masks."""
    return TrialError(
        f"mask.name: object with {what}",
        "this data set has no object masks",
        "object masks with data.name: cub200 or oxford_pets",
        "change `data.name`, or choose another mask: --set mask.name=centre",
        "mask.name",
    )
