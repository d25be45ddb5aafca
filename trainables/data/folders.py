"""A folder of images of any size, split by their names."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trainables.data.image_files import below, image_files, open_image
from trainables.data.splits import SPLITS, Pixels, hashed, no_objects
from trainables.errors import TrialError

_T = TypeVar("_T")
_R = TypeVar("_R")


class Files:
    """Image files below a folder, each in one split, in the order of a hash of their names.

    crops: so many squares of each file instead of its centre; those of one file are in one split. No file is opened
    before its images are taken: a wrong number is told at once, a small subset is cheap.
    """

    def __init__(self, what: str, folder: Path, split_of: Mapping[str, str], crops: int | None = None) -> None:
        self.what = what
        self.more = ", or set a larger `crops` for the folder" if crops else ""
        self._crops = crops
        self._folder = folder
        self._names = {
            part: [name for name in sorted(split_of, key=lambda n: (hashed(n), n)) if split_of[name] == part]
            for part in SPLITS
        }

    def verify(self) -> None:
        """Whether a file decodes is only seen by decoding it."""

    def count(self, split: str) -> int:
        return len(self._names[split]) * (self._crops or 1)

    def take(self, split: str, count: int, size: int) -> Tensor:
        """Image i is of file i modulo their number: the first crop of each file comes before the second of any."""
        images = torch.empty((count, 3, size, size), dtype=torch.uint8)
        for places, squares in self._by_file(split, 0, count, size, threads=4):
            for place, pixels in zip(places, squares, strict=True):
                if isinstance(pixels, TrialError):
                    raise pixels
                images[place] = torch.from_numpy(pixels).permute(2, 0, 1)
        return images

    def names(self, split: str, start: int, stop: int) -> list[str]:
        files = self._names[split]
        return [files[index % len(files)] for index in range(start, stop)]

    def read(self, split: str, start: int, stop: int, size: int, threads: int) -> Iterator[Pixels | TrialError]:
        early: dict[int, Pixels | TrialError] = {}
        turn = start
        for places, squares in self._by_file(split, start, stop, size, threads):
            early.update(zip(places, squares, strict=True))
            while turn in early:
                yield early.pop(turn)
                turn += 1

    def classes(self, split: str, start: int, stop: int) -> list[str]:
        """By the folder that a file lies in, without a number before it: `001.Laysan_Albatross` is Laysan Albatross."""
        return [self._class(name) for name in self.names(split, start, stop)]

    def objects(self, split: str, count: int, size: int) -> Tensor:
        """Cut out as the images are."""
        found = torch.empty((count, size, size), dtype=torch.uint8)
        for index, name in enumerate(self.names(split, 0, count)):
            square = _square(self.object_of(name), size)[..., 0]
            found[index] = torch.from_numpy(square >= 128)
        return found

    def object_of(self, name: str) -> Image.Image:
        """Where an image's object is, white on black."""
        raise no_objects(self.what)

    def _class(self, name: str) -> str:
        folder, _, _ = name.rpartition("/")
        if not folder:
            raise TrialError(
                f"data.captions.template with the image {name!r}",
                f"it lies in no folder below {self._folder} whose name would say what it shows",
                "images in one folder for each class, or a captions file",
                "captions: {file: captions.txt}, with image name, tab, caption in each line",
                "data.captions",
            )
        return re.sub(r"^\d+\.", "", folder.rpartition("/")[2]).replace("_", " ")

    def _by_file(
        self, split: str, start: int, stop: int, size: int, threads: int
    ) -> Iterator[tuple[Sequence[int], Sequence[Pixels | TrialError]]]:
        """The images of one file after the other, each file decoded once, with their places in the split."""
        files = self._names[split]
        places = [range(first, stop, len(files)) for first in range(start, min(stop, start + len(files)))]

        def squares(some: range) -> Sequence[Pixels | TrialError]:
            return self._squares(files[some[0] % len(files)], [place // len(files) for place in some], size)

        with ThreadPoolExecutor(max_workers=threads) as pool:  # Pillow decodes and resizes outside the interpreter lock
            yield from zip(places, _ahead(pool, squares, places, 4 * threads), strict=True)

    def _squares(self, name: str, numbers: Sequence[int], size: int) -> Sequence[Pixels | TrialError]:
        """The crops of these numbers of a file, or its centre."""
        try:
            image = open_image(self._folder / name, "data.path")
        except TrialError as error:
            return [error] * len(numbers)
        if self._crops is None:
            return [_square(image, size)]
        return list(_crops(image.convert("RGB"), numbers, size, hashed(f"crops {name}")))


class Folder(Files):
    """The images below a folder: 80/10/10 by a hash of their names, or as a CSV file says."""

    def __init__(self, path: str, split: str | None, crops: int | None, root: Path | None) -> None:
        folder = below(root, path, "data.path")
        names = image_files(folder, "data.path")
        if split is None:
            split_of = {name: split_by_hash(name) for name in names}
        else:
            split_of = _read_split_file(below(root, split, "data.split"), set(names))
        super().__init__(f"the folder {path}", folder, split_of, crops)


def _ahead(pool: ThreadPoolExecutor, function: Callable[[_T], _R], items: Sequence[_T], waiting: int) -> Iterator[_R]:
    """`pool.map`, but with so many results waiting at most: it would hold all of them in memory."""
    futures: deque[Future[_R]] = deque()
    for item in items:
        futures.append(pool.submit(function, item))
        if len(futures) > waiting:
            yield futures.popleft().result()
    while futures:
        yield futures.popleft().result()


def split_by_hash(name: str) -> str:
    """80 % train, 10 % val, 10 % test, independent of which other files there are."""
    tenth = hashed(f"split {name}") * 10 >> 64
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


def _square(image: Image.Image, size: int) -> Pixels:
    """(size, size, 3): the short side resized to `size`, then the centre crop; transparency is dropped."""
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)  # antialiased where it shrinks
    return np.array(resized.crop((left, top, left + size, top + size)))


def _crops(image: Image.Image, numbers: Sequence[int], size: int, seed: int) -> Iterator[Pixels]:
    """(size, size, 3) each: squares anywhere in the image, resized to `size`; a crop depends on its number alone.

    The logarithm of their side is uniform between `size` and the short side: from details to the whole.
    """
    shortest = min(image.size)
    uniform = np.random.default_rng(seed).random((max(numbers) + 1, 3))[list(numbers)]
    sides = np.exp(np.log(shortest) + uniform[:, 0] * np.log(min(size, shortest) / shortest))
    for side, x, y in zip(sides, uniform[:, 1], uniform[:, 2], strict=True):
        left, top = x * (image.width - side), y * (image.height - side)
        box = (left, top, min(left + side, image.width), min(top + side, image.height))
        yield np.array(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
