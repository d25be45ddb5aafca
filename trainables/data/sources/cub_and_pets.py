"""CUB-200-2011 and Oxford-IIIT Pet in their published form, with the class and object outline of each image.

Sources: Wah et al. 2011, "The Caltech-UCSD Birds-200-2011 Dataset": 11,788 birds of 200 species, 5,994 for training.
Parkhi et al. 2012, "Cats and Dogs": 7,349 pets of 37 breeds, 3,680 for training and validation. A tenth of the training
images, chosen by a hash of their names, is the validation split. Both are read from the data root; without one,
torchvision downloads the pets.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainables.data.image_files import open_image, path_below
from trainables.data.sources.cifar import one_process_at_a_time
from trainables.data.sources.folders import ImageFileSource
from trainables.data.splits import hashed
from trainables.errors import TrialError

CUB, PETS = "CUB_200_2011", "oxford-iiit-pet"


class BirdsSource(ImageFileSource):
    """CUB-200-2011: `images.txt`, `train_test_split.txt`, `images/`, and `segmentations/` in it or next to it."""

    def __init__(self, root: Path | None) -> None:
        folder = path_below(root, CUB, "data.name: cub200, folder")
        names = _rows(folder / "images.txt", 2, "cub200")
        trains = {number for number, flag in _rows(folder / "train_test_split.txt", 2, "cub200") if flag == "1"}
        split_of = {name: _split(name) if number in trains else "test" for number, name in names}
        super().__init__("cub200", folder / "images", split_of)
        inside = folder / "segmentations"
        self._outlines = inside if inside.is_dir() else folder.parent / "segmentations"

    def object_of(self, name: str) -> Image.Image:
        """The pixels that at least half of the annotators marked as bird."""
        grey = np.array(open_image((self._outlines / name).with_suffix(".png"), "mask.name: object").convert("L"))
        return _black_and_white(grey >= 128)


class PetsSource(ImageFileSource):
    """Oxford-IIIT Pet: `images/`, `annotations/trainval.txt`, `annotations/test.txt`, `annotations/trimaps/`."""

    def __init__(self, root: Path | None) -> None:
        folder = path_below(root, PETS, "data.name: oxford_pets, folder") if root else _downloaded()
        lists = {part: _rows(folder / "annotations" / f"{part}.txt", 4, "oxford_pets") for part in ("trainval", "test")}
        split_of = {f"{row[0]}.jpg": _split(row[0]) for row in lists["trainval"]}
        split_of |= {f"{row[0]}.jpg": "test" for row in lists["test"]}
        super().__init__("oxford_pets", folder / "images", split_of)
        self._outlines = folder / "annotations" / "trimaps"

    def object_of(self, name: str) -> Image.Image:
        """The animal with its outline: all pixels except background, which is 2 in the trimap."""
        trimap = np.array(open_image((self._outlines / name).with_suffix(".png"), "mask.name: object").convert("L"))
        return _black_and_white(trimap != 2)

    def _class(self, name: str) -> str:
        """E.g. "english cocker spaniel" for `english_cocker_spaniel_12.jpg`."""
        return re.sub(r"_\d+\.jpg$", "", name).replace("_", " ")


def _split(name: str) -> str:
    return "val" if hashed(f"split {name}") * 10 >> 64 == 9 else "train"


def _black_and_white(object_hw: np.ndarray[Any, np.dtype[np.bool_]]) -> Image.Image:
    return Image.fromarray((object_hw * 255).astype(np.uint8))


def _rows(file: Path, columns: int, name: str) -> list[list[str]]:
    """The words of each line; lines that begin with # are ignored. Raises TrialError for a wrong number of words."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _error(file, f"it cannot be read: {error}", name) from error
    rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    wrong = next((number for number, row in enumerate(rows, 1) if len(row) != columns), None)
    if wrong is not None or not rows:
        raise _error(file, f"entry {wrong} does not have {columns} words" if wrong else "it is empty", name)
    return rows


def _error(file: Path, why: str, name: str) -> TrialError:
    return TrialError(
        f"data.name: {name}, {file}",
        why,
        f"the published folder {CUB if name == 'cub200' else PETS} in the data root",
        "unpack the published archives there, or choose another data set: --set data.name=cifar10",
        "data.name",
    )


def _downloaded() -> Path:
    """The folder in the user's cache, into which torchvision downloads the pets the first time."""
    cache = Path.home() / ".cache" / "inpaint-sweeps"
    if not (cache / PETS / "annotations" / "trainval.txt").is_file():
        try:
            with one_process_at_a_time(cache):
                import torchvision.datasets  # takes six seconds, because it loads torch's compiler

                torchvision.datasets.OxfordIIITPet(str(cache), download=True)
        except (OSError, RuntimeError) as error:
            raise _error(cache / PETS, f"the download failed: {error}", "oxford_pets") from error
    return cache / PETS
