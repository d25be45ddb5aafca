"""Results on single test images: the worst of an arm, those on which arms disagree, and the mean over all.

Values are read from the `per_image.npz` of finished trials. Arms are compared on the baseline's test images and masks;
arms with other images or masks, or without the file (an older store, a trial of several workers), are left out.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import wording
from analysis.report.sections import pictures
from analysis.report.tables import best_arm, best_arms
from analysis.statistics import intervals
from analysis.study import Study
from sweeps.results import samples
from sweeps.spec.trial import digest
from sweeps.store import layout

if TYPE_CHECKING:
    from PIL.Image import Image

METRIC = "test/psnr_db_hole"
SHOWN = 6
MOST_SEEDS = 8
"""Largest number of seeds whose images enter the mean over images."""
_MOST_BYTES = 2**28
_HOLE, _PSNR = "hole_fraction", "psnr_db_hole"
_KINDS = ("damaged", "composite", "truth")

Values = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, eq=False)
class WorstImages:
    """The worst test images of an arm."""

    arm: str
    seed: int
    images: list[tuple[int, float]]
    """(number, PSNR in the hole) of each image."""
    png: bytes | None
    """One column per image; None if the trial stored no pictures of them."""


@dataclass(frozen=True, eq=False)
class DisputedImages:
    """The images on which arms differ most."""

    images: list[int]
    rows: dict[str, list[float]]
    """PSNR in the hole by arm, one value per image."""
    spread: list[float]
    """Standard deviation over arms of each image."""
    words: str
    """How the images were selected."""


@dataclass(frozen=True, eq=False)
class ImageFindings:
    """Results on single test images."""

    seeds: dict[str, int]
    """The seed of each arm's values."""
    worst: list[WorstImages]
    disputed: DisputedImages | None
    means: list[str] = field(default_factory=list)
    """Sentences on the means over images."""


def read_images(study: Study, arms: Iterable[str] | None = None) -> ImageFindings | None:
    """Read the per-image values and the pictures of the worst images; None if the store has no per-image values.

    arms: restricts the values to these arms, and shows the worst images of each; by default values are of all arms, and
        the worst images those of the best arm and the baseline.
    """
    chosen = set(study.names if arms is None else arms)
    first = {arm: seeds[0] for arm, seeds in _finished(study).items() if arm in chosen}
    folders = {arm: _folder(study, arm, seed) for arm, seed in first.items()}
    read = _read(study, folders.values())
    values = _alike(study, {arm: read[folder] for arm, folder in folders.items() if folder in read})
    if not values:
        return None
    shown = _shown(study, values) if arms is None else list(values)
    return ImageFindings(
        {arm: first[arm] for arm in values},
        [_worst(study, arm, first[arm], values[arm]) for arm in shown],
        _disputed(study, values),
        [sentence for arm in shown if (sentence := _mean(study, arm, values[arm]))],
    )


def redrawn_folder(study: Study, arm: str, seed: int, images: Iterable[int]) -> str:
    """The key prefix under which `sweeps report --redraw` stores an arm's pictures of these test images."""
    trial, epochs = study.arm(arm).trials[seed]
    return layout.join("sweeps", study.name, "pictures", trial, f"{epochs}-{digest(list(images))}")


def disputed_grid(study: Study, found: ImageFindings | None) -> bytes | None:
    """The disputed images for every arm, from redrawn pictures; None if these trials have none."""
    if found is None or found.disputed is None:
        return None
    images = found.disputed.images
    folders = {arm: redrawn_folder(study, arm, seed, images) for arm, seed in found.seeds.items()}
    stored = study.store.get_many([f"{folder}/{kind}.png" for folder in folders.values() for kind in _KINDS])
    strips = pictures.open_strips(stored)
    truth, damaged = (
        next((strips[key] for folder in folders.values() if (key := f"{folder}/{kind}.png") in strips), None)
        for kind in ("truth", "damaged")
    )
    drawn = {arm: strip for arm, folder in folders.items() if (strip := strips.get(f"{folder}/composite.png"))}
    if not drawn or truth is None or damaged is None:
        return None
    columns: list[tuple[str, Image, Image | None]] = [("damaged", damaged, None)]
    columns += [(arm, composite, pictures.errors(composite, truth)) for arm, composite in drawn.items()]
    columns += [("truth", truth, None)]
    return pictures.assemble_grid(
        [(title, pictures.interleave(upper, lower, SHOWN)) for title, upper, lower in columns]
    )


# --- reading ----------------------------------------------------------------------------------------------------------


def _finished(study: Study) -> dict[str, list[int]]:
    """Finished seeds of each arm with the baseline's test images and masks; arms without any are left out."""
    group = next(group for group in study.groups if study.baseline in group)
    seeds = {name: [s for s, key in study.arm(name).trials.items() if key in study.results] for name in group}
    return {name: finished for name, finished in seeds.items() if finished}


def _folder(study: Study, arm: str, seed: int) -> str:
    """Key prefix of a finished trial's last samples, known without listing the store."""
    trial, epochs = key = study.arm(arm).trials[seed]
    return layout.join("trials", trial, "samples", study.results[key]["attempt"], epochs)


