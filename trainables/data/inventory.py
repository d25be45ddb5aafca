"""What a configuration needs from the data root, looked up without decoding an image; imports no torch.

`sweeps check` calls it: what a run would refuse because of a path, a list or the number of images is refused at once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainables.config.messages import below
from trainables.config.sections import PhotographsConfig, SourceConfig
from trainables.data.image_files import check_left_out, image_files, path_below, unreadable
from trainables.data.section import DataSection, read
from trainables.data.sources.folder_splits import folder_splits
from trainables.data.splits import SPLITS, sizes, split_counts
from trainables.errors import TrialError
from trainables.forgery.config import SetConfig
from trainables.forgery.public_file_lists import ListedImage, chosen_images, listing, test_images
from trainables.masks import hole_shares
from trainables.protocols.section import IMAGES, MASKS

FOLDERS = {
    "cifar10": "cifar-10-batches-py",
    "cifar100": "cifar-100-python",
    "places365_val": "val_256",
    "cub200": "CUB_200_2011",
    "oxford_pets": "oxford-iiit-pet",
}
"""The published folder of each named data set below the data root."""
FEW = 100
"""With fewer test images, a report describes these images rather than the method."""
_LOOKED_AT = 20_000
"""Files of a folder that are opened; of a larger one the first."""
READ = ("data", "mask", "test_masks", "test_sets", "features", "protocol")
"""The sections of a configuration that `check` reads."""
_MANY = 10**9
_CIFAR = {"train": 50_000, "test": 10_000, "val": 5_000}


@dataclass(frozen=True)
class _Listed:
    """A data set of which only the numbers of images are known; a published one that is not listed has any number."""

    what: str
    counts: Mapping[str, int] | None
    more: str = ""

    def count(self, split: str) -> int:
        return _MANY if self.counts is None else self.counts[split]


def check(config: Mapping[str, Any], root: Path) -> dict[str, int] | None:
    """Look up the files of a resolved configuration; returns the number of images in each split, None if unknown.

    Raises the TrialError of a run for a missing folder or file, a wrong list, files that are no images, and too few
    images.
    """
    data = config.get("data") or {}
    for key, path in _paths(config):
        path_below(root, path, key)
    for mask, _ in _masks(config):
        if mask and mask.get("name") == "irregular":
            _check_files(path_below(root, mask["path"], "mask.path"), "mask.path")
    if data.get("name") == "folder":
        _check_files(path_below(root, str(data["path"]), "data.path"), "data.path")
    for key in (IMAGES, MASKS):
        folder = (config.get("protocol") or {}).get(key.rpartition(".")[2])
        if folder:
            _check_files(path_below(root, folder, key), key)
    for key, section in _labelled_sets(config):
        try:
            _check_labelled(section, root, is_own=key == "data")
        except TrialError as error:
            raise below(key, error) from None
    return counts_of(json.dumps(data, sort_keys=True), root)


@lru_cache(maxsize=64)
def counts_of(section: str, root: Path) -> dict[str, int] | None:
    """The number of images in each split of a resolved `data` section, as JSON; None if unknown. See `check`."""
    data = json.loads(section)
    if data.get("set"):
        return _set_counts(SetConfig.model_validate(data["set"]), root)
    if "name" not in data:
        return None
    parts = split_counts(read(DataSection, data), lambda one: _listed(one, root))
    counts = {split: sum(count for _, count in some) for split, some in parts.items()}
    return None if max(counts.values()) >= _MANY else counts


def absent_sets(config: Mapping[str, Any], root: Path) -> list[str]:
    """The published data sets of a configuration that the data root lacks. A run on this machine would be refused."""
    data = config.get("data") or {}
    forged = [(section.get("forged") or {}).get("images") or {} for _, section in _labelled_sets(config)]
    names = [str(section.get("name")) for section in (data, *(data.get("train_on") or ()), *forged)]
    folders = [str(section["path"]) for section in forged if section.get("name") == "folder"]
    absent = [name for name in names if name in FOLDERS and not (root / FOLDERS[name]).exists()]
    return list(dict.fromkeys([*absent, *(path for path in folders if not (root / path).exists())]))


def few_test_images(counts: Mapping[str, int]) -> str:
    """A warning if the test split is small; empty if it is not."""
    if counts["test"] >= FEW:
        return ""
    return f"only {counts['test']} test images: with fewer than {FEW}, results describe these images, not the method"


def few_test_photographs(config: Mapping[str, Any], root: Path) -> list[str]:
    """Warnings about folders whose test images show few photographs, as crops or in the forged sets of detectors."""
    data = config.get("data") or {}
    found = [("data", data)] if data.get("crops") else []
    found += [
        (f"{key}.forged.images", section["forged"]["images"])
        for key, section in _labelled_sets(config)
        if section.get("forged")
    ]
    notes = []
    for key, section in found:
        if section.get("name") != "folder" or not (root / str(section["path"])).is_dir():
            continue
        _, split_of = folder_splits(str(section["path"]), section.get("split"), root, section.get("use") == "all")
        tested = sum(split == "test" for split in split_of.values())
        if tested < FEW:
            crops = f", in {tested * section['crops']:,} crops" if section.get("crops") else ""
            more = (
                f"; `use: all` tests on all {len(split_of):,}"
                if tested < len(split_of) and key.startswith("test_sets")
                else ""
            )
            notes.append(
                f"{key}: only {tested} test photographs{crops}: "
                f"results describe these photographs, not the method{more}"
            )
    return notes


def protocol_notes(config: Mapping[str, Any], root: Path) -> list[str]:
    """How many photographs the protocol of a configuration has; nothing if it has none, or the test images."""
    section = config.get("protocol") or {}
    if not section.get("images"):
        return []
    count = len(image_files(root / section["images"], "protocol.images"))
    words = f"protocol {section['name']} on {count:,} photographs of {section['images']}"
    published = section.get("published_images")
    return [words if published in (None, count) else f"{words}; the published tables are of {published:,} images"]


def mask_notes(config: Mapping[str, Any], root: Path) -> list[str]:
    """What the mask files of a configuration cover on average, with warnings; see `trainables.masks.hole_shares`."""
    notes = []
    for mask, images in _masks(config):
        if mask and mask.get("name") == "irregular":
            notes.append(hole_shares.note(mask, images["size"], root))
    return list(dict.fromkeys(filter(None, notes)))


def _masks(config: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any] | None, Mapping[str, Any]]]:
    """The mask sections of a configuration, each with the section of the images that it masks."""
    data = config.get("data") or {}
    forged = data.get("forged") or {}
    for mask in (config.get("mask"), *(config.get("test_masks") or {}).values()):
        yield mask, data
    yield forged.get("mask"), forged.get("images") or {}


def _paths(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, path below the data root) of the files and folders that a configuration names besides images and masks."""
    data = config.get("data") or {}
    captions = data.get("captions") or {}
    sections = (("data.captions", captions, ("file", "folder")), ("features", config.get("features"), ("weights",)))
    for name, section, keys in sections:
        yield from ((f"{name}.{key}", section[key]) for key in keys if section and section.get(key))


