"""The three splits of a data set, the interface of data sets, and the number of images to take."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from trainables.errors import TrialError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor

    from trainables.config.sections import DataConfig, PhotographsConfig, SourceConfig

    Pixels = np.ndarray[Any, np.dtype[np.uint8]]
else:
    Pixels = Any  # numpy is not imported, so that `sweeps check` answers at once

_C = TypeVar("_C", bound="Counted")

SPLITS = ("train", "val", "test")


class Counted(Protocol):
    """A data set of which the number of images in each split is known."""

    @property
    def what(self) -> str:
        """Name of the data set in messages."""

    @property
    def more(self) -> str:
        """Advice for the error if it has too few images; may be empty."""

    def count(self, split: str) -> int:
        """Number of images in a split."""


class Source(Counted, Protocol):
    """A data set that provides the images of each split, always in the same order."""

    def verify(self) -> None:
        """Raise TrialError if a file that `take` would read is missing or damaged, without decoding images."""

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


@lru_cache(maxsize=4)
def hash_order(count: int) -> tuple[int, ...]:
    """The indices below `count`, in the order of a hash of each."""
    return tuple(sorted(range(count), key=lambda index: hashed(str(index))))


def image_count(source: Counted, split: str, wanted: int | None, share: str = "") -> int:
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


def sizes(source: Counted, section: PhotographsConfig) -> dict[str, int]:
    """The number of images to take of each split; none to train on and to validate on if all are tested on.

    Raises TrialError if a split is empty or has too few images.
    """
    unused = ("train", "val") if section.test_alone else ()
    return {split: 0 if split in unused else image_count(source, split, getattr(section, split)) for split in SPLITS}


def split_counts(data: DataConfig, make: Callable[[SourceConfig], _C]) -> dict[str, list[tuple[_C, int]]]:
    """The data sets of each split, with the number of images; several data sets have equal shares of `data.train`.

    make: the data set of a section.
    """
    own = make(data)
    scored = {split: [(own, image_count(own, split, getattr(data, split)))] for split in ("val", "test")}
    parts = [own if part.name == "own" else make(part) for part in data.train_on or ()] or [own]
    if len(parts) == 1:
        return {"train": [(parts[0], image_count(parts[0], "train", data.train))], **scored}
    shares: list[int | None] = [None] * len(parts)
    if data.train is not None:
        shares = [data.train // len(parts) + (i < data.train % len(parts)) for i in range(len(parts))]
    share = f" of {len(parts)} data sets' {data.train}"
    train = [(part, image_count(part, "train", wanted, share)) for part, wanted in zip(parts, shares, strict=True)]
    return {"train": train, **scored}


def no_objects_error(what: str) -> TrialError:
    """The error for object-shaped holes with a data set that has no object masks."""
    return TrialError(
        f"mask.name: object with {what}",
        "this data set has no object masks",
        "object masks with data.name: cub200 or oxford_pets",
        "change `data.name`, or choose another mask: --set mask.name=centre",
        "mask.name",
    )
