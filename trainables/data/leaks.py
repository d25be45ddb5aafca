"""Finds photographs that are in two splits: the same file, or a copy of it, under any name.

Looked at are the files of folders and published sets that a configuration trains, validates and tests on, before crops
are made and fakes are forged, and the photographs of its protocol, which are tested on as well;
`trainables.data.likeness` says what counts as a copy. Named data sets (CIFAR, ...) keep their published splits, and a
user's data set is not looked at. The views of files are kept in the user's cache by the hash of their content.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainables.config.data_paths import DataPath
from trainables.data.fingerprints import fingerprints
from trainables.data.image_files import image_files, path_below
from trainables.data.likeness import SIDE, find_copies, views
from trainables.data.sources.folder_splits import folder_splits
from trainables.data.splits import SPLITS, Pixels, hashed
from trainables.errors import TrialError
from trainables.forgery.config import SetConfig
from trainables.forgery.public_file_lists import chosen_images, listing, test_images

THREADS = 4
_Section = Mapping[str, Any]


@dataclass(frozen=True)
class Leak:
    """A photograph of one split that is a copy of one in another split."""

    splits: tuple[str, str]
    files: tuple[str, str]
    """The two files, relative to the data root; the first is in the first split."""
    how: str
    """`the same file`, `a copy`, or `a mirrored copy`."""

    def __str__(self) -> str:
        one, other = (f"{file} ({split})" for file, split in zip(self.files, self.splits, strict=True))
        return f"{other} is {self.how} of {one}" if self.how != "the same file" else f"{one} and {other} are the same"


def find_leaks(config: _Section, root: Path) -> list[Leak]:
    """The leaks between training, validation and test images of a resolved configuration, test sets included.

    Each photograph of the later split is named once. Raises TrialError for what cannot be listed.
    """
    files: dict[str, dict[str, None]] = {split: {} for split in SPLITS}
    for split, file in _files(config, root):
        files[split].setdefault(file)
    if not any(files.values()):
        return []
    known = _Views(root, set(_folders(config)))
    known.read([file for some in files.values() for file in some])
    pairs = (("train", "val"), ("train", "test"), ("val", "test"))
    return [leak for pair in pairs for leak in _between(pair, [list(files[split]) for split in pair], known)]


def _between(splits: tuple[str, str], files: Sequence[Sequence[str]], known: _Views) -> list[Leak]:
    first, second = files
    by_content = {known.content(file): file for file in reversed(first)}
    same = {file: by_content[known.content(file)] for file in second if known.content(file) in by_content}
    left = [[file for file in some if known.has(file)] for some in (first, [one for one in second if one not in same])]
    copies = find_copies(*([known.of(file) for file in some] for some in left))
    like = {left[1][one.second]: (left[0][one.first], one.mirrored) for one in copies}
    found = []
    for file in second:
        if file in same:
            found.append(Leak(splits, (same[file], file), "the same file"))
        elif file in like:
            other, mirrored = like[file]
            found.append(Leak(splits, (other, file), "a mirrored copy" if mirrored else "a copy"))
    return found


def _folders(config: _Section) -> Iterator[str]:
    """The folders that `_files` lists."""
    data = config.get("data") or {}
    for section in (data, *(data.get("train_on") or ()), *(config.get("test_sets") or {}).values()):
        images = section.get("set") or (section.get("forged") or {}).get("images") or section
        yield from (images[key] for key in ("path", "authentic") if images.get(key))
    yield from _of_protocol(config)


def _of_protocol(config: _Section) -> Iterator[str]:
    """The folder of photographs that a protocol has of its own; without one it rates the test images."""
    protocol = config.get("protocol") or {}
    yield from filter(None, [protocol.get("images")])


# --- the files of each split ------------------------------------------------------------------------------------------


def _files(config: _Section, root: Path) -> Iterator[tuple[str, str]]:
    """(split, file relative to the data root) of every image of a folder or published set that is used."""
    data = config.get("data") or {}
    yield from _of_section(data, root, SPLITS)
    for part in data.get("train_on") or ():
        yield from _of_folder({**part, "train": data.get("train")}, root, ("train",))
    for section in (config.get("test_sets") or {}).values():
        yield from _of_section(section, root, ("test",))
    for path in _of_protocol(config):
        if (root / path).is_dir():
            yield from (("test", _joined(path, name)) for name in image_files(root / path, "protocol.images"))


def _of_section(section: _Section, root: Path, splits: Sequence[str]) -> Iterator[tuple[str, str]]:
    if section.get("set"):
        yield from _of_set(SetConfig.model_validate(section["set"]), root, splits)
    elif section.get("forged"):
        yield from _of_folder(section["forged"]["images"], root, splits)
    else:
        yield from _of_folder(section, root, splits)


def _of_folder(section: _Section, root: Path, splits: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The files of a section `name: folder`, in the order in which they are taken."""
    if section.get("name") != "folder" or not (root / section["path"]).is_dir():
        return
    _, split_of = folder_splits(section["path"], section.get("split"), root, section.get("use") == "all")
    for split in splits:
        names = sorted((name for name in split_of if split_of[name] == split), key=lambda name: (hashed(name), name))
        yield from ((split, _joined(section["path"], name)) for name in names[: section.get(split)])


