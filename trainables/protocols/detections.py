"""Detections of any program: for each photograph a grey map, in which bright pixels are manipulated.

Legend: h and w pixels, v values of a map from 0 to the largest one, n pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainables.data.image_files import WHITE, open_image, read_grey
from trainables.errors import TrialError
from trainables.protocols.fills import check_names
from trainables.protocols.masked_images import MaskedImage, names_and_files
from trainables.protocols.protocol import DetectionProtocol
from trainables.protocols.rating import RateFunction

Map = npt.NDArray[np.uint16]
"""Probabilities as whole numbers from 0 to `LARGEST`."""
LARGEST = 65_535
_GREY = ("L", "1", "I;16", "I")
"""Pillow's modes of grey images with whole numbers."""
_NO_PIXELS = np.empty((0, 0, 3), np.uint8)


class TrueMasks:
    """The true masks of a protocol: a folder in which manipulated pixels are white."""

    def __init__(self, protocol: DetectionProtocol, folder: Path) -> None:
        """Raises TrialError for a name without the suffix of the protocol, and for a mask that is there twice."""
        self.folder, suffix = folder, protocol.maps.truth_suffix
        files = names_and_files(folder)
        wrong = [file for name, file in files.items() if not name.endswith(suffix)]
        if wrong:
            raise TrialError(
                f"--truth {folder}",
                f"the name of {wrong[0]} does not end in {suffix!r}, like {len(wrong):,} of {len(files):,}",
                f"the true masks of the protocol, NAME{suffix}.png for the photograph NAME",
                "name the folder of the masks, not that of the photographs",
            )
        self._files = {name.removesuffix(suffix): file for name, file in files.items()}

    @property
    def keys(self) -> list[str]:
        return list(self._files)

    def __iter__(self) -> Iterator[MaskedImage]:
        """Raises TrialError for a mask that `manipulated` refuses, and after the last one if none shows anything."""
        some = False
        for name, file in self._files.items():
            true_hw = manipulated(self.folder / file)
            some |= bool(true_hw.any())
            yield MaskedImage(name, "", _NO_PIXELS, true_hw)
        if not some:
            raise TrialError(
                f"--truth {self.folder}",
                f"none of its {len(self._files):,} masks has a white pixel",
                f"masks that are white (at least {WHITE}) where a photograph was manipulated",
                "name the folder of the true masks; invert masks that are black there",
            )


def manipulated(file: Path) -> npt.NDArray[np.bool_]:
    """The manipulated pixels of a true mask. Raises TrialError for values of 0 and 1, and for transparency."""
    picture = open_image(file, "--truth")
    grey = read_grey(picture)
    why = ""
    if picture.has_transparency_data and picture.convert("RGBA").getextrema()[-1][0] < 255:  # type: ignore[index]
        why, fix = "it has an alpha channel, which could be the mask itself", "save the mask as one grey channel"
    elif grey.getextrema()[-1] == 1:
        why, fix = "its grey values are 0 and 1 instead of 0 and 255", "multiply the masks by 255"
    if why:
        raise TrialError(f"--truth: {file}", why, f"a grey mask; {WHITE} and above is manipulated", fix)
    return np.asarray(grey) >= WHITE


