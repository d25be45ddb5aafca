"""Recorded outputs of trained detectors, aligned by image: the training data of an ensemble.

Legend: n images, k detectors, f features of all detectors together.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.errors import TrialError

Arrays = Mapping[str, npt.NDArray[Any]]
COLUMNS = ("logit", "label", "source", "feature")
MOST_BYTES = 2**32
"""Largest size of a file of outputs when it is unpacked."""


@dataclass(frozen=True)
class StackRows:
    """Detector outputs for the images of a split."""

    logit_nk: npt.NDArray[np.float64]
    feature_nf: npt.NDArray[np.float64] | None
    """None if a detector has recorded no features."""
    label_n: npt.NDArray[np.bool_]
    source: npt.NDArray[np.str_]
    """Photograph that each image was made from."""

    def inputs(self, which: str) -> npt.NDArray[np.float64]:
        """Input of an ensemble. which: 'logits' for (n, k), 'features' for (n, f)."""
        if which == "logits":
            return self.logit_nk
        assert self.feature_nf is not None  # checked by `load`
        return self.feature_nf


@dataclass(frozen=True)
class StackDataset:
    """Outputs of all base detectors by split."""

    learn: StackRows
    """Rows to fit the ensemble on: left-out images of each fold, by the detector that left them out; else `val`."""
    val: StackRows
    test: StackRows
    folded: bool
    """Whether the bases were trained with folds."""
    inputs: str
    """'logits' or 'features'."""
    fingerprint: str
    """SHA-256 over the files read."""


def load(bases: Mapping[str, Sequence[str]], inputs: str, files: Mapping[str, Path]) -> StackDataset:
    """Read and align the outputs of each base's trials: one trial, or one per fold.

    Raises TrialError if a file lacks the outputs, or if the bases did not score the same images.
    """
    digest = hashlib.sha256()
    parts: dict[str, list[Arrays]] = {"learn": [], "val": [], "test": []}
    for name, trials in bases.items():
        outputs = [_read(trial, files[trial], digest) for trial in trials]
        folded = len(outputs) > 1
        held = [_columns(one, "held", name, inputs) for one in outputs] if folded else []
        mean = {
            split: _mean([_columns(one, split, name, inputs) for one in outputs], name) for split in ("val", "test")
        }
        parts["learn"].append(_sorted(_joined(held)) if folded else mean["val"])
        parts["val"].append(mean["val"])
        parts["test"].append(mean["test"])
    folds = {len(trials) for trials in bases.values()}
    if len(folds) > 1:
        raise _unlike(f"their numbers of folds differ: {sorted(folds)}", "the same number of folds in every base")
    rows = {split: _aligned(each, tuple(bases)) for split, each in parts.items()}
    return StackDataset(rows["learn"], rows["val"], rows["test"], folds != {1}, inputs, digest.hexdigest())


def _read(trial: str, file: Path, digest: Any) -> Arrays:
    data = file.read_bytes()
    digest.update(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MOST_BYTES:
            raise ValueError(f"it has {unpacked / 1e9:.1f} GB unpacked, more than {MOST_BYTES / 1e9:.1f} GB")
        with np.load(file) as arrays:  # allow_pickle is off
            return {key: arrays[key] for key in arrays.files}
    except (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise TrialError(
            f"outputs of trial {trial}",
            f"{file} does not hold them: {error}",
            "an `outputs.npz` that a trial of task detect wrote",
            "train the detector again",
        ) from error


def _columns(arrays: Arrays, split: str, base: str, inputs: str) -> Arrays:
    columns = {name: arrays[f"{split}_{name}"] for name in COLUMNS if f"{split}_{name}" in arrays}
    wanted = ("logit", "label", "source", *(("feature",) if inputs == "features" else ()))
    missing = [name for name in wanted if name not in columns]
    if missing:
        what = "images that a fold left out" if split == "held" else f"{missing[0]}s of its {split} images"
        raise TrialError(
            f"data.bases.{base}",
            f"its trials have recorded no {what}",
            "a list of arms with `data.fold: [i, k]`, or one arm without" if split == "held" else "inputs: logits",
            "name one arm instead of a list, or train the base with `data.fold`"
            if split == "held"
            else "data.inputs: logits",
            "data.bases",
        )
    return _sorted(columns)


def _sorted(columns: Arrays) -> Arrays:
    """Sort by photograph, then label, so that the order does not depend on the trial."""
    order = np.lexsort((columns["label"], columns["source"]))
    return {name: column[order] for name, column in columns.items()}


def _joined(parts: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _mean(parts: Sequence[Arrays], base: str) -> Arrays:
    """Mean outputs of the trials of all folds, for images that none of them was trained on."""
    first = parts[0]
    if not all(_same(first, part) for part in parts):
        raise _unlike(f"the folds of {base} scored different images", "folds of one arm")
    return {
        name: np.mean([part[name].astype(np.float64) for part in parts], 0) if name in ("logit", "feature") else column
        for name, column in first.items()
    }


def _same(one: Arrays, other: Arrays) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in ("label", "source"))


def _aligned(bases: Sequence[Arrays], names: Sequence[str]) -> StackRows:
    first = bases[0]
    for name, base in zip(names, bases, strict=True):
        if not _same(first, base):
            raise _unlike(f"{names[0]} and {name} scored different images", "detectors trained on the same forged set")
    features = [base["feature"] for base in bases if "feature" in base]
    return StackRows(
        np.stack([base["logit"].astype(np.float64) for base in bases], 1),
        np.concatenate(features, 1).astype(np.float64) if len(features) == len(bases) else None,
        first["label"] > 0.5,
        first["source"],
    )


def _unlike(why: str, allowed: str) -> TrialError:
    return TrialError("data.bases", why, allowed, "name arms of one sweep, with the same `data`", "data.bases")
