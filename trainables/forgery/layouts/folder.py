"""The layout of this project: images/, masks/ (white = manipulated; a mask has its image's name) and labels.csv.

labels.csv has the columns `file`, `label` (0 or 1) and optionally `source` (photograph), `split`, `inpainter`, `x1`,
`y1`, `x2`, `y2` (px, half-open).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainables.data.splits import SPLITS
from trainables.data.text_files import read_text
from trainables.forgery.public_file_lists import ListedImage, by_stem, file_below, line_error, missing_error

_CORNERS = ("x1", "y1", "x2", "y2")


def images(path: Path, authentic: Path | None) -> list[ListedImage]:  # noqa: ARG001 - all layouts have this signature
    """images/, masks/ and labels.csv."""
    file = path / "labels.csv"
    if not file.is_file():
        raise missing_error(path, "labels.csv", "images/, masks/ and labels.csv with the columns file and label")
    masks = by_stem(path / "masks")
    reader = csv.DictReader(io.StringIO(read_text(file, "set.path"), newline=""))
    if not {"file", "label"} <= set(reader.fieldnames or ()):
        raise line_error(file, 1, f"the columns are {', '.join(reader.fieldnames or ()) or 'missing'}")
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
            raise line_error(file, line, f"{name} is listed twice: first in line {first}{labels}")
        if entry.image.stem in of_stem:
            first, before = of_stem[entry.image.stem]
            other = before.image.relative_to(path / "images").as_posix()
            why = f"{name} and {other} (line {first}) have the same stem, by which masks are found"
            raise line_error(file, line, why)
        first, before = of_source.setdefault(entry.source, (line, entry))
        if before.split != entry.split:
            splits = " and ".join(one.split or "no split (by hash)" for one in (before, entry))
            why = f"images of the source {entry.source!r} are in two splits: {splits} (lines {first} and {line})"
            raise line_error(file, line, why)
        of_file[entry.image] = of_stem[entry.image.stem] = line, entry


def _row(path: Path, row: dict[str, Any], masks: dict[str, str], file: Path, line: int) -> ListedImage:
    name, label, split = row["file"], row["label"], row.get("split") or ""
    if not name or label not in ("0", "1"):
        raise line_error(file, line, f"the label of {name!r} is {label!r}")
    if split and split not in SPLITS:
        raise line_error(file, line, f"{split!r} is not a split")
    sides = [row.get(side) or "" for side in _CORNERS]
    if any(sides) and not all(sides):
        given = ", ".join(side for side, value in zip(_CORNERS, sides, strict=True) if value)
        raise line_error(file, line, f"{name} has only a part of a box: {given}")
    try:
        box = tuple(float(side) for side in sides) if all(sides) else None
    except ValueError as error:
        raise line_error(file, line, f"the box {' '.join(sides)} is not valid: {error}") from error
    stem, fake = Path(name).stem, label == "1"
    mask = path / "masks" / masks[stem] if fake and stem in masks else None
    if fake and mask is None and box is None:
        raise line_error(file, line, f"{name} has neither a mask in masks/ nor a box")
    source = row.get("source") or stem
    return ListedImage(
        file_below(path / "images", name), mask, int(fake), source, row.get("inpainter") or "", split, box
    )