def _of_set(section: SetConfig, root: Path, splits: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The images of a published set."""
    if not (root / section.path).is_dir():
        return
    folder = root / section.path
    authentic = path_below(root, section.authentic, "set.authentic") if section.authentic else None
    listed = listing(section.layout)(folder, authentic)
    for split in splits:
        if tuple(splits) == ("test",):
            chosen = test_images(listed, section, folder)
        else:
            chosen = chosen_images(listed, split, getattr(section, split), folder)
        yield from ((split, _named(entry.image, section, folder, authentic)) for entry in chosen)


def _named(image: Path, section: SetConfig, folder: Path, authentic: Path | None) -> str:
    """The name of an image of a set, relative to the data root."""
    if authentic is not None and not image.is_relative_to(folder):
        return _joined(str(section.authentic), image.relative_to(authentic).as_posix())
    return _joined(section.path, image.relative_to(folder).as_posix())


def _joined(path: str, name: str) -> str:
    return (Path(path) / name).as_posix()


# --- views of files ---------------------------------------------------------------------------------------------------


class _Views:
    """The views of files below a data root by their names, from the cache where it has them."""

    def __init__(self, root: Path, folders: set[str]) -> None:
        self._root = root
        self._hash: dict[str, str] = {}
        for folder, found in fingerprints((DataPath(name, images=True) for name in sorted(folders)), root).items():
            self._hash |= {_joined(folder, name): content for name, (_, content) in found.files.items()}
        self._cache = _cache_file(root, folders)
        self._views: dict[str, Pixels] = _read(self._cache)

    def read(self, files: Sequence[str]) -> None:
        """Decode the files whose views are not known, and keep those of all."""
        wanted = {self._hash[file]: file for file in files if file in self._hash}
        missing = {content: file for content, file in wanted.items() if content not in self._views}
        if not missing:
            return
        with ThreadPoolExecutor(max_workers=THREADS) as pool:  # Pillow decodes outside the interpreter lock
            decoded = pool.map(lambda file: views(self._root / file), missing.values())
            found = {content: one for content, one in zip(missing, decoded, strict=True) if one is not None}
        self._views |= found
        there = set(self._hash.values())
        _write(self._cache, {content: one for content, one in self._views.items() if content in there})

    def content(self, file: str) -> str:
        """The hash of a file; its name if it cannot be read."""
        return self._hash.get(file, file)

    def has(self, file: str) -> bool:
        """Whether a file could be decoded."""
        return self._hash.get(file) in self._views

    def of(self, file: str) -> Pixels:
        return self._views[self._hash[file]]


def _cache_file(root: Path, folders: set[str]) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(os.fsencode("\0".join([str(root.resolve()), *sorted(folders)]))).hexdigest()[:16]
    return home / "inpaint-sweeps" / "views" / f"{name}.npz"


def _read(cache: Path) -> dict[str, Pixels]:
    """The views by the hash of their file; empty if there is no cache, or a damaged one."""
    damaged = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
    with contextlib.suppress(*damaged), np.load(cache, allow_pickle=False) as stored:
        content, count, pixels = stored["content"], stored["count"], stored["views"]
        if pixels.dtype == np.uint8 and pixels.shape == (count.sum(), SIDE, SIDE):
            return dict(zip(content.tolist(), np.split(pixels, np.cumsum(count)[:-1]), strict=True))
    return {}


def _write(cache: Path, found: Mapping[str, Pixels]) -> None:
    """Replace the cache. A cache that cannot be written costs time only."""
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=cache.parent, delete=False) as whole:
            count = np.array([len(some) for some in found.values()])
            np.savez(whole, content=np.array(list(found)), count=count, views=np.concatenate(list(found.values())))
        Path(whole.name).replace(cache)


# --- the error --------------------------------------------------------------------------------------------------------


def leaks_error(leaks: Sequence[Leak]) -> TrialError:
    """The error for photographs in two splits."""
    shown = "; ".join(map(str, leaks[:5])) + ("; ..." if len(leaks) > 5 else "")
    many = f"{len(leaks):,} photograph{'s' if len(leaks) > 1 else ''}"
    return TrialError(
        f"data: {many} in two splits",
        f"what is tested was seen in training, or chosen by: {shown}",
        "every photograph in one split, its copies included: saved again, resized, mirrored, or cropped",
        "remove the copies, or put them into one split (`data.split`: a CSV file; `split` or `source` in labels.csv); "
        "--accept-leaks runs nevertheless, and the report says how many there are",
        "data",
    )
