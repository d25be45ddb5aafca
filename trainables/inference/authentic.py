"""Authentic photographs as the measure of a detector: their highest logits give the threshold for others like them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from trainables.inference import predict, scanning, user_images
from trainables.inference.user_images import Picture


@dataclass(frozen=True)
class AuthenticPhotographs:
    """What a detector says of authentic photographs. Legend: m photographs."""

    highest_m: Floats
    """Logit of each: the highest of its windows."""
    windows_m: tuple[int, ...]
    """Number of windows of each."""
    digests: frozenset[str]
    """Of their pixels."""
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
        if digest(picture) in self.digests:
            raise TrialError(
                str(picture.file),
                "it is one of the authentic photographs that determine the threshold",
                "photographs in question that are not among the authentic ones",
                "move it, or its copy, out of the authentic photographs",
            )


def digest(picture: Picture) -> str:
    """Of the pixels as stored and their orientation."""
    about = f"{picture.stored.mode} {picture.size} {picture.orientation}".encode()
    return hashlib.sha256(about + picture.stored.tobytes()).hexdigest()


def pictures(folder: Path) -> Iterator[Picture]:
    """The images below a folder. TrialError if it has none, and for one that cannot be read."""
    return (user_images.read(folder / name) for name in image_files(folder, "authentic photographs"))


def check_count(photographs: str | Path | Sequence[Any], rate: float) -> None:
    """Raise TrialError if a folder, or a sequence of images, has too few for the rate, before they are scanned."""
    calibration.checked_rate(rate)
    if isinstance(photographs, (str, Path)):
        photographs = image_files(Path(photographs), "authentic photographs")
    calibration.rank_at(len(photographs), rate)


def measure(
    network: nn.Module, config: Mapping[str, Any], pictures: Iterable[Picture], resize: bool = False, trial: str = ""
) -> AuthenticPhotographs:
    """Apply a detector to authentic photographs. config: the resolved configuration of `trial`. resize: see `detect`.

    Raises TrialError if one of them is given twice, because the rate would count it as two.
    """
    highest, windows, digests = [], [], set[str]()
    for picture in pictures:
        mark = digest(picture)
        if mark in digests:
            raise TrialError(
                str(picture.file),
                "an authentic photograph with the same pixels was given before",
                "authentic photographs that are different",
                "remove the copy",
            )
        digests.add(mark)
        scan = scanning.scan(network, config, predict.image_to_scan(config, picture, resize))
        highest.append(float(scan.logit_rc.max()))
        windows.append(scan.windows)
    return AuthenticPhotographs(np.array(highest, dtype=np.float64), tuple(windows), frozenset(digests), resize, trial)