@dataclass(frozen=True)
class MapFolder:
    """A folder of maps, named like the photographs."""

    folder: Path

    @cached_property
    def _files(self) -> dict[str, str]:
        return names_and_files(self.folder, "maps")

    def check(self, keys: Sequence[str]) -> None:
        """Raise TrialError if the folder has maps of other photographs than these, or if all values are 0 and 1.

        Maps are read until one has a larger value: as a rule the first.
        """
        check_names(f"maps {self.folder}", self._files, keys, "name each map like its photograph")
        largest = 0
        for key in keys:
            mode, values = _opened(self.folder / self._files[key])
            largest = max(largest, int(values.max(initial=0))) if mode in _GREY else LARGEST  # `map` refuses others
            if largest > 1:
                return
        if largest == 1:
            raise TrialError(
                f"maps {self.folder}",
                f"the values of all {len(keys):,} maps are 0 and 1, which are probabilities of nearly 0",
                f"values from 0 to 255, or from 0 to {LARGEST:,}",
                "multiply the maps by 255",
            )

    def map(self, image: MaskedImage) -> Map:
        """A map of 8 or 16 bits. Raises TrialError for colour, an alpha channel, another size and larger values."""
        file = self.folder / self._files[image.key]
        mode, values = _opened(file)
        height, width = image.hole_hw.shape
        if mode not in _GREY:
            why, fix = f"it is no grey image (mode {mode})", "save the probabilities as one grey channel"
        elif values.shape != (height, width):
            why = f"it has {values.shape[1]} x {values.shape[0]} px"
            fix = "resize the map to the photograph, and not the photograph"
        elif values.size and not 0 <= int(values.min()) <= int(values.max()) <= LARGEST:
            why = f"it has values from {int(values.min()):,} to {int(values.max()):,}"
            fix = f"save probabilities p as 16 bits: round({LARGEST:,} p)"
        else:
            return values.astype(np.uint16) * np.uint16({"L": 257, "1": 257}.get(mode, 1))
        raise TrialError(
            f"map {file}", why, f"a grey image of 8 or 16 bits (values 0 to {LARGEST:,}) and {width} x {height} px", fix
        )


def _opened(file: Path) -> tuple[str, npt.NDArray[Any]]:
    """The mode and the values of a map; of the mode `1`, 0 and 255. Raises TrialError if it does not decode."""
    try:
        with Image.open(file) as opened:
            opened.load()
            mode = opened.mode
            return mode, np.asarray(opened.convert("L") if mode == "1" else opened)
    except Exception as error:  # Pillow's decoders raise errors of any type for damaged files
        why, fix = f"it does not decode: {error}", "write it again"
        raise TrialError(f"map {file}", why, "a grey image", fix) from error


class AllPixels:
    """Baseline: every pixel is detected."""

    def check(self, keys: Sequence[str]) -> None:
        """It has a map of every photograph."""

    def map(self, image: MaskedImage) -> Map:
        return np.full(image.hole_hw.shape, LARGEST, np.uint16)


def rates(protocol: DetectionProtocol) -> RateFunction:
    """The function that rates a map of one photograph."""
    least = int(np.floor(protocol.maps.threshold * LARGEST)) + 1

    def rate_map(source: MapFolder | AllPixels, image: MaskedImage) -> tuple[dict[str, float], int, int]:
        true_hw, map_hw = image.hole_hw, source.map(image)
        if not true_hw.any():
            nothing = 0.0 if protocol.maps.unmanipulated == "zero" else float("nan")
            return dict.fromkeys(protocol.metrics, nothing), 0, 0
        return map_values(map_hw, true_hw, least), 0, 0

    return rate_map


def map_values(map_hw: Map, true_hw: npt.NDArray[np.bool_], least: int) -> dict[str, float]:
    """All metrics of one map. least: smallest value of a detected pixel. AUC is NaN if every pixel is manipulated."""
    detected_hw = map_hw >= least
    both, either = int((detected_hw & true_hw).sum()), int((detected_hw | true_hw).sum())
    return {
        "pixel_f1": 2 * both / (both + either),
        "pixel_iou": both / either,
        "pixel_auc": _auc(map_hw[true_hw], map_hw[~true_hw]),
    }


def _auc(inside_n: Map, outside_n: Map) -> float:
    """How often a manipulated pixel has the larger value than another one; equal values count half."""
    if not len(outside_n):
        return float("nan")
    inside_v, outside_v = (np.bincount(values, minlength=LARGEST + 1) for values in (inside_n, outside_n))
    smaller_v = np.cumsum(outside_v) - outside_v
    return float((inside_v * (smaller_v + outside_v / 2)).sum() / (len(inside_n) * len(outside_n)))
