"""Estimates of a study's detectors by arm, column and seed, from the image scores that its trials stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from analysis.detection import image_scores
from analysis.detection.estimates import estimate
from analysis.detection.image_scores import OWN, SetScores
from analysis.statistics.crossed import SeedEstimate
from sweeps.results import columns as record_columns
from sweeps.store.base import Store

TOLERANCE = 1e-6
"""Largest difference between a recorded column and its value from the image scores."""


class ImageScores:
    """The image scores of the finished trials of a sweep; files are read when they are first asked for."""

    def __init__(self, store: Store, folders: Mapping[str, Mapping[int, str]]) -> None:
        """folders: key prefix of the last samples of each finished trial, by arm and seed."""
        self._store, self._folders = store, folders
        self._files: dict[str, bytes | None] = {}
        self._known: dict[tuple[str, str], SeedEstimate | None] = {}

    def estimates(self, arm: str, column: str, values: Mapping[int, float]) -> dict[int, SeedEstimate]:
        """The estimates of a column for the seeds of `values`; empty unless each of them has one that agrees.

        values: the recorded column, by seed. It disagrees at other epochs than the last.
        """
        if not column.startswith("test/"):
            return {}
        plain, label = record_columns.without_test_set(column)
        folders = {seed: self._folders.get(arm, {}).get(seed) for seed in values}
        self._read(folder for folder in folders.values() if folder)
        found: dict[int, SeedEstimate] = {}
        for seed, value in values.items():
            folder = folders[seed]
            one = self._estimate(folder, plain.removeprefix("test/"), label or OWN) if folder else None
            if one is None or not abs(one.value - value) <= TOLERANCE:  # NaN agrees with nothing
                return {}
            found[seed] = one
        return found

    def scores(self, arm: str, label: str = OWN) -> dict[int, SetScores]:
        """The scores of a test set by seed, of the seeds that have them."""
        folders = self._folders.get(arm, {})
        self._read(folders.values())
        read = {seed: self._scores(folder, label) for seed, folder in folders.items()}
        return {seed: one for seed, one in read.items() if one is not None}

    def _estimate(self, folder: str, metric: str, label: str) -> SeedEstimate | None:
        key = (folder, f"{label}.{metric}")
        if key not in self._known:
            scores = self._scores(folder, label)
            self._known[key] = None if scores is None else estimate(scores, metric)
        return self._known[key]

    def _scores(self, folder: str, label: str) -> SetScores | None:
        data = self._files.get(folder)
        return None if data is None else image_scores.read(data, label)

    def _read(self, folders: Iterable[str]) -> None:
        wanted = [folder for folder in dict.fromkeys(folders) if folder not in self._files]
        keys = {f"{folder}/{image_scores.FILE}": folder for folder in wanted}
        found = self._store.get_many(keys) if keys else {}
        self._files |= {folder: found.get(key) for key, folder in keys.items()}
