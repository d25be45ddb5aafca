"""Authentic photographs as the measure of a detector: their highest logits give the threshold for others like them."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from trainables.data.image_files import image_files
from trainables.detect import calibration
from trainables.detect.calibration import Threshold
from trainables.detect.metrics import Floats
from trainables.errors import TrialError
from trainables.inference import predict, python_images, scanning, user_images
from trainables.inference.python_images import ImageLike
from trainables.inference.user_images import Picture


@dataclass(frozen=True)
class AuthenticPhotographs:
    """What a detector says of authentic photographs. Legend: m photographs."""

    highest_m: Floats
    """Logit of each: the highest of its windows."""
    windows_m: tuple[int, ...]
    """Number of windows of each."""
    digests: frozenset[str]
    """Of each, by `digest`."""
    resized: bool = False
    """Whether each was resized to one window."""
    trial: str = ""
    """Of the detector."""

    def __len__(self) -> int:
        return len(self.windows_m)

    def threshold(self, rate: float, windows: int) -> Threshold:
        """The threshold for a photograph of so many windows. TrialError if there are too few for the rate.

        The number of windows does not change it; the origin states it beside those of the authentic photographs.
        """
        found = calibration.of_photographs(self.highest_m, rate)
        few, many = min(self.windows_m), max(self.windows_m)
        origin = {**found.origin, "windows": windows, "windows_of_authentic_photographs": [few, many]}
        if few <= windows <= many:
            return Threshold(found.logit, origin)
        seen = f"{few:,}" if few == many else f"{few:,} to {many:,}"
        words = f"{origin['statement']}, which have {seen} windows, while this one has {windows:,}"
        return Threshold(found.logit, {**origin, "statement": words}, words)

    def check_fits(self, picture: Picture, resize: bool, trial: str = "") -> None:
        """Raise TrialError unless a photograph is another one, and scanned in the same way by the same detector."""
        if trial != self.trial:
            raise TrialError(
                "the authentic photographs",
                f"trial {self.trial} scanned them, but trial {trial} is to look at this one",
                "the same detector for both",
                "trial.measure_authentic(photographs) with each detector",
            )
        if resize != self.resized:
            how = {True: "resized to one window", False: "scanned in windows"}
            raise TrialError(
                "the authentic photographs",
                f"they were {how[self.resized]}, but this one is to be {how[resize]}",
                "the same `resize` for both",
                f"measure_authentic(photographs, resize={resize})",
            )
        check_other(picture, self.digests)


def digest(picture: Picture) -> str:
    """Of the upright pixels, which are what a detector sees: an image and a copy in another format have the same."""
    upright = picture.upright()
    return hashlib.sha256(f"{upright.size}".encode() + upright.tobytes()).hexdigest()


def digests(pictures: Iterable[Picture]) -> frozenset[str]:
    """Of authentic photographs. TrialError if one is given twice, because the rate would count it as two."""
    found: dict[str, tuple[int, Path]] = {}
    for number, picture in enumerate(pictures, 1):
        mark = digest(picture)
        if mark in found:
            first, file = found[mark]
            raise TrialError(
                str(picture.file),
                f"it has the same pixels as {file}: they are authentic photographs {first:,} and {number:,}",
                "authentic photographs that are different",
                "remove the copy",
            )
        found[mark] = number, picture.file
    return frozenset(found)


def check_other(picture: Picture, digests: Container[str]) -> None:
    """Raise TrialError if a photograph in question is one of the authentic ones, of which the digests are given."""
    if digest(picture) in digests:
        raise TrialError(
            str(picture.file),
            "it is one of the authentic photographs that determine the threshold",
            "photographs in question that are not among the authentic ones",
            "move it, or its copy, out of the authentic photographs",
        )


def pictures(photographs: str | Path | Sequence[ImageLike]) -> Iterator[Picture]:
    """The images below a folder, or of a list, one after the other.

    Raises TrialError for a folder without images, at once, and for an image that cannot be used.
    """
    if isinstance(photographs, (str, Path)):
        folder = Path(photographs)
        return (user_images.read(folder / name) for name in image_files(folder, "authentic"))
    _check_list(photographs)
    return map(python_images.picture, photographs)


def check_count(photographs: str | Path | Sequence[ImageLike], rate: float) -> None:
    """Raise TrialError if a folder, or a list of images, has too few for the rate, before they are read."""
    calibration.checked_rate(rate)
    if isinstance(photographs, (str, Path)):
        calibration.rank_at(len(image_files(Path(photographs), "authentic")), rate)
    else:
        _check_list(photographs)
        calibration.rank_at(len(photographs), rate)


def _check_list(photographs: object) -> None:
    """Raise TrialError for one image or array, whose rows would count as photographs, and for a generator."""
    if not isinstance(photographs, Sequence):
        raise TrialError(
            f"authentic photographs of type {type(photographs).__name__}",
            "it is neither a folder nor a list",
            "a folder, or a list of images",
            "list(...) of several images, or [...] around one",
        )


def measure(
    network: nn.Module,
    config: Mapping[str, Any],
    photographs: str | Path | Sequence[ImageLike],
    resize: bool = False,
    trial: str = "",
    *,
    seen: frozenset[str] | None = None,
) -> AuthenticPhotographs:
    """Apply a detector to authentic photographs. config: the resolved configuration of `trial`. resize: see `detect`.

    seen: their digests, if all have been read before. Otherwise all are read before the first one is scanned, so that
    an image that cannot be used, or is given twice, is a TrialError before long work.
    """
    if seen is None:
        seen = digests(pictures(photographs))
    highest, windows = [], []
    for picture in pictures(photographs):
        scan = scanning.scan(network, config, predict.image_to_scan(config, picture, resize))
        highest.append(float(scan.logit_rc.max()))
        windows.append(scan.windows)
    return AuthenticPhotographs(np.array(highest, dtype=np.float64), tuple(windows), seen, resize, trial)
