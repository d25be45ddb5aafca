"""NIST16, the Nimble Challenge 2016 (H. Guan et al. 2019): NC2016_Test0613 with probe/, reference/ and world/.

The layout is that of NIST's reference files (usnistgov/MediScore) and of CAT-Net's lists: the file
reference/manipulation/NC2016-manipulation-ref.csv, separated by `|`, names images, their masks and the photographs that
they were made from, relative to the set's folder. Masks are **black** where an image was manipulated, as NIST's scorer
writes. Images with the same `BaseFileName` have one source.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from trainables.data.text_files import read_text
from trainables.forgery.public_file_lists import ListedImage, file_below, missing_error, set_error

REFERENCE = "reference/manipulation/NC2016-manipulation-ref.csv"
_COLUMNS = ("ProbeFileName", "ProbeMaskFileName", "IsTarget", "BaseFileName")
_KINDS = {
    "IsManipulationTypeRemoval": "removal",
    "IsManipulationTypeSplice": "splice",
    "IsManipulationTypeCopyClone": "copy_clone",
}


def images(path: Path, authentic: Path | None) -> list[ListedImage]:  # noqa: ARG001 - all layouts have this signature
    file = path / REFERENCE
    if not file.is_file():
        raise missing_error(path, REFERENCE, "NC2016_Test0613 with the folders probe and reference")
    rows = csv.DictReader(io.StringIO(read_text(file, "set.path"), newline=""), delimiter="|")
    missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise _row_error(file, 1, f"it has no column {missing[0]}")
    return [_image(path, file, row, rows.line_num) for row in rows]


def _image(path: Path, file: Path, row: Mapping[str, str | None], line: int) -> ListedImage:
    probe, mask, target, base = (row[name] or "" for name in _COLUMNS)
    if not probe or target not in ("Y", "N"):
        raise _row_error(file, line, f"the row names the image {probe!r} with IsTarget {target!r}")
    image = file_below(path, probe)
    if target == "N":
        return ListedImage(image, None, 0, Path(probe).stem)
    if not mask:
        raise _row_error(file, line, f"{probe} is manipulated, and no mask is named")
    kind = next((kind for column, kind in _KINDS.items() if row.get(column) in ("Y", "True")), "other")
    source = Path(base or probe).stem
    return ListedImage(image, file_below(path, mask), 1, source, f"nist16_{kind}", manipulated="black")


def _row_error(file: Path, line: int, why: str) -> Exception:
    allowed = f"columns separated by |, among them {', '.join(_COLUMNS)}; IsTarget is Y or N"
    return set_error(f"set.path: {file}, line {line}", why, allowed, "set.path", "restore the published file")
