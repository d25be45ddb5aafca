"""Folders of images of any size, split by file name."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trainables.data.image_files import check_left_out, open_image, unreadable
from trainables.data.sources.folder_splits import folder_splits
from trainables.data.splits import SPLITS, Pixels, hashed, no_objects_error
from trainables.errors import TrialError

_T = TypeVar("_T")
_R = TypeVar("_R")


class UnreadableFiles(Exception):  # noqa: N818 - handled by who loads the images
    """Files of a source that do not decode."""

    def __init__(self, source: ImageFileSource, damaged: Mapping[str, TrialError]) -> None:
        super().__init__(f"{len(damaged)} files of {source.what}")
        self.source, self.damaged = source, damaged


class ImageFileSource:
    """Image files below a folder, each in one split, in the order of a hash of their names.

    crops: number of square crops of each file, all in one split; None for one centre crop.

    Files are opened only when their images are taken, so a wrong number fails at once and a small subset is cheap.
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

    @property
    def folder(self) -> Path:
        return self._folder

    @property
    def files(self) -> int:
        """Number of files in all splits."""
        return sum(map(len, self._names.values()))

    def without(self, left_out: Collection[str]) -> None:
        """Leave files out of their splits; the order of the others does not change."""
        for part, names in self._names.items():
            self._names[part] = [name for name in names if name not in left_out]

    def verify(self) -> None:
        """Checks nothing: a damaged file is only noticed when it is decoded."""

    def count(self, split: str) -> int:
        return len(self._names[split]) * (self._crops or 1)

    def take(self, split: str, count: int, size: int) -> Tensor:
        """Image i is a crop of file i modulo the number of files: the first crops of all files come first.

        Raises UnreadableFiles, which names every file that does not decode.
        """
        images = torch.empty((count, 3, size, size), dtype=torch.uint8)
        damaged: dict[str, TrialError] = {}
        for places, squares in self._by_file(split, 0, count, size, threads=4):
            for place, pixels in zip(places, squares, strict=True):
                if isinstance(pixels, TrialError):
                    damaged[self._names[split][place % len(self._names[split])]] = pixels
                else:
                    images[place] = torch.from_numpy(pixels).permute(2, 0, 1)
        if damaged:
            raise UnreadableFiles(self, damaged)
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
        """The name of each file's folder, without a leading number: Laysan Albatross for `001.Laysan_Albatross`."""
        return [self._class(name) for name in self.names(split, start, stop)]

    def objects(self, split: str, count: int, size: int) -> Tensor:
        """The object masks, cropped and resized like the images."""
        object_nhw = torch.empty((count, size, size), dtype=torch.uint8)
        for index, name in enumerate(self.names(split, 0, count)):
            pixels = square(self.object_of(name), size)[..., 0]
            object_nhw[index] = torch.from_numpy(pixels >= 128)
        return object_nhw

    def object_of(self, name: str) -> Image.Image:
        """The object mask of an image, white on black. Raises TrialError if the data set has none."""
        raise no_objects_error(self.what)

    def _class(self, name: str) -> str:
        folder, _, _ = name.rpartition("/")
        if not folder:
            raise TrialError(
                f"data.captions.template with the image {name!r}",
                f"it is not in a class folder below {self._folder}, so its class is unknown",
                "images in one folder for each class, or a captions file",
                "captions: {file: captions.txt}, with image name, tab, caption in each line",
                "data.captions",
            )
        return re.sub(r"^\d+\.", "", folder.rpartition("/")[2]).replace("_", " ")

    def _by_file(
        self, split: str, start: int, stop: int, size: int, threads: int
    ) -> Iterator[tuple[Sequence[int], Sequence[Pixels | TrialError]]]:
        """The images of each file in turn, with their indices in the split; each file is decoded once."""
        files = self._names[split]
        places = [range(first, stop, len(files)) for first in range(start, min(stop, start + len(files)))]

        def squares(some: range) -> Sequence[Pixels | TrialError]:
            return self._squares(files[some[0] % len(files)], [place // len(files) for place in some], size)

        with ThreadPoolExecutor(max_workers=threads) as pool:  # Pillow decodes and resizes outside the interpreter lock
            yield from zip(places, _ahead(pool, squares, places, 4 * threads), strict=True)

    def _squares(self, name: str, numbers: Sequence[int], size: int) -> Sequence[Pixels | TrialError]:
        """The crops of a file with these numbers, or its centre crop."""
        try:
            image = open_image(self._folder / name, "data.path")
        except TrialError as error:
            return [error] * len(numbers)
        if self._crops is None:
            return [square(image, size)]
        return list(_crops(image.convert("RGB"), numbers, size, hashed(f"crops {name}")))


class FolderSource(ImageFileSource):
    """The images below a folder, split 80/10/10 by a hash of their names, or by a CSV file; or all to test on."""

    def __init__(
        self, path: str, split: str | None, crops: int | None, root: Path | None, test_alone: bool = False
    ) -> None:
        folder, split_of = folder_splits(path, split, root, test_alone)
        super().__init__(f"the folder {path}", folder, split_of, crops)

    def verify(self) -> None:
        """Raise TrialError if too many files are no images, judged by their first bytes."""
        names = [name for part in SPLITS for name in self._names[part]]
        check_left_out(unreadable(self._folder, names), len(names), self._folder, "data.path")


def _ahead(pool: ThreadPoolExecutor, function: Callable[[_T], _R], items: Sequence[_T], waiting: int) -> Iterator[_R]:
    """Like `pool.map`, but with at most `waiting` pending results, to limit memory."""
    futures: deque[Future[_R]] = deque()
    for item in items:
        futures.append(pool.submit(function, item))
        if len(futures) > waiting:
            yield futures.popleft().result()
    while futures:
        yield futures.popleft().result()


def square(image: Image.Image, size: int) -> Pixels:
    """(size, size, 3): the short side resized to `size`, then a centre crop; transparency is dropped."""
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)  # antialiased when it shrinks
    return np.array(resized.crop((left, top, left + size, top + size)))


def _crops(image: Image.Image, numbers: Sequence[int], size: int, seed: int) -> Iterator[Pixels]:
    """Square crops at random places, resized to (size, size, 3); a crop depends on its number alone.

    The logarithm of the side is uniform between `size` and the image's short side.
    """
    shortest = min(image.size)
    uniform = np.random.default_rng(seed).random((max(numbers) + 1, 3))[list(numbers)]
    sides = np.exp(np.log(shortest) + uniform[:, 0] * np.log(min(size, shortest) / shortest))
    sides = np.minimum(sides, shortest)  # exp(log(n)) can be a little more than n
    for side, x, y in zip(sides, uniform[:, 1], uniform[:, 2], strict=True):
        left, top = x * (image.width - side), y * (image.height - side)
        box = (left, top, min(left + side, image.width), min(top + side, image.height))
        yield np.array(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