def _check_files(folder: Path, key: str) -> None:
    names = image_files(folder, key)[:_LOOKED_AT]
    check_left_out(unreadable(folder, names), len(names), folder, key)


def _listed(section: SourceConfig, root: Path) -> _Listed:
    if section.name == "folder":
        crops = section.crops or 1
        _, split_of = folder_splits(str(section.path), section.split, root, section.test_alone)
        numbers = Counter(split_of.values())
        counts = {split: numbers[split] * crops for split in SPLITS}
        more = ", or set a larger `crops` for the folder" if section.crops else ""
        return _Listed(f"the folder {section.path}", counts, more)
    if section.name not in ("cifar10", "cifar100"):
        return _Listed(section.name, None)
    val = section.val_from_test
    counts = _CIFAR | {"train": 45_000} if val is None else {"train": 50_000, "val": val, "test": 10_000 - val}
    return _Listed(section.name, counts)


def _set_counts(section: SetConfig, root: Path) -> dict[str, int]:
    """The images of a public set by split; wrong lists, and splits without images of both classes, are refused."""
    listed, folder = _listed_set(section, root), root / section.path
    return {split: len(chosen_images(listed, split, getattr(section, split), folder)) for split in SPLITS}


def _listed_set(section: SetConfig, root: Path) -> list[ListedImage]:
    """The images of a public set; wrong lists are refused."""
    authentic = path_below(root, section.authentic, "set.authentic") if section.authentic else None
    return listing(section.layout)(path_below(root, section.path, "set.path"), authentic)


def _labelled_sets(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The sets of labelled images of a detector's configuration, its own first, each with its key."""
    data = config.get("data") or {}
    if data.get("set") or data.get("forged"):
        yield "data", data
    yield from ((f"test_sets.{label}", section) for label, section in (config.get("test_sets") or {}).items())


def _check_labelled(section: Mapping[str, Any], root: Path, is_own: bool) -> None:
    """Look up the files of a set of labelled images. Raises TrialError for what a run would refuse.

    Photographs that this machine lacks are no error, since the store may have the forged set.
    """
    if section.get("set"):
        given = SetConfig.model_validate(section["set"])
        if is_own:
            _set_counts(given, root)
        else:
            test_images(_listed_set(given, root), given, root / given.path)
        return
    images = read(PhotographsConfig, section["forged"]["images"])
    if images.name == "folder":
        if not (root / str(images.path)).exists():
            return
        _check_files(root / str(images.path), "forged.images.path")
    sizes(_listed(images, root), images)
