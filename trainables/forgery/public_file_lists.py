"""The images and masks of a public set with their classes and source photographs, listed without opening images.

`trainables.forgery.layouts` has a module for each published layout.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainables.data.image_files import SUFFIXES
from trainables.data.listing import data_files
from trainables.data.splits import hashed, split_by_hash
from trainables.errors import TrialError
from trainables.forgery import layouts
from trainables.forgery.config import SetConfig

COCO = re.compile(r"\d{12}")


@dataclass(frozen=True)
class ListedImage:
    """An image of a set."""

    image: Path
    mask: Path | None
    label: int
    """1 if the image is manipulated, else 0."""
    source: str
    """The photograph that the image was made from."""
    inpainter: str = ""
    split: str = ""
    """'' for a split by a hash of the source."""
    box: tuple[float, ...] | None = None
    """x1 y1 x2 y2 in px, half-open."""
    manipulated: Literal["white", "black", "green"] = "white"
    """The colour of manipulated pixels in the mask; green: pixels that are more green than red."""
    any_size: bool = False
    """Whether the published mask may differ in size from the image."""


def listing(layout: str) -> Callable[[Path, Path | None], list[ListedImage]]:
    """The function that lists the images of a layout below a folder; the second one has authentic photographs."""
    found: Callable[[Path, Path | None], list[ListedImage]]
    found = importlib.import_module(f"{layouts.__name__}.{layout}").images
    return found


def chosen_images(listed: Sequence[ListedImage], split: str, count: int | None, folder: Path) -> list[ListedImage]:
    """The first `count` images of a split, grouped by source.

    Raises TrialError if it has too few images, or images of one class only.
    """
    entries = [entry for entry in listed if (entry.split or split_by_hash(entry.source)) == split]
    entries = _first(entries, count, f"the {split} split of the set", f"set.{split}")
    if not entries:
        raise set_error(
            f"set.path: {folder}",
            f"none of its {len(listed):,} images is in the {split} split",
            "images in each of train, val and test: by default 80/10/10, by a hash of their photographs",
            "set.path",
            "use a larger set, name the splits in labels.csv (layout `folder`), or test on the set under `test_sets`",
        )
    for label, what in ((1, "manipulated image"), (0, "photograph")):
        if not any(entry.label == label for entry in entries):
            raise set_error(
                f"set.path: {folder}, the {split} split",
                f"it has no {what} among {len(entries):,} images: one class only",
                "images of both classes in each of train, val and test",
                "set.path",
                f"add such images (for defacto: `authentic: FOLDER` of MS-COCO), or increase `set.{split}`",
            )
    return entries


def test_images(listed: Sequence[ListedImage], section: SetConfig, folder: Path) -> list[ListedImage]:
    """The images of a set that is only tested on, grouped by source; they may be of one class.

    Raises TrialError if it has too few images, or none.
    """
    whole = section.use == "all"
    entries = [entry for entry in listed if whole or (entry.split or split_by_hash(entry.source)) == "test"]
    entries = _first(entries, section.test, "the set" if whole else "the test split of the set", "set.test")
    if not entries:
        raise set_error(
            f"set.path: {folder}",
            "it has no images" if whole else "none of its images is in the test split",
            "at least one image to test on",
            "set.use",
            "add images" if whole else "set `use: all` to test on all of its images",
        )
    return entries


def _first(entries: list[ListedImage], count: int | None, what: str, key: str) -> list[ListedImage]:
    """The first `count` images, grouped by source. Raises TrialError if there are fewer, or one with two meanings."""
    entries = _once(entries)
    if count is not None and count > len(entries):
        raise set_error(f"{key}: {count}", f"{what} has {len(entries):,} images", f"1 to {len(entries)}, or null", key)
    key_of = lambda entry: (hashed(entry.source), entry.source, entry.label, entry.image.name)  # noqa: E731
    return sorted(entries, key=key_of)[:count]


def _once(entries: Sequence[ListedImage]) -> list[ListedImage]:
    """Images without repetitions, which lists of several models have. Raises TrialError if two lists contradict."""
    found: dict[Path, ListedImage] = {}
    for entry in entries:
        other = found.setdefault(entry.image, entry)
        if (other.label, other.mask) != (entry.label, entry.mask):
            said = " and ".join(f"mask {one.mask.name}" if one.mask else f"label {one.label}" for one in (other, entry))
            raise set_error(
                f"set.path: {entry.image}",
                f"it is listed twice, with {said}",
                "one label and one mask for each image",
                "set.path",
                "correct the lists of the set",
            )
    return list(found.values())


def set_error(given: str, why: str, allowed: str, key: str, fix: str = "") -> TrialError:
    """The error for a public set. fix: what to do; by default, change `key`."""
    return TrialError(given, why, allowed, fix or f"change `{key}`", key)


def names_in(place: Path) -> list[str]:
    """Names of the images directly in a folder, sorted; empty if there is no such folder."""
    return [file.name for file in data_files(place, deep=False) if file.suffix.lower() in SUFFIXES]


def by_stem(place: Path) -> dict[str, str]:
    """The names of masks by their stems. Raises TrialError for two masks with one stem."""
    found: dict[str, str] = {}
    for name in names_in(place):
        other = found.setdefault(Path(name).stem, name)
        if other != name:
            raise set_error(
                f"set.path: {place}",
                f"{other} and {name} have the same stem, so one image has two masks",
                "one mask for each manipulated image, with the image's name and any ending",
                "set.path",
                "remove one of the two",
            )
    return found


def file_below(path: Path, name: str) -> Path:
    """The path of a listed file. Raises TrialError if it is outside the set's folder."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise set_error(
            f"set.path: {path}, file {name}", "it is outside the set's folder", "names below the folder", "set.path"
        )
    return path / name


def coco_number(stem: str) -> str:
    """The 12-digit MS-COCO number in a name; the whole name if there is none."""
    match = COCO.search(stem)
    return match[0] if match else stem


def folders(path: Path, *parts: str) -> list[Path]:
    """The folders `parts` of a set. Raises TrialError for the first one that is missing."""
    for part in parts:
        if not (path / part).is_dir():
            raise missing_error(path, part, f"the folders {', '.join(parts)}")
    return [path / part for part in parts]


def missing_error(path: Path, what: str, allowed: str) -> TrialError:
    fix = "set `set.path` to the folder that contains them"
    return set_error(f"set.path: {path}", f"it has no {what}", allowed, "set.path", fix)


def line_error(file: Path, line: int, why: str) -> TrialError:
    allowed = "file, label (0 or 1) and optionally source, split, inpainter, x1, y1, x2, y2"
    if file.suffix == ".json":
        allowed = '[["image.png", "mask.png"], ["photograph.jpg", "Negative"]]'
    return set_error(f"set.path: {file}, line {line}", why, allowed, "set.path", "correct this line")
