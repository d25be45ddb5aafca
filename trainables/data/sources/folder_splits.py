"""The split of each image of a folder, by a hash of its name or by a CSV file; imports no torch."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from trainables.data.image_files import image_files, path_below
from trainables.data.splits import SPLITS, split_by_hash
from trainables.data.text_files import read_text
from trainables.errors import TrialError


def folder_splits(
    path: str, split: str | None, root: Path | None, test_alone: bool = False
) -> tuple[Path, dict[str, str]]:
    """The folder `data.path`, and the split of each image in it.

    split: `data.split`, None for 80/10/10.
    test_alone: whether every image is a test image.

    Raises TrialError if the folder or the CSV file cannot be used.
    """
    folder = path_below(root, path, "data.path")
    names = image_files(folder, "data.path")
    if test_alone:
        return folder, dict.fromkeys(names, "test")
    if split is None:
        return folder, {name: split_by_hash(name) for name in names}
    return folder, _read_split_file(path_below(root, split, "data.split"), set(names))


def _read_split_file(file: Path, names: set[str]) -> dict[str, str]:
    """The split of each file in a CSV file with the columns `file` and `split`; other files are not used."""
    reader = csv.DictReader(io.StringIO(read_text(file, "data.split"), newline=""))
    if not {"file", "split"} <= set(reader.fieldnames or ()):
        raise _split_error(file, 1, f"the columns are {', '.join(reader.fieldnames or ()) or 'missing'}")
    split_of: dict[str, str] = {}
    for row in reader:
        name, split = row["file"], row["split"]
        if split not in SPLITS:
            raise _split_error(file, reader.line_num, f"{split!r} is not a split")
        if name not in names:
            raise _split_error(file, reader.line_num, f"{name!r} is not an image in the folder")
        if name in split_of:
            raise _split_error(file, reader.line_num, f"{name!r} is listed twice")
        split_of[name] = split
    return split_of


def _split_error(file: Path, line: int, why: str) -> TrialError:
    return TrialError(
        f"data.split: {file}, line {line}",
        why,
        "the columns `file` (path relative to data.path, with /) and `split` (train, val or test), each file once",
        "correct this line",
    )
