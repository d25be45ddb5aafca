"""Data sets as uint8 tensors that stay in memory for a whole process.

CIFAR-10, CIFAR-100, CUB-200-2011, Oxford-IIIT Pet or any folder of images, split into train, val and test. Which image
belongs to which split, and the order within a split, follow from a hash of the image's index or name, never from a
seed; `train: 128` takes the first 128 in that order, so smaller subsets are parts of larger ones. `train_on` trains on
other data sets, or on a mixture: validation and test stay those of the data set that is named, so that all arms are
scored on the same images.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainables.config.sections import DataConfig, SourceConfig
from trainables.data.cifar import Cifar
from trainables.data.cub_and_pets import Birds, Pets
from trainables.data.folders import Folder
from trainables.data.places365 import Places
from trainables.data.splits import SPLITS, Source, taken

KEPT = 4
"""How many image sets a process keeps; those of CIFAR at 32 px share one memory (184 MB), mixtures have their own."""

_kept: OrderedDict[tuple[Path | None, str], ImageSet] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True)
class ImageSet:
    """Three splits of uint8 images, each (n, 3, size, size); not to be written to, they are shared.

    fingerprint: SHA-256 (hexadecimal) over the pixels, their order and split.
    """

    train: Tensor
    val: Tensor
    test: Tensor
    fingerprint: str

    def to(self, device: torch.device | str) -> ImageSet:
        """The same images on a device."""
        return ImageSet(self.train.to(device), self.val.to(device), self.test.to(device), self.fingerprint)


def load(config: Mapping[str, Any], root: Path | None) -> ImageSet:
    """The image set of a resolved `data` section; loaded once a process, so later changes of files are not seen.

    root: folder below which the data lie; None for `~/.cache/inpaint-sweeps`, into which CIFAR is downloaded.
    Raises TrialError where files are missing, damaged or too few.
    """
    data = DataConfig.model_validate(config)
    key = (root, data.model_dump_json(exclude={"augment", "captions"}))
    with _lock:  # held while loading: a second thread that wants the same set waits for it instead of loading it again
        if key not in _kept:
            parts = chosen(data, root)
            train, val, test = (_together(split, parts[split], data.size) for split in SPLITS)
            _kept[key] = ImageSet(train, val, test, _fingerprint((train, val, test)))
        _kept.move_to_end(key)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
        return _kept[key]


def objects(config: Mapping[str, Any], root: Path | None) -> dict[str, Tensor]:
    """Where the object of every image is, by split: uint8 (n, size, size), 1 in it. Raises TrialError as `load`."""
    return _objects(DataConfig.model_validate(config).model_dump_json(exclude={"augment", "captions"}), root)


@lru_cache(maxsize=2)
def _objects(section: str, root: Path | None) -> dict[str, Tensor]:
    data = DataConfig.model_validate_json(section)
    parts = chosen(data, root)
    return {split: torch.cat([source.objects(split, n, data.size) for source, n in parts[split]]) for split in SPLITS}


def check(config: Mapping[str, Any], root: Path | None) -> dict[str, int]:
    """Raise the TrialError that `load` would raise for missing, damaged or too few files, without decoding images.

    Returns how many images each split will have.
    Downloads CIFAR where `load` would, so that a driver can do it once, before its trials start.
    """
    parts = chosen(DataConfig.model_validate(config), root)
    sources = {id(source): source for some in parts.values() for source, _ in some}
    for source in sources.values():
        source.verify()
    return {split: sum(count for _, count in some) for split, some in parts.items()}


def chosen(data: DataConfig, root: Path | None) -> dict[str, list[tuple[Source, int]]]:
    """How many images of which data sets each split has. Of several, each gives an equal share of `data.train`."""
    own = source(data, root)
    scored = {split: [(own, taken(own, split, getattr(data, split)))] for split in ("val", "test")}
    parts = [own if part.name == "own" else source(part, root) for part in data.train_on or ()] or [own]
    if len(parts) == 1:
        return {"train": [(parts[0], taken(parts[0], "train", data.train))], **scored}
    shares: list[int | None] = [None] * len(parts)
    if data.train is not None:
        shares = [data.train // len(parts) + (i < data.train % len(parts)) for i in range(len(parts))]
    share = f" of {len(parts)} data sets' {data.train}"
    train = [(part, taken(part, "train", wanted, share)) for part, wanted in zip(parts, shares, strict=True)]
    return {"train": train, **scored}


def _together(split: str, parts: Sequence[tuple[Source, int]], size: int) -> Tensor:
    images = [source.take(split, count, size) for source, count in parts]
    return images[0] if len(images) == 1 else torch.cat(images)  # a single one stays a view


def source(section: SourceConfig, root: Path | None) -> Source:
    """The data set that a section names, below a folder; see `load`. Raises TrialError where files are missing."""
    if section.name == "folder":
        assert section.path is not None  # SourceConfig sees to it
        return Folder(section.path, section.split, section.crops, root)
    if section.name == "places365_val":
        return Places(root)
    if section.name == "cub200":
        return Birds(root)
    if section.name == "oxford_pets":
        return Pets(root)
    return Cifar(section.name, section.val_from_test, root)


def _fingerprint(splits: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for name, images in zip(SPLITS, splits, strict=True):
        digest.update(f"{name} {tuple(images.shape)}\n".encode())
        digest.update(images.numpy().data)
    return digest.hexdigest()
