"""Data sets as uint8 tensors that stay in memory for a whole process.

CIFAR-10 (A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009) or any folder of images, split
into train, val and test. Which image belongs to which split, and the order within a split, follow from a hash of the
image's index or name, never from a seed; `train: 128` takes the first 128 in that order, so smaller subsets are parts
of larger ones.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import pickle
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from trainables.data.files import below, image_files, open_image
from trainables.errors import TrialError
from trainables.sections import DataConfig

SPLITS = ("train", "val", "test")
CIFAR_FOLDER = "cifar-10-batches-py"
CIFAR_BATCH = 10_000
CIFAR_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
"""The five training files and the test file, 10,000 images each, with the md5 that torchvision checks as well. Read
here, since importing torchvision takes six seconds and 160 MB; torchvision does the download."""
CIFAR_VAL = 5_000
"""How many of CIFAR's 50,000 training images are the validation split."""
KEPT = 4
"""How many image sets a process keeps; those of CIFAR at 32 px share one memory (184 MB)."""

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

    root: folder below which the data lie; None for `~/.cache/inpaint-sweeps`, into which CIFAR-10 is downloaded.
    Raises TrialError where files are missing, damaged or too few.
    """
    data = DataConfig.model_validate(config)
    key = (root, data.model_dump_json())
    with _lock:  # held while loading: a second thread that wants the same set waits for it instead of loading it again
        if key not in _kept:
            splits = _cifar10_splits(data, root) if data.name == "cifar10" else _folder_splits(data, root)
            _kept[key] = ImageSet(*splits, _fingerprint(splits))
        _kept.move_to_end(key)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
        return _kept[key]


def check(config: Mapping[str, Any], root: Path | None) -> dict[str, int]:
    """Raise the TrialError that `load` would raise for missing, damaged or too few files, without decoding images.

    Returns how many images each split will have.
    Downloads CIFAR-10 where `load` would, so that a driver can do it once, before its trials start.
    """
    data = DataConfig.model_validate(config)
    if data.name == "cifar10":
        folder = _cifar10_folder(root)
        for file in CIFAR_MD5:
            _verified(folder / file)
        whole = zip(SPLITS, (5 * CIFAR_BATCH - CIFAR_VAL, CIFAR_VAL, CIFAR_BATCH), strict=True)
        return {split: _take("cifar10", split, getattr(data, split), there) for split, there in whole}
    return {split: len(files) for split, files in zip(SPLITS, _choose_files(data, root), strict=True)}


def _fingerprint(splits: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for name, images in zip(SPLITS, splits, strict=True):
        digest.update(f"{name} {tuple(images.shape)}\n".encode())
        digest.update(images.numpy().data)
    return digest.hexdigest()


def _hash(name: str) -> int:
    """64 bits that are the same on every machine, for ever: changing this changes every split."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _take(what: str, split: str, wanted: int | None, there: int) -> int:
    """How many images of a split to take. Raises TrialError where it is empty or has fewer than wanted."""
    if there == 0:
        raise TrialError(
            f"data: the {split} split of {what}",
            "it is empty",
            "at least one image in each of train, val and test",
            "add images, or name a CSV file with the columns file, split under `data.split`",
        )
    if wanted is not None and wanted > there:
        raise TrialError(
            f"data.{split}: {wanted}",
            f"the {split} split of {what} has {there:,} images",
            f"1 to {there}, or null for all",
            f"{split}: {there}",
        )
    return there if wanted is None else wanted


# --- CIFAR-10 ---------------------------------------------------------------------------------------------------------


def _cifar10_splits(data: DataConfig, root: Path | None) -> tuple[Tensor, Tensor, Tensor]:
    splits = []
    for split, images in zip(SPLITS, _cifar10(root), strict=True):
        part = images[: _take("cifar10", split, getattr(data, split), len(images))]
        splits.append(part if data.size == part.shape[-1] else _resize(part, data.size))
    train, val, test = splits
    return train, val, test


@lru_cache(maxsize=1)
def _cifar10(root: Path | None) -> tuple[Tensor, Tensor, Tensor]:
    """All of CIFAR-10 in the order of the hashed index: the last 5,000 training images are the validation split.

    Held in that order, so every subset is a view: 60,000 x 3 x 32 x 32 bytes = 184 MB, whatever the trials ask for.
    """
    folder = _cifar10_folder(root)
    *train_files, test_file = CIFAR_MD5
    train, test = (_in_hash_order(folder, files) for files in (train_files, [test_file]))
    return train[:-CIFAR_VAL], train[-CIFAR_VAL:], test


def _in_hash_order(folder: Path, files: list[str]) -> Tensor:
    count = CIFAR_BATCH * len(files)
    images = torch.empty((count, 3, 32, 32), dtype=torch.uint8)
    place = torch.empty(count, dtype=torch.long)
    place[sorted(range(count), key=lambda index: _hash(str(index)))] = torch.arange(count)
    for file, places in zip(files, place.split(CIFAR_BATCH), strict=True):  # type: ignore[no-untyped-call]
        batch = pickle.loads(_verified(folder / file), encoding="latin1")  # as published: its md5 was checked
        images[places] = torch.from_numpy(batch["data"]).view(-1, 3, 32, 32)
    return images


