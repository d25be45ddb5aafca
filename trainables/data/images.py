"""Data sets as uint8 tensors that stay in memory for the life of a process.

CIFAR-10, CIFAR-100, Places365, CUB-200-2011, Oxford-IIIT Pet, any folder of images or a user's data set, split into
train, val and test.
The split of an image, and the order within a split, depend on a hash of the image's index or name, never on a seed.
`train: 128` takes the first 128 in that order, so smaller subsets are parts of larger ones. `train_on` trains on other
data sets or on a mixture; validation and test stay those of the named data set, so that all arms are scored on the same
images.
"""

from __future__ import annotations

import hashlib
import json
import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainables.code import references
from trainables.config.sections import DataConfig, SourceConfig
from trainables.data.image_files import check_left_out, with_reasons
from trainables.data.loaded import cached, on_change
from trainables.data.section import DataSection, read
from trainables.data.sources.cifar import Cifar
from trainables.data.sources.cub_and_pets import BirdsSource, PetsSource
from trainables.data.sources.folders import FolderSource, ImageFileSource, UnreadableFiles
from trainables.data.sources.places365 import PlacesSource
from trainables.data.sources.user_dataset import UserSource
from trainables.data.splits import SPLITS, Source, split_counts
from trainables.errors import TrialError

KEPT = 4
"""Number of image sets that a process keeps. Sets of CIFAR at 32 px share 184 MB of memory, mixtures are copies."""

_kept: OrderedDict[tuple[Path | None, str], ImageSet] = OrderedDict()
_lock = threading.Lock()
_unreadable: dict[Path, dict[str, str]] = {}
"""Files of folders that do not decode, each with the reason."""
on_change(_kept.clear)
on_change(_unreadable.clear)


@dataclass(frozen=True)
class ImageSet:
    """Three splits of uint8 images, each (n, 3, size, size). They are shared: do not write to them."""

    train: Tensor
    val: Tensor
    test: Tensor
    fingerprint: str
    """SHA-256 (hexadecimal) over the pixels, their order and split."""

    def to(self, device: torch.device | str) -> ImageSet:
        """The same images on a device."""
        return ImageSet(self.train.to(device), self.val.to(device), self.test.to(device), self.fingerprint)


def load(config: Mapping[str, Any], root: Path | None) -> ImageSet:
    """The image set of a resolved `data` section, loaded once per process, until `loaded.forget` is called.

    root: the data root; None for `~/.cache/inpaint-sweeps`, into which data sets are downloaded.

    Raises TrialError if files are missing, damaged or too few.
    """
    data = read(DataSection, config)
    key = (root, data.model_dump_json(exclude={"augment", "captions"}))
    with _lock:  # held while loading, so that two threads do not load the same set
        if key not in _kept:
            train, val, test = _decoded(data, root)
            _kept[key] = ImageSet(train, val, test, _fingerprint((train, val, test)))
        _kept.move_to_end(key)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
        return _kept[key]


def object_masks(config: Mapping[str, Any], root: Path | None) -> dict[str, Tensor]:
    """The object masks by split: uint8 (n, size, size), 1 inside the object. Raises TrialError like `load`."""
    return _objects(read(DataSection, config).model_dump_json(exclude={"augment", "captions"}), root)


@cached(maxsize=2)
def _objects(section: str, root: Path | None) -> dict[str, Tensor]:
    data = read(DataSection, json.loads(section))
    parts = image_counts(data, root)
    return {split: torch.cat([source.objects(split, n, data.size) for source, n in parts[split]]) for split in SPLITS}


def check(config: Mapping[str, Any], root: Path | None) -> dict[str, int]:
    """Raise the TrialError that `load` would raise for missing, damaged or too few files, without decoding images.

    Returns the number of images in each split. Downloads data sets as `load` does, so that a driver can download once
    before its trials start.
    """
    parts = image_counts(read(DataSection, config), root)
    sources = {id(source): source for some in parts.values() for source, _ in some}
    for source in sources.values():
        source.verify()
    return {split: sum(count for _, count in some) for split, some in parts.items()}


def _decoded(data: DataConfig, root: Path | None) -> list[Tensor]:
    """The images of each split, without files that do not decode. Raises TrialError if these are more than 1 %."""
    while True:
        parts, splits = image_counts(data, root), []
        found: dict[Path, dict[str, TrialError]] = {}
        files: dict[Path, int] = {}
        for split in SPLITS:
            try:
                splits.append(_together(split, parts[split], data.size))
            except UnreadableFiles as error:
                folder = error.source.folder
                found.setdefault(folder, {}).update(error.damaged)
                files[folder] = error.source.files
        if not found:
            return splits
        for folder, damaged in found.items():
            _leave_out(folder, damaged, files[folder])


def _leave_out(folder: Path, found: Mapping[str, TrialError], files: int) -> None:
    """Leave files out of a folder for the life of this process, so that captions and masks stay aligned with images.

    files: number of files of the folder that are not left out yet. Raises TrialError if more than 1 % of all are
    damaged, and the error of a file that may be intact.
    """
    for error in found.values():
        if getattr(error.__cause__, "errno", None):  # of the file system, not of the image
            raise error
    known = _unreadable.get(folder, {})
    damaged = known | {name: error.why for name, error in found.items()}
    check_left_out(damaged, files + len(known), folder, "data.path")
    _unreadable[folder] = damaged
    warnings.warn(f"left out of {folder}: {with_reasons(damaged)}", stacklevel=2)


def image_counts(data: DataConfig, root: Path | None) -> dict[str, list[tuple[Source, int]]]:
    """The data sets of each split, with the number of images; see `split_counts`."""
    return split_counts(data, lambda section: _readable(source(section, root, data.size)))


def _readable(source: Source) -> Source:
    """The data set without the files that turned out to be damaged in this process."""
    if isinstance(source, ImageFileSource):
        source.without(_unreadable.get(source.folder, {}))
    return source


def _together(split: str, parts: Sequence[tuple[Source, int]], size: int) -> Tensor:
    images = [source.take(split, count, size) for source, count in parts]
    return images[0] if len(images) == 1 else torch.cat(images)  # a single tensor stays a view


def source(section: SourceConfig, root: Path | None, size: int | None = None) -> Source:
    """The data set that a section names. root: see `load`. Raises TrialError if files are missing.

    size: of the images, px, for a user's data set; None: that of the section.
    """
    if references.parse(section.name):
        return UserSource(section, root, size or getattr(section, "size", None))
    if section.name == "folder":
        assert section.path is not None  # checked by SourceConfig
        return FolderSource(section.path, section.split, section.crops, root, section.test_alone)
    if section.name == "places365_val":
        return PlacesSource(root)
    if section.name == "cub200":
        return BirdsSource(root)
    if section.name == "oxford_pets":
        return PetsSource(root)
    return Cifar(section.name, section.val_from_test, root)


def _fingerprint(splits: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for name, images in zip(SPLITS, splits, strict=True):
        digest.update(f"{name} {tuple(images.shape)}\n".encode())
        digest.update(images.numpy().data)
    return digest.hexdigest()
