"""Reads the scores of every test image, `image_scores.npz`, which a detector's trial stores after its last epoch.

The arrays are described in `trainables/detect/evaluation/image_scores.py`.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

FILE = "image_scores.npz"
OWN = "own"
_MOST_BYTES = 2**28
"""Largest size of a test set's arrays when they are unpacked."""
_DAMAGE = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, EOFError, MemoryError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What a damaged file can raise."""
_NEEDED = ("logit", "label", "kind", "source", "hole_share", "sharpness")

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
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except zipfile.BadZipFile:
        return []
    return [name.removesuffix(".logit") for name in names if name.endswith(".logit")]


def read(data: bytes, label: str) -> SetScores | None:
    """The scores of one test set; None if the file does not have it whole, is damaged, or is too large."""
    start = f"{label}."
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            sizes = {one.filename.removesuffix(".npy"): one.file_size for one in archive.infolist()}
            if sum(size for name, size in sizes.items() if name.startswith(start) or "." not in name) > _MOST_BYTES:
                return None
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            columns = {name.removeprefix(start): arrays[name] for name in arrays.files if name.startswith(start)}
            sources, kinds = arrays["sources"], arrays["kinds"]
            threshold = float(arrays["threshold"]) if "threshold" in arrays.files else None
        return _scores(columns, sources, kinds, threshold)
    except _DAMAGE:
        return None


def _scores(
    columns: dict[str, npt.NDArray[Any]],
    sources: npt.NDArray[Any],
    kinds: npt.NDArray[Any],
    threshold: float | None,
) -> SetScores | None:
    n = len(columns["logit"])
    if not n or any(len(column) != n for column in columns.values()):
        return None
    photographs, photograph_n = np.unique(sources[columns.pop("source")], return_inverse=True)
    needed = {name: columns.pop(name) for name in _NEEDED if name != "source"}
    iou, pixels = columns.pop("iou", None), columns.pop("pixels", None)
    if not np.isfinite(needed["logit"]).all():
        return None
    return SetScores(
        logit_n=needed["logit"].astype(np.float64),
        label_n=needed["label"].astype(np.bool_),
        kind_n=kinds[needed["kind"]],
        photographs=photographs,
        photograph_n=photograph_n,
        hole_share_n=needed["hole_share"].astype(np.float64),
        sharpness_n=needed["sharpness"].astype(np.float64),
        threshold=threshold,
        iou_n=None if iou is None else iou.astype(np.float64),
        pixel_n3=None if pixels is None else pixels.reshape(n, 3).astype(np.float64),
        extra={name: column.astype(np.float64) for name, column in columns.items() if column.ndim == 1},
    )