def _verified(file: Path) -> bytes:
    """Content of one of CIFAR-10's files. Raises TrialError where it is missing or its md5 differs."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _cifar10_error(file, f"it cannot be read: {error.strerror}") from error
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != CIFAR_MD5[file.name]:
        raise _cifar10_error(file, "it is damaged: its md5 is not the published one")
    return content


def _cifar10_folder(root: Path | None) -> Path:
    """Where the batches lie; without a root, in the user's cache, downloaded by torchvision the first time."""
    folder = (root or Path.home() / ".cache" / "inpaint-sweeps") / CIFAR_FOLDER
    if root is None:
        try:
            with _one_process_at_a_time(folder.parent):
                if not all((folder / file).is_file() for file in CIFAR_MD5):
                    from torchvision.datasets import CIFAR10  # six seconds: it loads torch's compiler

                    CIFAR10(str(folder.parent), download=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: torchvision's, for a wrong md5
            raise _cifar10_error(folder, f"the download failed: {error}") from error
    return folder


def _cifar10_error(file: Path, why: str) -> TrialError:
    root = file.parent if file.name == CIFAR_FOLDER else file.parent.parent
    return TrialError(
        f"data.name: cifar10, {file}",
        why,
        f"the folder {CIFAR_FOLDER} as it was published, below the data root",
        f"remove {root / CIFAR_FOLDER} and unpack https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz in {root}, "
        "or give the data root that holds it",
    )


@contextlib.contextmanager
def _one_process_at_a_time(folder: Path) -> Iterator[None]:
    """Trials that start together must not download into the same file."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _resize(images: Tensor, size: int) -> Tensor:
    """Antialiased bilinear, a thousand images at a time to bound the memory that float needs."""
    resized = torch.empty((len(images), 3, size, size), dtype=torch.uint8)
    for start in range(0, len(images), 1000):
        part = images[start : start + 1000].float()
        smooth = F.interpolate(part, size=(size, size), mode="bilinear", antialias=True)
        resized[start : start + 1000] = smooth.round_().clamp_(0, 255)
    return resized


# --- folders of images ------------------------------------------------------------------------------------------------


def _folder_splits(data: DataConfig, root: Path | None) -> tuple[Tensor, Tensor, Tensor]:
    train, val, test = (_decode(files, data.size) for files in _choose_files(data, root))
    return train, val, test


def _choose_files(data: DataConfig, root: Path | None) -> list[list[Path]]:
    """The files of each split, none of them opened yet: a wrong number is told at once, a small subset is cheap."""
    assert data.path is not None  # DataConfig sees to it
    folder = below(root, data.path, "data.path")
    names = image_files(folder, "data.path")
    if data.split is None:
        split_of = {name: _split_by_hash(name) for name in names}
    else:
        split_of = _read_split_file(below(root, data.split, "data.split"), set(names))
    chosen = []
    for split in SPLITS:
        members = sorted((name for name, where in split_of.items() if where == split), key=lambda n: (_hash(n), n))
        members = members[: _take(f"the folder {data.path}", split, getattr(data, split), len(members))]
        chosen.append([folder / name for name in members])
    return chosen


def _split_by_hash(name: str) -> str:
    """80 % train, 10 % val, 10 % test, independent of which other files there are."""
    tenth = _hash(f"split {name}") * 10 >> 64
    return "train" if tenth < 8 else ("val" if tenth == 8 else "test")


def _read_split_file(file: Path, names: set[str]) -> dict[str, str]:
    """Split of each file listed in a CSV file with the columns `file` and `split`; files not listed are not used."""
    with file.open(newline="", encoding="utf-8-sig") as text:
        reader = csv.DictReader(text)
        if not {"file", "split"} <= set(reader.fieldnames or ()):
            raise _split_error(file, 1, f"the columns are {', '.join(reader.fieldnames or ()) or 'missing'}")
        split_of: dict[str, str] = {}
        for row in reader:
            name, split = row["file"], row["split"]
            if split not in SPLITS:
                raise _split_error(file, reader.line_num, f"{split!r} is no split")
            if name not in names:
                raise _split_error(file, reader.line_num, f"{name!r} is no image of the folder")
            if name in split_of:
                raise _split_error(file, reader.line_num, f"{name!r} is listed twice")
            split_of[name] = split
    return split_of


def _split_error(file: Path, line: int, why: str) -> TrialError:
    return TrialError(
        f"data.split: {file}, line {line}",
        why,
        "the columns `file` (name below data.path, with /) and `split` (train, val or test), each file once",
        "correct that line",
    )


def _decode(files: list[Path], size: int) -> Tensor:
    """(n, 3, size, size) uint8: the short side resized to `size`, then the centre crop."""
    images = torch.empty((len(files), 3, size, size), dtype=torch.uint8)
    with ThreadPoolExecutor(max_workers=4) as pool:  # Pillow decodes and resizes outside the interpreter lock
        for index, pixels in enumerate(pool.map(lambda file: _square(open_image(file, "data.path"), size), files)):
            images[index] = torch.from_numpy(pixels).permute(2, 0, 1)
    return images


def _square(image: Image.Image, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(size, size, 3); transparency is dropped."""
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)  # antialiased where it shrinks
    return np.array(resized.crop((left, top, left + size, top + size)))
