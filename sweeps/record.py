"""What a record's columns are called, in which unit they are, and which of them two runs may differ in.

A record is one row: what a trial reported at one epoch. Its columns are `epoch`, `<split>/<metric>` with the split one
of `train`, `val`, `test`, and `sys/<measure>` for what depends on the machine and the moment. Two runs of the same
trial on the same kind of machine agree in every column but those under `sys/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

SCHEMA = 1
"""Version of everything that is written to a store. A store with a higher one is refused: see `check_schema`."""

EPOCH = "epoch"
SPLITS = ("train", "val", "test")
SYSTEM = "sys"

TIME_S = "sys/time_s"
"""Seconds that this epoch took: training and evaluation, the checkpoint aside."""
IMAGES_PER_S = "sys/images_per_s"
"""Training images per second within this epoch, evaluation aside."""
PEAK_MEMORY_MB = "sys/peak_memory_mb"
"""Highest resident memory of the process so far (on a GPU: of the allocator), in 2**20 bytes."""

Record = Mapping[str, float | int]

_METRICS: dict[str, tuple[str, str, str]] = {
    # name: (unit, direction of better, meaning)
    "loss": ("", "min", "weighted sum of the loss terms, in the model's own value range"),
    "psnr_db": ("dB", "max", "mean over images of the PSNR, capped at 100 dB"),
    "l1": ("", "min", "mean absolute error, images in [0, 1]"),
    "l2": ("", "min", "mean squared error, images in [0, 1]"),
    "ssim": ("", "max", "structural similarity, 11x11 window, sigma 1.5, data range 1"),
    "hole_fraction": ("", "", "share of missing pixels"),
}
_REGIONS = {
    "_hole": "hole pixels only",
    "_raw": "the network's output without compositing",
    "_crop": "the centre crop that 003_4e78e639d4f1fa33 scores, its visible ring included",
    "_pooled": "from the error pooled over all images",
}
_COLUMN = re.compile(rf"^({'|'.join(SPLITS)}|{SYSTEM})/[a-z0-9_]+$")


def is_column(name: str) -> bool:
    """Whether `name` can be a column of a record."""
    return name == EPOCH or bool(_COLUMN.match(name))


def same_numbers(record: Record) -> dict[str, float | int]:
    """The part of a record that two runs of one trial must agree in, to the last bit."""
    return {name: value for name, value in record.items() if not name.startswith(SYSTEM + "/")}


def describe(column: str) -> tuple[str, str, str]:
    """(unit, 'max' or 'min' or '' for the better direction, meaning) of a column; empty strings where unknown."""
    metric = column.partition("/")[2]
    regions = []
    base = metric
    while base not in _METRICS:
        suffix = next((s for s in _REGIONS if base.endswith(s)), None)
        if suffix is None:
            return "", "", ""
        regions.append(_REGIONS[suffix])
        base = base.removesuffix(suffix)
    unit, better, meaning = _METRICS[base]
    return unit, better, "; ".join([meaning, *regions])
