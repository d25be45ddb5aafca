"""CIFAR-10 and CIFAR-100 in their published form: 60,000 images of 32 px in Python pickles.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. The files are read here, because
importing torchvision takes six seconds and 160 MB. torchvision downloads them and checks the same md5.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.data.splits import Pixels, hash_order, no_objects_error
from trainables.errors import TrialError

VAL = 5_000
"""Number of training images in the validation split, unless that is taken from the test images."""


@dataclass(frozen=True)
class CifarArchive:
    """The published files of one data set."""

    folder: str
    """Folder in the archive."""
    train: dict[str, int]
    """Files with training images, and the number of images in each."""
    test: dict[str, int]
    """Files with test images, and the number of images in each."""
    md5: dict[str, str]
    """md5 of each of these files."""
    url: str
    dataset: str
    """Name of torchvision's class."""
    meta: tuple[str, str, str, str]
    """The file with the class names, its md5, its key for the class names, and the key of the labels in the others."""
    instead: str = ""
    """Advice for the error if the data set is missing."""


SETS = {
    "cifar10": CifarArchive(
        folder="cifar-10-batches-py",
        train={f"data_batch_{number}": 10_000 for number in range(1, 6)},
        test={"test_batch": 10_000},
        md5={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
        },
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        dataset="CIFAR10",
        meta=("batches.meta", "5ff9c542aee3614f3951f8cda6e48888", "label_names", "labels"),
    ),
    "cifar100": CifarArchive(
        folder="cifar-100-python",
        train={"train": 50_000},
        test={"test": 10_000},
        md5={"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
        url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        dataset="CIFAR100",
        meta=("meta", "7973b15100ade9c7d40fb424638fde48", "fine_label_names", "fine_labels"),
        instead="; or use CIFAR-10 instead: --set data.name=cifar10",
    ),
}


class Cifar:
    """CIFAR-10 or CIFAR-100, split by a hash of the image index.

    val_from_test: number of test images that form the validation split; None: VAL of the training images form it.
    root: see `images.load`.
    """

    more = ""

    def __init__(self, name: str, val_from_test: int | None, root: Path | None) -> None:
        self.what, self._val_from_test, self._root = name, val_from_test, root

    def verify(self) -> None:
        folder = _folder(self.what, self._root)
        for file in SETS[self.what].md5:
            _verify_once(self.what, folder / file, _state(self.what, folder / file))

    def count(self, split: str) -> int:
        published = SETS[self.what]
        train, test = sum(published.train.values()), sum(published.test.values())
        if self._val_from_test is None:
            return {"train": train - VAL, "val": VAL, "test": test}[split]
        return {"train": train, "val": self._val_from_test, "test": test - self._val_from_test}[split]

    def take(self, split: str, count: int, size: int) -> Tensor:
        return self._part(split, 0, count, size)

    def names(self, split: str, start: int, stop: int) -> list[str]:
        """`train/7` is the eighth published training image, whichever split it is in."""
        file, first = self._place(split)
        order = hash_order(sum(getattr(SETS[self.what], file).values()))
        return [f"{file}/{index}" for index in order[first + start : first + stop]]

    def read(self, split: str, start: int, stop: int, size: int, threads: int) -> Iterator[Pixels | TrialError]:
        yield from self._part(split, start, stop, size).permute(0, 2, 3, 1).contiguous().numpy()

    def classes(self, split: str, start: int, stop: int) -> list[str]:
        labels = _labels(self.what, self._root)
        return [labels[name] for name in self.names(split, start, stop)]

    def objects(self, split: str, count: int, size: int) -> Tensor:
        raise no_objects_error(self.what)

    def _part(self, split: str, start: int, stop: int, size: int) -> Tensor:
        file, first = self._place(split)
        images = _all(self.what, self._root)[("train", "test").index(file)]
        part = images[first + start : first + stop]
        return part if size == part.shape[-1] else _resize(part, size)

    def _place(self, split: str) -> tuple[str, int]:
        """The published part ('train' or 'test') that a split is taken from, and its start in the hashed order."""
        file = "test" if split == "test" or (split == "val" and self._val_from_test is not None) else "train"
        whole = sum(getattr(SETS[self.what], file).values())
        return file, whole - self.count("val") if split == "val" else 0  # the validation split is at the end


@lru_cache(maxsize=2)
def _all(name: str, root: Path | None) -> tuple[Tensor, Tensor]:
    """All training and all test images, each in the order of the hashed index.

    Every subset is a view of them, so a process holds 60,000 x 3 x 32 x 32 bytes = 184 MB, whatever its trials use.
    """
    folder, published = _folder(name, root), SETS[name]
    return _inhash_order(name, folder, published.train), _inhash_order(name, folder, published.test)


def _inhash_order(name: str, folder: Path, files: dict[str, int]) -> Tensor:
    count = sum(files.values())
    images = torch.empty((count, 3, 32, 32), dtype=torch.uint8)
    place = torch.empty(count, dtype=torch.long)
    place[list(hash_order(count))] = torch.arange(count)
    for file, places in zip(files, place.split(list(files.values())), strict=True):  # type: ignore[no-untyped-call]
        batch = pickle.loads(_verified(name, folder / file), encoding="latin1")  # safe: the md5 was checked
        images[places] = torch.from_numpy(batch["data"]).view(-1, 3, 32, 32)
    return images


@lru_cache(maxsize=2)
def _labels(name: str, root: Path | None) -> dict[str, str]:
    """The class name of each image, by the image's name (`Cifar.names`)."""
    folder, published = _folder(name, root), SETS[name]
    meta, _, names_key, labels_key = published.meta
    names = [text.replace("_", " ") for text in pickle.loads(_verified(name, folder / meta))[names_key]]
    class_of: dict[str, str] = {}
    for part, files in (("train", published.train), ("test", published.test)):
        batches = [pickle.loads(_verified(name, folder / file), encoding="latin1") for file in files]
        labels = [label for batch in batches for label in batch[labels_key]]
        class_of.update({f"{part}/{index}": names[label] for index, label in enumerate(labels)})
    return class_of


def _state(name: str, file: Path) -> tuple[int, int]:
    """Size and modification time of a file; while they stay the same, it is not verified again."""
    try:
        stat = file.stat()
    except OSError as error:
        raise _error(name, file, f"it cannot be read: {error.strerror}") from error
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=64)
def _verify_once(name: str, file: Path, state: tuple[int, int]) -> None:  # noqa: ARG001 - part of the key
    """Verify a file once per process and change of the file: the md5 of the whole set takes 0.4 s."""
    _verified(name, file)


