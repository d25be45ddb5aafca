"""Reads the scores of every test image, `image_scores.npz`, which a detector's trial stores after its last epoch.

The arrays are described in `trainables/detect/evaluation/image_scores.py`.
"""

from __future__ import annotations

import io
import lzma
import math
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

FILE = "image_scores.npz"
OWN = "own"
_NPY = ".npy"
_MOST_BYTES = 2**28
"""Largest size of a file's arrays when they are unpacked, and of a test set's as 64-bit numbers."""
_MOST_CHARACTERS = 1024
"""Longest name of a photograph or kind."""
_DAMAGE = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, EOFError, MemoryError, RuntimeError, OverflowError),
    *(SyntaxError, NotImplementedError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, tokenize.TokenError),
)
"""What a damaged file can raise."""
_KINDS = {"logit": "f", "label": "b", "kind": "iu", "source": "iu", "hole_share": "f", "sharpness": "f"}
"""The columns that every test set has, with their kinds of numbers: those of `numpy.dtype.kind`."""
_PLACES = {"iou": "f", "pixels": "iu"}
"""The columns of detectors that give a place."""
_FINITE = ("logit", "hole_share", "iou")
_SHARED = ("sources", "kinds", "threshold")

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SetScores:
    """The images of one test set, n of them, with the scores of one network."""

    logit_n: Floats
    label_n: Bools
    kind_n: npt.NDArray[Any]
    """The kind of each image in words."""
    photographs: npt.NDArray[Any]
    """Names of the photographs, sorted."""
    photograph_n: npt.NDArray[np.intp]
    """Index of each image's photograph."""
    hole_share_n: Floats
    sharpness_n: Floats
    threshold: float | None
    """The logit that is best on the validation images."""
    iou_n: Floats | None = None
    pixel_n3: Floats | None = None
    """True positive, false positive and false negative pixels."""
    extra: dict[str, Floats] = field(default_factory=dict)
    """Further metrics with a value for each image, NaN where it is not defined."""


def sets_of(data: bytes) -> list[str]:
    """Labels of the test sets in a file; none if it is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = list(_members(archive))
    except _DAMAGE:
        return []
    return [name.removesuffix(".logit") for name in names if name.endswith(".logit")]


def read(data: bytes, label: str) -> SetScores | None:
    """The scores of one test set; None if the file does not have it whole, is damaged, or is too large."""
    start = f"{label}."
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {
                name: member
                for name, member in _members(archive).items()
                if name in _SHARED or (name.startswith(start) and "." not in name.removeprefix(start))
            }
            arrays = {name: _array(archive.read(member)) for name, member in members.items()}
        shared = {name: arrays.pop(name) for name in _SHARED if name in arrays}
        return _scores({name.removeprefix(start): array for name, array in arrays.items()}, shared)
    except _DAMAGE:
        return None


def is_whole(data: bytes) -> bool:
    """Whether a file has test sets and all of them can be read."""
    labels = sets_of(data)
    return bool(labels) and all(read(data, label) is not None for label in labels)


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by the names of their arrays. Raises ValueError for another file than an array, for two of one name,
    and if they would fill the memory."""
    members = archive.infolist()
    if sum(member.file_size for member in members) > _MOST_BYTES:
        raise ValueError("too large")
    found = {member.filename.removesuffix(_NPY): member for member in members if member.filename.endswith(_NPY)}
    if len(found) != len(members):
        raise ValueError("members that are not arrays, or two of one name")
    return found


def _array(data: bytes) -> Array:
    """The array of a member. Raises ValueError if the header describes more or less than there is."""
    source = io.BytesIO(data)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, by_columns, dtype = readers[np.lib.format.read_magic(source)](source)
    values = memoryview(data)[source.tell() :]
    if dtype.kind not in "biufU" or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError("not an array of numbers or names of this size")
    return np.frombuffer(values, dtype).reshape(shape, order="F" if by_columns else "C")


def _scores(columns: dict[str, Array], shared: Mapping[str, Array]) -> SetScores | None:
    sources, kinds, threshold = shared["sources"], shared["kinds"], shared.get("threshold")
    n = len(columns["logit"])
    if not n or n * (8 * len(columns) + kinds.itemsize) > _MOST_BYTES:
        return None
    if not all(_is_column(name, column, n) for name, column in columns.items()):
        return None
    if not (_are_names(sources, columns["source"]) and _are_names(kinds, columns["kind"])):
        return None
    if threshold is not None and not (threshold.shape == () and threshold.dtype.kind == "f" and np.isfinite(threshold)):
        return None
    photographs, photograph_n = _by_name(sources, columns.pop("source"))
    needed = {name: columns.pop(name) for name in _KINDS if name != "source"}
    iou, pixels = columns.pop("iou", None), columns.pop("pixels", None)
    return SetScores(
        logit_n=needed["logit"].astype(np.float64),
        label_n=needed["label"].astype(np.bool_),
        kind_n=kinds[needed["kind"]],
        photographs=photographs,
        photograph_n=photograph_n,
        hole_share_n=needed["hole_share"].astype(np.float64),
        sharpness_n=needed["sharpness"].astype(np.float64),
        threshold=None if threshold is None else float(threshold),
        iou_n=None if iou is None else iou.astype(np.float64),
        pixel_n3=None if pixels is None else pixels.astype(np.float64),
        extra={name: column.astype(np.float64) for name, column in columns.items()},
    )


def _is_column(name: str, column: Array, n: int) -> bool:
    """Whether a column has a value of its kind for each of n images. Further metrics are numbers with a fraction."""
    shape = (n, 3) if name == "pixels" else (n,)
    kind = {**_KINDS, **_PLACES}.get(name, "f")
    if column.shape != shape or column.dtype.kind not in kind or column.dtype.itemsize > 8:
        return False
    if name == "label":
        return bool((column.view(np.uint8) <= 1).all())
    return bool(np.isfinite(column).all()) if name in _FINITE else name != "pixels" or bool((column >= 0).all())


def _are_names(names: Array, index_n: Array) -> bool:
    """Whether an array is names, and a column has indices of it."""
    kind = names.dtype
    if names.ndim != 1 or kind.kind != "U" or not kind.isnative or not 0 < kind.itemsize <= 4 * _MOST_CHARACTERS:
        return False
    are_texts = not names.size or bool(names.view(np.uint32).max() <= sys.maxunicode)
    return are_texts and bool((index_n >= 0).all() and (index_n < len(names)).all())


def _by_name(names: Array, index_n: Array) -> tuple[Array, npt.NDArray[np.intp]]:
    """The names that are used, sorted, and each image's index of them."""
    used, place_n = np.unique(index_n, return_inverse=True)
    found, place = np.unique(names[used], return_inverse=True)
    return found, place[place_n]
