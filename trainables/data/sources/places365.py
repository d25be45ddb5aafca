"""The validation images of Places365 at 256 px: `val_256/` and `places365_val.txt`.

`categories_places365.txt` of the same archive is read as well if captions contain the names of the scenes.

Source: B. Zhou et al. 2017, "Places: A 10 Million Image Database for Scene Recognition". The layout is that of
torchvision's `Places365(split="val", small=True)`, which downloads the files; they are read here.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from trainables.data.sources.cifar import one_process_at_a_time
from trainables.data.sources.folders import ImageFileSource
from trainables.data.splits import hashed, split_by_hash
from trainables.errors import TrialError

NAME = "places365_val"
IMAGES, LISTED, SCENES = "val_256", "places365_val.txt", "categories_places365.txt"
PUBLISHED = 36_500
"""Number of images: 100 for each of 365 scenes, as in 000_0d9f1f22a9376145."""
PARTS = {"train": 25_000, "val": 5_000, "test": 6_500}
"""Sizes of the splits in document 000; a hash of the names decides which image is in which split."""


class PlacesSource(ImageFileSource):
    """All 36,500 images are split as in document 000; fewer images 80/10/10 by a hash of their names."""

    def __init__(self, root: Path | None) -> None:
        root = _downloaded() if root is None else root
        self._scene_of = _rows(root / LISTED)
        if not (root / IMAGES).is_dir():
            raise _error(root / IMAGES, "there is no such folder")
        super().__init__(NAME, root / IMAGES, _parted(list(self._scene_of)))

    def verify(self) -> None:
        """Raise TrialError if a listed image is missing; a damaged one is only noticed when it is decoded."""
        there = {path.name for path in self._folder.iterdir()}
        missing = [name for name in self._scene_of if name not in there]
        if missing:
            more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
            raise _error(self._folder / missing[0], f"it is listed, but missing in the folder{more}")

    def _class(self, name: str) -> str:
        """E.g. "apartment building outdoor" for an image of scene 8 with `/a/apartment_building/outdoor 8`."""
        return self._scenes[self._scene_of[name]]

    @cached_property
    def _scenes(self) -> dict[str, str]:
        """The scene names by their numbers in the list. Raises TrialError if a number has no name."""
        file = self._folder.parent / SCENES
        words = {number: re.sub("[/_]", " ", path.partition("/")[2]) for path, number in _rows(file).items()}
        unnamed = sorted(set(self._scene_of.values()) - words.keys())
        if unnamed:
            raise _error(file, f"it has no name for the scene {unnamed[0]!r} of {LISTED}")
        return words


def _rows(file: Path) -> dict[str, str]:
    """The two words of each line, such as `Places365_val_00000001.jpg 165`."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _error(file, f"it cannot be read: {getattr(error, 'strerror', error)}") from error
    rows = {first.lstrip("/"): after.strip() for first, _, after in (line.strip().partition(" ") for line in lines)}
    rows.pop("", None)
    if not rows:
        raise _error(file, "it is empty")
    return rows


def _parted(names: list[str]) -> dict[str, str]:
    if len(names) != PUBLISHED:
        return {name: split_by_hash(name) for name in names}
    splits = [split for split, count in PARTS.items() for _ in range(count)]
    return dict(zip(sorted(names, key=lambda name: (hashed(f"split {name}"), name)), splits, strict=True))


def _downloaded() -> Path:
    """The user's cache, into which torchvision downloads the images the first time: 500 MB."""
    root = Path.home() / ".cache" / "inpaint-sweeps"
    try:
        with one_process_at_a_time(root):
            if not ((root / IMAGES).is_dir() and (root / LISTED).is_file()):
                import torchvision.datasets  # takes six seconds, because it loads torch's compiler

                torchvision.datasets.Places365(str(root), split="val", small=True, download=True)
    except (OSError, RuntimeError) as error:  # torchvision raises RuntimeError for a wrong md5
        raise _error(root / IMAGES, f"the download failed: {error}") from error
    return root


def _error(file: Path, why: str) -> TrialError:
    root = file.parent if file.name in (IMAGES, LISTED, SCENES) else file.parent.parent
    return TrialError(
        f"{NAME}, {file}",
        why,
        f"the published folder {IMAGES} and the lists {LISTED} and {SCENES} in the data root",
        "unpack val_256.tar and filelist_places365-standard.tar of http://data.csail.mit.edu/places/places365/ in "
        f"{root}, or set SWEEPS_DATA to the data root that holds them",
    )
