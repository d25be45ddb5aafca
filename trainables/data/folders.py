"""A folder of images of any size, split by their names."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trainables.data.files import below, image_files, open_image
from trainables.data.splits import SPLITS, Pixels, hashed, no_objects
from trainables.errors import TrialError


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
        files = self._names[split][:count]
        images = torch.empty((count, 3, size, size), dtype=torch.uint8)
        with ThreadPoolExecutor(max_workers=4) as pool:  # Pillow decodes and resizes outside the interpreter lock
            wanted = [len(range(i, count, len(files))) for i in range(len(files))]
            for index, squares in enumerate(
                pool.map(lambda i: self._squares(files[i], wanted[i], size), range(len(files)))
            ):
                images[index :: len(files)] = torch.from_numpy(squares).permute(0, 3, 1, 2)
        return images

    def names(self, split: str, start: int, stop: int) -> list[str]:
        files = self._names[split]
        return [files[index % len(files)] for index in range(start, stop)]

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

    def _squares(self, name: str, count: int, size: int) -> Pixels:
        """(count, size, size, 3)."""
        image = open_image(self._folder / name, "data.path")
        if self._crops is None:
            return _square(image, size)[None]
        return _crops(image.convert("RGB"), count, size, hashed(f"crops {name}"))


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


def _crops(image: Image.Image, count: int, size: int, seed: int) -> Pixels:
    """(count, size, size, 3): squares anywhere in the image, resized to `size`; each is the same for any count.

    The logarithm of their side is uniform between `size` and the short side: from details to the whole.
    """
    shortest = min(image.size)
    uniform = np.random.default_rng(seed).random((count, 3))
    sides = np.exp(np.log(shortest) + uniform[:, 0] * np.log(min(size, shortest) / shortest))
    squares = np.empty((count, size, size, 3), dtype=np.uint8)
    for index, (side, x, y) in enumerate(zip(sides, uniform[:, 1], uniform[:, 2], strict=True)):
        left, top = x * (image.width - side), y * (image.height - side)
        box = (left, top, min(left + side, image.width), min(top + side, image.height))
        squares[index] = np.array(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
    return squares
