"""Rates fills, or detections, by the metrics of a protocol, image by image."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from trainables.cpus import usable_cpus
from trainables.inpaint.evaluation.metrics import per_image
from trainables.protocols.masked_images import Checksum, MaskedImage, Pixels

_AT_ONCE = 64
"""Images that are in memory at a time."""


class ImageSource(Protocol):
    """The images of a protocol: `Photographs`, `ExportedImages`, or `TrueMasks` of detections."""

    @property
    def keys(self) -> list[str]:
        """The keys of all images, in their order."""

    def __iter__(self) -> Iterator[MaskedImage]: ...


class FillSource(Protocol):
    """Fills of one program, or of one training run of it."""

    def check(self, keys: list[str]) -> None:
        """Raise TrialError if it does not have exactly these fills."""

    def fill(self, image: MaskedImage) -> Pixels:
        """The filled image, 8-bit RGB of the same size."""


@dataclass
class RatedFills:
    """The values of one source of fills, in the order of the images."""

    values: dict[str, list[float]] = field(default_factory=dict)
    """Metric -> value of each image; NaN where it does not apply."""
    changed_px: list[int] = field(default_factory=list)
    """Known pixels of each image that differ from the original. The metrics take the original there."""
    largest_change: int = 0
    """Largest difference of a known pixel, in 8-bit values."""


@dataclass
class Rating:
    """Fills that were rated on the same images."""

    names: list[str]
    """The photograph of each image."""
    groups: list[str]
    """Its kind of mask; '' where there is one."""
    hole_fractions: list[float]
    fills: dict[str, RatedFills]
    images_digest: str
    masks_digest: str
    """Checksums over all images and over all masks, with their keys."""


RateFunction = Callable[[Any, MaskedImage], tuple[dict[str, float], int, int]]
"""Gives the metrics of what a source has for an image, the known pixels that it changed, and their largest change."""


def rate(
    images: ImageSource,
    sources: Mapping[str, FillSource],
    metrics: list[str],
    progress: Callable[[int, int], None] = lambda done, of: None,
    rated_one: RateFunction | None = None,
) -> Rating:
    """Rate all sources on all images; each image is read once. Raises TrialError for fills that cannot be used.

    sources: by label. progress: called with the number of images that are done, and of all.
    rated_one: rates what a source has for an image; None: as a fill.
    """
    one = rated_one or rate_fill
    keys = images.keys
    for source in sources.values():
        source.check(keys)
    rated = {label: RatedFills({name: [] for name in metrics}) for label in sources}
    of_images, of_masks = Checksum(), Checksum()
    names, groups, holes = [], [], []
    with one_thread_each() as pool:
        waiting = iter(images)
        while some := list(itertools.islice(waiting, _AT_ONCE)):
            jobs = [[pool.submit(one, source, image) for source in sources.values()] for image in some]
            for image, results in zip(some, jobs, strict=True):
                of_images.add(image.key, image.pixels_hw3)
                of_masks.add(image.key, image.hole_hw)
                names.append(image.name)
                groups.append(image.group)
                holes.append(float(image.hole_hw.mean()))
                for own, result in zip(rated.values(), results, strict=True):
                    _add(own, *result.result())
                progress(len(names), len(keys))
    return Rating(names, groups, holes, rated, of_images.value, of_masks.value)


@contextlib.contextmanager
def one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """A worker for each usable CPU, and one thread for each operation: bits do not depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(usable_cpus(), initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def rate_fill(source: FillSource, image: MaskedImage) -> tuple[dict[str, float], int, int]:
    """All metrics of a fill, the number of known pixels that it changed, and the largest change."""
    fill, mask_11hw = source.fill(image), torch.from_numpy(image.hole_hw)[None, None].float()
    with torch.inference_mode():
        values = per_image(_tensor(fill), _tensor(image.pixels_hw3), mask_11hw)  # alone: a batch may change last bits
    change_n = np.abs(fill.astype(np.int16) - image.pixels_hw3).max(-1)[~image.hole_hw]
    plain = {name: value.item() for name, value in values.items()}
    return plain, int((change_n > 0).sum()), int(change_n.max(initial=0))


def _add(rated: RatedFills, values: Mapping[str, float], changed_px: int, largest: int) -> None:
    for name, column in rated.values.items():
        column.append(values[name])
    rated.changed_px.append(changed_px)
    rated.largest_change = max(rated.largest_change, largest)


def _tensor(pixels_hw3: Any) -> Tensor:
    return torch.from_numpy(pixels_hw3.copy()).permute(2, 0, 1)[None].float().div_(255)
