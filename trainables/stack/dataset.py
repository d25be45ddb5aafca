"""What trained detectors have recorded of their images, side by side: what an ensemble learns from.

Legend: n images, k detectors, f features of all of them together.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.errors import TrialError

Arrays = Mapping[str, npt.NDArray[Any]]
COLUMNS = ("logit", "label", "source", "feature")


@dataclass(frozen=True)
class Rows:
    """Images of a split. source: the photograph that each was made from."""

    logit_nk: npt.NDArray[np.float64]
    feature_nf: npt.NDArray[np.float64] | None
    label_n: npt.NDArray[np.bool_]
    source: npt.NDArray[np.str_]

    def inputs(self, which: str) -> npt.NDArray[np.float64]:
        """What an ensemble sees: 'logits' (n, k) or 'features' (n, f)."""
        if which == "logits":
            return self.logit_nk
        assert self.feature_nf is not None  # `load` has looked
        return self.feature_nf


@dataclass(frozen=True)
class Recorded:
    """learn: images that no detector has learned from, or not the one whose word it is. val is learn without folds."""

    learn: Rows
    val: Rows
    test: Rows
    folded: bool
    inputs: str
    fingerprint: str


def load(bases: Mapping[str, Sequence[str]], inputs: str, files: Mapping[str, Path]) -> Recorded:
    """The outputs of each base's trials: of one, or of one for each fold, which together have seen no image twice.

    Raises TrialError where a file does not hold what is asked for, or the bases did not see the same images.
    """
    digest = hashlib.sha256()
    parts: dict[str, list[Arrays]] = {"learn": [], "val": [], "test": []}
    for name, trials in bases.items():
        found = [_read(trial, files[trial], digest) for trial in trials]
        folded = len(found) > 1
        held = [_columns(one, "held", name, inputs) for one in found] if folded else []
        mean = {split: _mean([_columns(one, split, name, inputs) for one in found], name) for split in ("val", "test")}
        parts["learn"].append(_sorted(_joined(held)) if folded else mean["val"])
        parts["val"].append(mean["val"])
        parts["test"].append(mean["test"])
    folds = {len(trials) for trials in bases.values()}
    if len(folds) > 1:
        raise _unlike(f"they have {sorted(folds)} folds", "the same `data.fold: [i, k]` in every base")
    rows = {split: _side_by_side(each, tuple(bases)) for split, each in parts.items()}
    return Recorded(rows["learn"], rows["val"], rows["test"], folds != {1}, inputs, digest.hexdigest())


def _read(trial: str, file: Path, digest: Any) -> Arrays:
    data = file.read_bytes()
    digest.update(data)
    try:
        with np.load(file) as arrays:  # allow_pickle is off
            return {key: arrays[key] for key in arrays.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise TrialError(
            f"outputs of trial {trial}", f"{file} does not hold them: {error}", "what a detector wrote", "train it anew"
        ) from error


def _columns(found: Arrays, split: str, base: str, inputs: str) -> Arrays:
    columns = {name: found[f"{split}_{name}"] for name in COLUMNS if f"{split}_{name}" in found}
    wanted = ("logit", "label", "source", *(("feature",) if inputs == "features" else ()))
    missing = [name for name in wanted if name not in columns]
    if missing:
        what = "images that its training left out" if split == "held" else f"{missing[0]}s of its {split} images"
        raise TrialError(
            f"data.bases.{base}",
            f"its trials have recorded no {what}",
            "a list of arms with `data.fold: [i, k]`, or one arm without" if split == "held" else "inputs: logits",
            "take the list out, or train the base with `data.fold`" if split == "held" else "data.inputs: logits",
            "data.bases",
        )
    return _sorted(columns)


def _sorted(columns: Arrays) -> Arrays:
    """In an order that does not depend on how a trial took its images: by photograph, then label."""
    order = np.lexsort((columns["label"], columns["source"]))
    return {name: column[order] for name, column in columns.items()}


def _joined(parts: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _mean(parts: Sequence[Arrays], base: str) -> Arrays:
    """Of the trials of all folds: their mean word on images that none of them learned from."""
    first = parts[0]
    if not all(_same(first, part) for part in parts):
        raise _unlike(f"the folds of {base} saw different images", "folds of one arm")
    return {
        name: np.mean([part[name].astype(np.float64) for part in parts], 0) if name in ("logit", "feature") else column
        for name, column in first.items()
    }


def _same(one: Arrays, other: Arrays) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in ("label", "source"))


def _side_by_side(bases: Sequence[Arrays], names: Sequence[str]) -> Rows:
    first = bases[0]
    for name, base in zip(names, bases, strict=True):
        if not _same(first, base):
            raise _unlike(f"{names[0]} and {name} saw different images", "detectors of one forged set")
    features = [base["feature"] for base in bases if "feature" in base]
    return Rows(
        np.stack([base["logit"].astype(np.float64) for base in bases], 1),
        np.concatenate(features, 1).astype(np.float64) if len(features) == len(bases) else None,
        first["label"] > 0.5,
        first["source"],
    )


def _unlike(why: str, allowed: str) -> TrialError:
    return TrialError("data.bases", why, allowed, "arms of one sweep, with the same data", "data.bases")