def _verified(name: str, file: Path) -> bytes:
    """The content of a published file. Raises TrialError if it is missing or its md5 differs."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _error(name, file, f"it cannot be read: {error.strerror}") from error
    meta, of_meta, _, _ = SETS[name].meta
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != {**SETS[name].md5, meta: of_meta}[file.name]:
        raise _error(name, file, "it is damaged: its md5 differs from the published one")
    return content


def _folder(name: str, root: Path | None) -> Path:
    """The folder of the files; without a root, a folder in the user's cache, into which torchvision downloads them."""
    published = SETS[name]
    folder = (root or Path.home() / ".cache" / "inpaint-sweeps") / published.folder
    if root is None:
        try:
            with one_process_at_a_time(folder.parent):
                if not all((folder / file).is_file() for file in published.md5):
                    import torchvision.datasets  # takes six seconds, because it loads torch's compiler

                    getattr(torchvision.datasets, published.dataset)(str(folder.parent), download=True)
        except (OSError, RuntimeError) as error:  # torchvision raises RuntimeError for a wrong md5
            raise _error(name, folder, f"the download failed: {error}") from error
    return folder


def _error(name: str, file: Path, why: str) -> TrialError:
    published = SETS[name]
    root = file.parent if file.name == published.folder else file.parent.parent
    there = root / published.folder
    remove = f"remove {there} and " if there.exists() else ""
    return TrialError(
        f"data.name: {name}, {file}",
        why,
        f"the published folder {published.folder} in the data root",
        f"{remove}unpack {published.url} in {root}, "
        f"or set SWEEPS_DATA to the data root that holds it{published.instead}",
        "data.name",
    )


@contextlib.contextmanager
def one_process_at_a_time(folder: Path) -> Iterator[None]:
    """Lock a folder, so that trials that start together do not download into the same file."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _resize(images: Tensor, size: int) -> Tensor:
    """Antialiased bilinear resize, a thousand images at a time to limit the memory of the float copy."""
    resized = torch.empty((len(images), 3, size, size), dtype=torch.uint8)
    for start in range(0, len(images), 1000):
        part = images[start : start + 1000].float()
        smooth = F.interpolate(part, size=(size, size), mode="bilinear", antialias=True)
        resized[start : start + 1000] = smooth.round_().clamp_(0, 255)
    return resized
