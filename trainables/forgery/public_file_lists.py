"""Lists the images and masks of a public set with their classes and source photographs, without opening images.

`trainables.forgery.public_datasets` describes the layouts and their references.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.data.image_files import SUFFIXES, image_files
from trainables.data.listing import data_files
from trainables.data.splits import SPLITS, hashed, split_by_hash
from trainables.data.text_files import read_text
from trainables.errors import TrialError
from trainables.forgery.config import SetConfig

CASIA = re.compile(r"Tp_[DS]_.*_(?P<part>[a-z]{3}\d{5})_(?P<into>[a-z]{3}\d{5})_\d+$")
COCO = re.compile(r"\d{12}")
_CORNERS = ("x1", "y1", "x2", "y2")


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
    any_size: bool = False
    """Whether the published mask may differ in size from the image."""


def folder(path: Path, authentic: Path | None) -> list[ListedImage]:  # noqa: ARG001 - all layouts have this signature
    """images/, masks/ and labels.csv."""
    file = path / "labels.csv"
    if not file.is_file():
        raise _missing(path, "labels.csv", "images/, masks/ and labels.csv with the columns file and label")
    masks = _by_stem(path / "masks")
    reader = csv.DictReader(io.StringIO(read_text(file, "set.path"), newline=""))
    if not {"file", "label"} <= set(reader.fieldnames or ()):
        raise _line(file, 1, f"the columns are {', '.join(reader.fieldnames or ()) or 'missing'}")
    rows = [(reader.line_num, _row(path, row, masks, file, reader.line_num)) for row in reader]
    _check_unique(path, file, rows)
    return [entry for _, entry in rows]


def _check_unique(path: Path, file: Path, rows: Sequence[tuple[int, ListedImage]]) -> None:
    """Raise TrialError for a file or a stem that is listed twice, and for a source in two splits.

    rows: the images with their lines.
    """
    of_file: dict[Path, tuple[int, ListedImage]] = {}
    of_stem: dict[str, tuple[int, ListedImage]] = {}
    of_source: dict[str, tuple[int, ListedImage]] = {}
    for line, entry in rows:
        name = entry.image.relative_to(path / "images").as_posix()
        if entry.image in of_file:
            first, before = of_file[entry.image]
            labels = (
                "" if before.label == entry.label else f", with the label {before.label} there and {entry.label} here"
            )
            raise _line(file, line, f"{name} is listed twice: first in line {first}{labels}")
        if entry.image.stem in of_stem:
            first, before = of_stem[entry.image.stem]
            other = before.image.relative_to(path / "images").as_posix()
            why = f"{name} and {other} (line {first}) have the same stem, by which masks are found"
            raise _line(file, line, why)
        first, before = of_source.setdefault(entry.source, (line, entry))
        if before.split != entry.split:
            splits = " and ".join(one.split or "no split (by hash)" for one in (before, entry))
            why = f"images of the source {entry.source!r} are in two splits: {splits} (lines {first} and {line})"
            raise _line(file, line, why)
        of_file[entry.image] = of_stem[entry.image.stem] = line, entry


def _row(path: Path, row: dict[str, Any], masks: dict[str, str], file: Path, line: int) -> ListedImage:
    name, label, split = row["file"], row["label"], row.get("split") or ""
    if not name or label not in ("0", "1"):
        raise _line(file, line, f"the label of {name!r} is {label!r}")
    if split and split not in SPLITS:
        raise _line(file, line, f"{split!r} is not a split")
    sides = [row.get(side) or "" for side in _CORNERS]
    if any(sides) and not all(sides):
        given = ", ".join(side for side, value in zip(_CORNERS, sides, strict=True) if value)
        raise _line(file, line, f"{name} has only a part of a box: {given}")
    try:
        box = tuple(float(side) for side in sides) if all(sides) else None
    except ValueError as error:
        raise _line(file, line, f"the box {' '.join(sides)} is not valid: {error}") from error
    stem, fake = Path(name).stem, label == "1"
    mask = path / "masks" / masks[stem] if fake and stem in masks else None
    if fake and mask is None and box is None:
        raise _line(file, line, f"{name} has neither a mask in masks/ nor a box")
    source = row.get("source") or stem
    return ListedImage(_below(path / "images", name), mask, int(fake), source, row.get("inpainter") or "", split, box)


def casia(path: Path, authentic: Path | None) -> list[ListedImage]:  # noqa: ARG001
    """Au/, Tp/ and `CASIA 2 Groundtruth`/."""
    parts = {part: path / part for part in ("Au", "Tp", "CASIA 2 Groundtruth")}
    for part, place in parts.items():
        if not place.is_dir():
            raise _missing(path, part, "the folders Au, Tp and CASIA 2 Groundtruth")
    reals = [
        ListedImage(parts["Au"] / name, None, 0, Path(name).stem.removeprefix("Au_").replace("_", ""))
        for name in _names(parts["Au"])
    ]
    fakes = []
    for name in _names(parts["Tp"]):
        match = CASIA.match(Path(name).stem)
        source = match["into"] if match else Path(name).stem
        mask = parts["CASIA 2 Groundtruth"] / f"{Path(name).stem}_gt.png"
        fakes.append(ListedImage(parts["Tp"] / name, mask, 1, source, "casia"))
    return reals + fakes


def imd2020(path: Path, authentic: Path | None) -> list[ListedImage]:  # noqa: ARG001
    """One folder for each photograph, with its manipulated versions and their masks."""
    entries = []
    for name in image_files(path, "set.path"):
        file = path / name
        if file.stem.endswith("_mask"):
            continue
        if file.stem.endswith("_orig"):
            entries.append(ListedImage(file, None, 0, file.parent.name))
        else:
            entries.append(ListedImage(file, file.with_name(f"{file.stem}_mask.png"), 1, file.parent.name, "imd2020"))
    return entries


def defacto(path: Path, authentic: Path | None) -> list[ListedImage]:
    """*_img/img/ and *_annotations/probe_mask/, in this folder or below it."""
    folders = {file.parent for file in data_files(path)}
    places = sorted(place for place in folders if place.name == "img" and place.parent.name.endswith("_img"))
    if not places:
        raise _missing(path, "inpainting_img/img", "folders such as inpainting_img and inpainting_annotations")
    fakes = []
    for place in places:
        kind = place.parent.name.removesuffix("_img")
        masks = place.parent.parent / f"{kind}_annotations" / "probe_mask"
        of_stem = {Path(name).stem: masks / name for name in _names(masks)}
        for name in _names(place):
            stem = Path(name).stem
            mask = of_stem.get(stem, masks / f"{stem}.jpg")
            fakes.append(ListedImage(place / name, mask, 1, _coco(stem), f"defacto_{kind}", any_size=True))
    reals = [] if authentic is None else image_files(authentic, "set.authentic")
    return fakes + [ListedImage(Path(authentic or "") / name, None, 0, _coco(Path(name).stem)) for name in reals]


def coco_inpaint(path: Path, authentic: Path | None) -> list[ListedImage]:  # noqa: ARG001
    """Lists of [image, mask or Negative] in JSON files."""
    files = [file for file in data_files(path, deep=False) if file.suffix == ".json"]
    if not files:
        raise _missing(path, "*.json", "JSON files with lists of [image, mask]; Negative is the mask of a photograph")
    entries = []
    for file in files:
        try:
            pairs = json.loads(read_text(file, "set.path"))
            for image, mask in pairs:
                fake, place = mask != "Negative", Path(image)
                model = place.parent.name if fake else ""
                mask_file = _below(path, mask) if fake else None
                entries.append(ListedImage(_below(path, image), mask_file, int(fake), _coco(place.stem), model))
        except TrialError:
            raise
        except (ValueError, TypeError, RecursionError) as error:
            raise _line(file, 1, f"it is not a list of [image, mask]: {error}") from error
    return entries


LISTINGS: dict[str, Callable[[Path, Path | None], list[ListedImage]]] = {
    "folder": folder,
    "casia": casia,
    "imd2020": imd2020,
    "defacto": defacto,
    "coco_inpaint": coco_inpaint,
}


def chosen_images(listed: Sequence[ListedImage], split: str, count: int | None, folder: Path) -> list[ListedImage]:
    """The first `count` images of a split, grouped by source.

    Raises TrialError if it has too few images, or images of one class only.
    """
    entries = [entry for entry in listed if (entry.split or split_by_hash(entry.source)) == split]
    entries = _first(entries, count, f"the {split} split of the set", f"set.{split}")
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
    """The first `count` images, grouped by source. Raises TrialError if there are fewer."""
    if count is not None and count > len(entries):
        raise set_error(f"{key}: {count}", f"{what} has {len(entries):,} images", f"1 to {len(entries)}, or null", key)
    key_of = lambda entry: (hashed(entry.source), entry.source, entry.label, entry.image.name)  # noqa: E731
    return sorted(entries, key=key_of)[:count]


def set_error(given: str, why: str, allowed: str, key: str, fix: str = "") -> TrialError:
    """The error for a public set. fix: what to do; by default, change `key`."""
    return TrialError(given, why, allowed, fix or f"change `{key}`", key)


def _names(place: Path) -> list[str]:
    """Names of the images directly in a folder, sorted; empty if there is no such folder."""
    return [file.name for file in data_files(place, deep=False) if file.suffix.lower() in SUFFIXES]


def _by_stem(place: Path) -> dict[str, str]:
    """The names of masks by their stems. Raises TrialError for two masks with one stem."""
    found: dict[str, str] = {}
    for name in _names(place):
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


def _below(path: Path, name: str) -> Path:
    """The path of a listed file. Raises TrialError if it is outside the set's folder."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise set_error(
            f"set.path: {path}, file {name}", "it is outside the set's folder", "names below the folder", "set.path"
        )
    return path / name


def _coco(stem: str) -> str:
    """The 12-digit MS-COCO number in a name; the whole name if there is none."""
    match = COCO.search(stem)
    return match[0] if match else stem


def _missing(path: Path, what: str, allowed: str) -> TrialError:
    fix = "set `set.path` to the folder that contains them"
    return set_error(f"set.path: {path}", f"it has no {what}", allowed, "set.path", fix)


def _line(file: Path, line: int, why: str) -> TrialError:
    allowed = "file, label (0 or 1) and optionally source, split, inpainter, x1, y1, x2, y2"
    if file.suffix == ".json":
        allowed = '[["image.png", "mask.png"], ["photograph.jpg", "Negative"]]'
    return set_error(f"set.path: {file}, line {line}", why, allowed, "set.path", "correct this line")
