"""Estimates of a study's detectors by arm, column and seed, from the image scores that its trials stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from analysis.detection import image_scores
from analysis.detection.estimates import estimate
from analysis.detection.image_scores import OWN, SetScores
from analysis.statistics.crossed import SeedEstimate
from sweeps.results import columns as record_columns
from sweeps.store import layout
from sweeps.store.base import Store

TOLERANCE = 1e-6
"""Largest difference between a recorded column and its value from the image scores."""


_SHOWN = 3
"""Number of files that a sentence names."""
_REPAIR = "restore it from a copy, or train the trial again with `sweeps run FILE --fresh`"


@dataclass(frozen=True)
class ScoresFile:
    """Where a finished trial stored its image scores."""

    key: str
    sha256: str | None
    """Of the file; None for a trial that stored none, or is of an older version."""
    older: bool
    """Whether the trial's version recorded no checksums, so that it may have stored a file."""

    @classmethod
    def of(cls, trial: str, epochs: int, result: Mapping[str, Any]) -> ScoresFile:
        """From the result of a trial."""
        key = layout.join("trials", trial, "samples", result["attempt"], epochs, image_scores.FILE)
        return cls(key, result.get("files", {}).get(image_scores.FILE), "files" not in result)

    def fault(self, data: bytes | None) -> str:
        """What is wrong with the file; empty if nothing is. data: the stored object, None if there is none."""
        if self.sha256 is None:
            return "" if data is None or not self.older or image_scores.is_whole(data) else "damaged"
        if data is None:
            return "missing"
        return "" if hashlib.sha256(data).hexdigest() == self.sha256 else "damaged"


class ImageScores:
    """The image scores of the finished trials of a sweep; files are read when they are first asked for."""

    def __init__(self, store: Store, files: Mapping[str, Mapping[int, ScoresFile]]) -> None:
        """files: those of the finished trials, by arm and seed."""
        self._store, self._of_arm = store, files
        self._data: dict[ScoresFile, bytes | None] = {}
        self._faults: dict[str, str] = {}
        self._known: dict[tuple[ScoresFile, str], SeedEstimate | None] = {}

    def estimates(self, arm: str, column: str, values: Mapping[int, float]) -> dict[int, SeedEstimate]:
        """The estimates of a column for the seeds of `values`; empty unless each of them has one that agrees.

        values: the recorded column, by seed. It disagrees at other epochs than the last.
        """
        if not column.startswith("test/"):
            return {}
        plain, label = record_columns.without_test_set(column)
        files = {seed: self._of_arm.get(arm, {}).get(seed) for seed in values}
        self._read(file for file in files.values() if file)
        found: dict[int, SeedEstimate] = {}
        for seed, value in values.items():
            file = files[seed]
            one = self._estimate(file, plain.removeprefix("test/"), label or OWN) if file else None
            if one is None or not abs(one.value - value) <= TOLERANCE:  # NaN agrees with nothing
                return {}
            found[seed] = one
        return found

    def scores(self, arm: str, label: str = OWN) -> dict[int, SetScores]:
        """The scores of a test set by seed, of the seeds that have them."""
        files = self._of_arm.get(arm, {})
        self._read(files.values())
        read = {seed: self._scores(file, label) for seed, file in files.items()}
        return {seed: one for seed, one in read.items() if one is not None}

    @cached_property
    def faults(self) -> Mapping[str, str]:
        """The keys of all files that are damaged or missing, and which of the two they are; reads all files."""
        self._read(self._all)
        return self._faults

    @cached_property
    def without(self) -> frozenset[str]:
        """The keys of the files that trials did not store, as those of older versions; reads all files."""
        self._read(self._all)
        return frozenset(one.key for one in self._all if self._data[one] is None and one.key not in self._faults)

    def notes(self) -> list[str]:
        """A sentence on files that are damaged or missing; empty if there are none."""
        if not self.faults:
            return []
        first, rest = sorted(self.faults.items())[:_SHOWN], len(self.faults) - _SHOWN
        named = ", ".join(f"{key} {why}" for key, why in first) + (f" and {rest} more" if rest > 0 else "")
        are = "are" if len(self.faults) > 1 else "is"
        return [
            f"{len(self.faults)} of {len(self._all)} files of image scores {are} damaged or missing "
            f"({named}), so that intervals of their arms cover the seeds alone. {_REPAIR[0].upper()}{_REPAIR[1:]}."
        ]

    @property
    def _all(self) -> list[ScoresFile]:
        return list(dict.fromkeys(file for files in self._of_arm.values() for file in files.values()))

    def _estimate(self, file: ScoresFile, metric: str, label: str) -> SeedEstimate | None:
        key = (file, f"{label}.{metric}")
        if key not in self._known:
            scores = self._scores(file, label)
            self._known[key] = None if scores is None else estimate(scores, metric)
        return self._known[key]

    def _scores(self, file: ScoresFile, label: str) -> SetScores | None:
        data = self._data.get(file)
        return None if data is None else image_scores.read(data, label)

    def _read(self, files: Iterable[ScoresFile]) -> None:
        """Read files that were not asked for before. Those that are damaged, or that their trials did not store, count
        as absent."""
        wanted = [file for file in dict.fromkeys(files) if file not in self._data]
        found = self._store.get_many(file.key for file in wanted) if wanted else {}
        for file in wanted:
            data = found.get(file.key)
            if why := file.fault(data):
                self._faults[file.key] = why
                allowed = "the file that the trial stored"
                layout.report_damage(layout.DamagedError(f"object {file.key!r}", f"it is {why}", allowed, _REPAIR))
            stored = file.sha256 is not None or file.older
            self._data[file] = data if stored and not why else None
