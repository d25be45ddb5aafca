"""The folders and files that a section of a configuration reads; imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Section = Mapping[str, Any]


@dataclass(frozen=True)
class DataPath:
    """A folder or file, relative to the data root."""

    path: str
    images: bool = False
    """Whether only the images of the folder are read."""
    verified: bool = False
    """Whether reading it compares each file with its published hash, so that names and sizes identify the content."""
    pattern: bool = False
    """Whether `*` and `**` in the path stand for any files and folders."""


PUBLISHED = {
    "cifar10": (DataPath("cifar-10-batches-py", verified=True),),
    "cifar100": (DataPath("cifar-100-python", verified=True),),
    "places365_val": (
        DataPath("val_256", images=True),
        DataPath("places365_val.txt"),
        DataPath("categories_places365.txt"),
    ),
    "cub200": (DataPath("CUB_200_2011"), DataPath("segmentations")),
    "oxford_pets": (DataPath("oxford-iiit-pet"),),
}
"""By data set: its folders and files as they are published."""


def of_source(section: Section) -> Iterator[DataPath]:
    """The images of a section with a data set or folder, and the file that splits it."""
    yield from PUBLISHED.get(section["name"], ())
    if section.get("path"):
        yield DataPath(section["path"], images=True)
    if section.get("split"):
        yield DataPath(section["split"])


def of_data(section: Section) -> Iterator[DataPath]:
    """The images of a `data` section, those of its other training sets, and its captions."""
    yield from of_source(section)
    for part in section.get("train_on") or ():
        yield from of_source(part)
    captions = section.get("captions") or {}
    for key in ("file", "folder"):
        if captions.get(key):
            yield DataPath(captions[key])


def of_patterns(patterns: Iterable[str]) -> Iterator[DataPath]:
    """Files and folders with * and **, that a program or a user's task reads."""
    yield from (DataPath(pattern, pattern=True) for pattern in patterns)


def of_mask(section: Section) -> Iterator[DataPath]:
    """The mask files of a `mask` section."""
    if section["name"] == "irregular":
        yield DataPath(section["path"], images=True)


def of_labelled_set(section: Section) -> Iterator[DataPath]:
    """The files of a published set of manipulated images."""
    yield DataPath(section["path"])
    if section.get("authentic"):
        yield DataPath(section["authentic"])


def of_forged(block: Section) -> Iterator[DataPath]:
    """The photographs, captions and masks that a forged set is made from."""
    yield from of_data({**block["images"], "captions": block.get("captions")})
    yield from of_mask(block["mask"])