def _read(study: Study, folders: Iterable[str]) -> dict[str, Values]:
    """The values of each folder with an intact file, read concurrently."""
    keys = {f"{folder}/per_image.npz": folder for folder in folders}
    unpacked = {keys[key]: _unpacked(data) for key, data in study.store.get_many(keys).items()}
    return {folder: values for folder, values in unpacked.items() if values is not None}


def _unpacked(data: bytes) -> Values | None:
    """The arrays of a file; None if it is damaged, lacks one of them, or is larger than `_MOST_BYTES` unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MOST_BYTES:
                return None
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            values = {name: np.asarray(arrays[name], dtype=np.float64) for name in (_HOLE, _PSNR)}
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error):
        return None
    return values if values[_HOLE].ndim == 1 and values[_HOLE].shape == values[_PSNR].shape else None


def _alike(study: Study, values: Mapping[str, Values]) -> dict[str, Values]:
    """The arms with the same holes as the baseline, or as the first arm if the baseline has no values."""
    reference = values.get(study.baseline) or next(iter(values.values()), None)
    if reference is None:
        return {}
    return {arm: of_arm for arm, of_arm in values.items() if np.array_equal(of_arm[_HOLE], reference[_HOLE])}


def _shown(study: Study, values: Mapping[str, Values]) -> list[str]:
    """The best arm in the report's first metric and the baseline, as far as they have values."""
    best = best_arm(best_arms(study, study.metrics[0], list(values)))
    return [name for name in dict.fromkeys([best, study.baseline]) if name in values]


# --- rendering --------------------------------------------------------------------------------------------------------


def _worst(study: Study, arm: str, seed: int, values: Values) -> WorstImages:
    psnr = values[_PSNR]
    order = np.argsort(psnr, kind="stable")[: int(np.isfinite(psnr).sum())][:SHOWN]
    images = [(int(number), float(psnr[number])) for number in order]
    folder = _folder(study, arm, seed)
    stored = samples.read(study.store, [f"{folder}/worst-{kind}.png" for kind in _KINDS])
    strips = pictures.open_strips(stored)
    return WorstImages(
        arm, seed, images, _columns(images, *(strips.get(f"{folder}/worst-{kind}.png") for kind in _KINDS))
    )


def _columns(
    images: list[tuple[int, float]], damaged: Image | None, filled: Image | None, original: Image | None
) -> bytes | None:
    """A column per image, titled with its number and PSNR: damaged, composite, errors, truth."""
    gaps = pictures.errors(filled, original)
    if damaged is None or filled is None or original is None or gaps is None or damaged.size != filled.size:
        return None
    rows = [pictures.cut_tiles(strip, SHOWN) for strip in (damaged, filled, gaps, original)]
    titles = [f"{number}: {wording.fixed(psnr, 1)} dB" for number, psnr in images]
    return pictures.assemble_grid(list(zip(titles, map(list, zip(*rows, strict=True)), strict=False)))


def _disputed(study: Study, values: Mapping[str, Values]) -> DisputedImages | None:
    """Select images by the trained arms if there are two; the others would dominate the differences."""
    trained = [arm for arm in values if study.arm(arm).trains]
    compared = trained if len(trained) > 1 else list(values)
    if len(compared) < 2:
        return None
    known = np.stack([values[arm][_PSNR] for arm in compared])
    spread = known.std(axis=0, ddof=1)
    finite = int(np.isfinite(spread).sum())
    order = np.argsort(-spread, kind="stable")[:finite][:SHOWN]
    if not finite:
        return None
    rows = {arm: [float(of_arm[_PSNR][number]) for number in order] for arm, of_arm in values.items()}
    only_trained = compared == trained and len(compared) < len(values)
    over = f"{len(compared)} {'trained ' if only_trained else ''}arms"
    words = f"Images with the largest standard deviation of the {wording.label(METRIC)} over the {over}."
    return DisputedImages([int(number) for number in order], rows, [float(spread[number]) for number in order], words)


def _mean(study: Study, arm: str, values: Values) -> str:
    """The mean over images in words, with an interval over seeds and their images; '' if a file is missing."""
    seeds = _finished(study)[arm]
    used = seeds[: 1 if study.arm(arm).exact else MOST_SEEDS]
    read = _read(study, [_folder(study, arm, seed) for seed in used])
    folders = {seed: _folder(study, arm, seed) for seed in used}
    if any(folder not in read for folder in folders.values()):
        return ""
    by_seed = {seed: [v for v in read[folder][_PSNR].tolist() if np.isfinite(v)] for seed, folder in folders.items()}
    interval = intervals.clustered_mean(by_seed)
    if interval is None:
        return ""
    images = wording.count(int(np.isfinite(values[_PSNR]).sum()), "test image")
    figure = wording.with_unit(_figure(interval), METRIC)
    text = f"{wording.quoted(arm)}: mean {wording.label(METRIC)} {figure} over {images}"
    if study.arm(arm).exact:
        return f"{text} (one evaluation)."
    of = f" of {len(seeds)}" if len(used) < len(seeds) else ""
    if interval.n == 1:
        return f"{text} of one seed{of}; there is no interval, because its images share one network."
    how = "a clustered bootstrap, which resamples seeds and then images within seeds"
    return f"{text} and {interval.n}{of} seeds; the interval is from {how}."


def _figure(interval: intervals.Interval) -> str:
    digits = wording.decimals([interval])
    return f"{wording.fixed(interval.mean, digits)} {wording.brackets(interval, digits)}".rstrip()
