"""Reads and checks `done.json` and `index.json` of a forged set, which may come from others.

Both are compared with what `trainables.forgery.manifest` writes before any value is used: a shard's name becomes part
of a path, and the size of the images decides how much memory is allocated.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainables.data.splits import SPLITS
from trainables.errors import TrialError

LARGEST = 4096
"""Largest side of a set's images, px."""
_SHARD = re.compile(r"[0-9]{5,9}")
_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Rows = Mapping[str, list[Any]]


def read(folder: Path) -> tuple[Mapping[str, Any], Rows]:
    """The content of `done.json`, and the columns of `index.json`, of equal length.

    Raises TrialError, with the name of the file, if the set is unfinished or damaged, or if a value does not have the
    form that it should have.
    """
    done = _json(folder / "done.json", read_file(folder, "done.json", "the set is unfinished or missing"))
    if why := _wrong_in_done(done):
        raise set_error(folder / "done.json", why)
    content = read_file(folder, "index.json")
    if hashlib.sha256(content).hexdigest() != done["index_sha256"]:
        raise set_error(folder / "index.json", "it is damaged: its SHA-256 differs from that in done.json")
    index = _json(folder / "index.json", content)
    rows = index.get("rows") if isinstance(index, dict) else None
    if why := _wrong_in_rows(rows, done["shards"]):
        raise set_error(folder / "index.json", why)
    assert isinstance(rows, dict)
    return done, rows


def read_file(folder: Path, name: str, missing: str = "") -> bytes:
    """A file of a set. TrialError if it cannot be read, or if it or its folder is a symbolic link.

    missing: the reason in the error; by default that of the system.
    """
    path = folder / name
    if path.is_symlink() or path.parent.is_symlink():
        raise set_error(path, "it is a symbolic link, which could lead out of the set")
    try:
        return path.read_bytes()
    except OSError as error:
        raise set_error(path, missing or f"it cannot be read: {error.strerror}") from error


def set_error(file: Path, why: str) -> TrialError:
    """The error for a file of a forged set."""
    return TrialError(
        f"forged set, {file}",
        why,
        "a complete forged set: config.json, shards/, index.json, card.md and done.json",
        "remove damaged files and run `sweeps forge` again: finished shards are kept",
    )


def _json(file: Path, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise set_error(file, f"it is damaged: {str(error)[:200]}") from error


def _wrong_in_done(done: Any) -> str:
    """What is wrong in `done.json`; '' if nothing is."""
    if not isinstance(done, dict):
        return "it is not a mapping"
    size, shards = done.get("size"), done.get("shards")
    if type(size) is not int or not 1 <= size <= LARGEST:
        return f"its `size` is {_shown(size)}, and images have 1 to {LARGEST} px"
    for key in ("index_sha256", "fingerprint"):
        if not _is_text(done.get(key), _SHA256):
            return f"its `{key}` is {_shown(done.get(key))}, which is no SHA-256"
    if not _is_text(done.get("id"), _KEY):
        return f"its `id` is {_shown(done.get('id'))}, which is no id of a set"
    if not isinstance(shards, dict):
        return "its `shards` are not a mapping"
    for name, shard in shards.items():
        if not _is_text(name, _SHARD):
            return f"it has a shard {_shown(name)}, which is no number of a shard"
        if not isinstance(shard, dict) or not _is_text(shard.get("sha256"), _SHA256):
            return f"its shard {name} has no SHA-256"
    return ""


def _wrong_in_rows(rows: Any, shards: Mapping[str, Any]) -> str:
    """What is wrong in the columns of `index.json`; '' if nothing is."""
    if not isinstance(rows, dict) or not all(isinstance(column, list) for column in rows.values()):
        return "its `rows` are not lists, one for each column"
    for name, is_valid in _COLUMNS.items():
        if name not in rows:
            return f"it has no column `{name}`"
        wrong = [value for value in rows[name] if not is_valid(value)]
        if wrong:
            return f"its column `{name}` has the value {_shown(wrong[0])}"
    if len({len(column) for column in rows.values()}) > 1:
        return "its columns have different lengths"
    if len(set(rows["key"])) < len(rows["key"]):
        return "two of its images have the same key"
    unknown = set(rows["shard"]) - set(shards)
    return f"its images are in shard {_shown(min(unknown))}, which done.json does not list" if unknown else ""


def _is_text(value: Any, form: re.Pattern[str]) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


_COLUMNS: Mapping[str, Callable[[Any], bool]] = {
    "shard": lambda value: _is_text(value, _SHARD),
    "key": lambda value: _is_text(value, _KEY),
    "split": lambda value: value in SPLITS,
    "source": lambda value: isinstance(value, str),
    "kind": lambda value: isinstance(value, str),
    "inpainter": lambda value: isinstance(value, str),
    "label": lambda value: type(value) is int and value in (0, 1),
    "box": _is_box,
    "hole_share": _is_number,
    "sharpness": lambda value: value is None or _is_number(value),
}
"""The columns that are read, and whether a value is one of the column."""


def _shown(value: Any) -> str:
    return repr(value)[:100]
