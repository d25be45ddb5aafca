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
    if why := wrong_in_done(done):
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


def wrong_in_done(done: Any) -> str:
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
        if (
            not isinstance(shard, dict)
            or not _is_text(shard.get("sha256"), _SHA256)
            or type(shard.get("bytes")) is not int
        ):
            return f"its shard {name} has no SHA-256, or no size"
    if done["fingerprint"] != fingerprint(shards):
        return "its `fingerprint` is not that of its shards"
    return ""


def wrong_in_summary(done: Any) -> str:
    """What is wrong in the numbers of `done.json` that only people read; '' if nothing is."""
    counts, near = done.get("counts"), done.get("near_duplicates")
    if not isinstance(counts, dict) or not all(
        isinstance(kinds, dict) and all(type(count) is int for count in kinds.values()) for kinds in counts.values()
    ):
        return "its `counts` are no numbers of images"
    if not isinstance(near, dict) or type(near.get("pairs")) is not int or not isinstance(done.get("skipped"), list):
        return "it has no `near_duplicates`, or no `skipped`"
    return ""


def wrong_in_shard(index: Any) -> str:
    """What is wrong in the index of a shard, which `trainables.forgery.shards` writes; '' if nothing is."""
    if not isinstance(index, dict) or not _is_text(index.get("sha256"), _SHA256) or type(index.get("bytes")) is not int:
        return "it has no SHA-256, or no size"
    rows, skipped = index.get("rows"), index.get("skipped")
    if not isinstance(skipped, list) or not all(
        isinstance(one, dict) and _has_texts(one, ("source", "why")) for one in skipped
    ):
        return "it has no `skipped`"
    for row in rows if isinstance(rows, list) else [None]:
        if not isinstance(row, dict) or not _has_texts(row, ("phash", "mask")) or type(row.get("place")) is not int:
            return "its `rows` are not images"
        for name, is_valid in _COLUMNS.items():
            if name != "shard" and (name not in row or not is_valid(row[name])):
                return f"an image of it has a `{name}` that no image has"
    return ""


def fingerprint(shards: Mapping[str, Mapping[str, Any]]) -> str:
    """SHA-256 over the SHA-256 of all shards, and so over every pixel, mask and label."""
    return hashlib.sha256("".join(f"{name} {each['sha256']}\n" for name, each in shards.items()).encode()).hexdigest()


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
    for key, label, box in zip(rows["key"], rows["label"], rows["box"], strict=True):
        if not _fits_label(box, label):
            return f"the image {key} has the label {label} and the box {_shown(box)}: {_BOX}"
    unknown = set(rows["shard"]) - set(shards)
    return f"its images are in shard {_shown(min(unknown))}, which done.json does not list" if unknown else ""


def _has_texts(row: Mapping[str, Any], keys: tuple[str, ...]) -> bool:
    return all(isinstance(row.get(key), str) for key in keys)


def _is_text(value: Any, form: re.Pattern[str]) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


_BOX = "x1 y1 x2 y2 as shares of the sides, 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1, or zeros without a hole"


def _fits_label(box: list[float], label: int) -> bool:
    """Whether the box of an image that was inpainted lies inside the image, and that of another one is zero."""
    x1, y1, x2, y2 = box
    return (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1) if label else not any(box)


_COLUMNS: Mapping[str, Callable[[Any], bool]] = {
    "shard": lambda value: _is_text(value, _SHARD),
    "key": lambda value: _is_text(value, _KEY),
    "split": lambda value: value in SPLITS,
    "source": lambda value: isinstance(value, str),
    "kind": lambda value: isinstance(value, str),
    "inpainter": lambda value: isinstance(value, str),
    "label": lambda value: type(value) is int and value in (0, 1),
    "box": _is_box,
    "hole_share": lambda value: _is_number(value) and 0 <= value <= 1,
    "sharpness": lambda value: value is None or _is_number(value),
}
"""The columns that are read, and whether a value is one of the column."""


def _shown(value: Any) -> str:
    return repr(value)[:100]
