"""Detections of whole images: one number for each photograph, in a CSV file, with which the labels are compared.

image,score                  image,label
a.png,0.93                   a.png,1        1 or manipulated; 0 or authentic
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np

from trainables.data.image_files import SUFFIXES
from trainables.data.text_files import read_text
from trainables.errors import TrialError
from trainables.protocols.detections import manipulated
from trainables.protocols.fills import check_names
from trainables.protocols.masked_images import Checksum, names_and_files

LABELS = {"0": False, "authentic": False, "1": True, "manipulated": True}
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
T = TypeVar("T")


def read_scores(file: Path, labels: Mapping[str, bool]) -> list[float]:
    """The scores of a file, in the order of the labels. Raises TrialError for another file, and for other images."""

    def number(text: str) -> float:
        value = float(text) if _NUMBER.fullmatch(text) else math.nan
        if not math.isfinite(value):
            raise ValueError(text)
        return value

    found = _column(file, "scores", "score", number, "a finite number; higher is more likely manipulated")
    fix = "one line for each photograph of --truth, with its name; the ending of the file may be left out"
    check_names(f"scores {file}", {name: name for name in found}, list(labels), fix)
    return [found[name] for name in labels]


def read_labels(truth: Path) -> dict[str, bool]:
    """Whether each photograph is manipulated, sorted by name: from a CSV file, or from a folder of true masks, where a
    photograph with a white pixel is. Raises TrialError for another file, and if all photographs are alike."""
    if truth.is_dir():
        files = names_and_files(truth)
        found = {name: bool(manipulated(truth / file).any()) for name, file in files.items()}
    else:
        found = _column(truth, "--truth", "label", LABELS.__getitem__, ", ".join(LABELS))
    if len(set(found.values())) < 2:
        kind = "manipulated" if any(found.values()) else "authentic"
        raise TrialError(
            f"--truth {truth}",
            f"all of its {len(found):,} photographs are {kind}, and the metrics compare the two kinds",
            "photographs of both kinds",
            "name a CSV file `image,label` of all photographs, or a folder of masks that has black ones",
        )
    return dict(sorted(found.items()))


def checksums(labels: Mapping[str, bool]) -> tuple[str, str]:
    """Checksums of the names and of the labels."""
    names, kinds = Checksum(), Checksum()
    for name, label in labels.items():
        names.add(name, np.empty(0, np.uint8))
        kinds.add(name, np.array([label]))
    return names.value, kinds.value


def _column(file: Path, given: str, column: str, parse: Callable[[str], T], allowed: str) -> dict[str, T]:
    """A column of a CSV file by the name of the image."""
    rows = csv.DictReader(io.StringIO(read_text(file, given)), skipinitialspace=True, strict=True)
    found: dict[str, T] = {}
    header = f"a CSV file with the columns image,{column}"
    try:
        if not {"image", column} <= {*(rows.fieldnames or ())}:
            first = ",".join(rows.fieldnames or ())[:100]
            raise TrialError(f"{given} {file}", f"its first line is {first!r}", header, f"begin it with image,{column}")
        _check_columns(rows.fieldnames or (), f"{given} {file}", column, header)
        for row in rows:
            line, name, text = rows.line_num, _name(row["image"] or ""), (row[column] or "").strip()
            place = f"{given} {file}, line {line}"
            if None in row:
                why = f"it has {len(row[None]) + 2} values"
                raise TrialError(place, why, f"two: image,{column}", "quote names with commas, and use decimal points")
            if not name or name in found:
                why = f"{name!r} is there twice" if name else "it has no name of an image"
                raise TrialError(place, why, "one line for each photograph", "remove the line, or correct the name")
            try:
                found[name] = parse(text)
            except (ValueError, KeyError):
                why = f"{column} {text!r} is not allowed"
                raise TrialError(place, why, allowed, "correct the line: every photograph has a value") from None
    except csv.Error as error:
        why = f"it is no CSV: {error}"
        raise TrialError(f"{given} {file}, line {rows.line_num}", why, header, "quote names with commas") from None
    if not found:
        raise TrialError(f"{given} {file}", "it has no line below its first one", header, "write one for each image")
    return found


def _check_columns(names: Sequence[str], place: str, column: str, allowed: str) -> None:
    """Raise TrialError for a column that is there twice, and for further ones, which could be what was meant."""
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        fix = f"leave one of the columns {twice[0]} out"
        raise TrialError(place, f"its first line names {twice[0][:100]!r} twice", allowed, fix)
    further = [name for name in names if name not in ("image", column)]
    if further:
        shown = ", ".join(map(repr, further))[:100]
        raise TrialError(place, f"it has further columns: {shown}", allowed, "leave them out: none of them is used")


def _name(written: str) -> str:
    path = PurePosixPath(written.strip())
    return (path.with_suffix("") if path.suffix.lower() in SUFFIXES else path).as_posix() if written.strip() else ""
