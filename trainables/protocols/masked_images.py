"""The images of a protocol: squares cut from photographs, each with its hole.

Legend: h and w pixels. Pixels are 8-bit RGB; True is a hole.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainables.data.image_files import image_files, open_image
from trainables.errors import TrialError
from trainables.protocols import mask_sets
from trainables.protocols.generators import HoleArray, Square
from trainables.protocols.mask_sets import MaskSet
from trainables.protocols.protocol import ImagesConfig, Protocol

Pixels = npt.NDArray[np.uint8]
FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class MaskedImage:
    """A square with a hole."""

    name: str
    """The photograph: its path below the folder, without the ending."""
    group: str
    """The kind of mask; '' if a protocol has one."""
    pixels_hw3: Pixels
    """Empty where detections are rated: the photographs themselves are not read."""
    hole_hw: HoleArray

    @property
    def key(self) -> str:
        """The path of its files without ending: GROUP/NAME, or NAME."""
        return f"{self.group}/{self.name}" if self.group else self.name


class Checksum:
    """A checksum over images or masks in their order."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, key: str, values: npt.NDArray[np.uint8] | HoleArray) -> None:
        packed = np.packbits(values) if values.dtype == bool else values
        self._sha256.update(f"{key} {values.shape}\0".encode() + np.ascontiguousarray(packed).tobytes())

    @property
    def value(self) -> str:
        """16 hex digits."""
        return self._sha256.hexdigest()[:16]


def names_and_files(folder: Path, option: str = "--truth") -> dict[str, str]:
    """The images of a folder: name without ending -> file, sorted by name. Raises TrialError for a repeated name."""
    found: dict[str, str] = {}
    for file in image_files(folder, option):
        name = PurePosixPath(file).with_suffix("").as_posix()
        if name in found:
            raise TrialError(
                f"{option} {folder}",
                f"it has the image {name!r} twice: {found[name]} and {file}",
                "one file for each image",
                "move one of the two out of the folder",
            )
        found[name] = file
    return dict(sorted(found.items()))


class CutImages:
    """The images of a protocol, cut from pictures, by group for each picture."""

    def __init__(
        self, protocol: Protocol, names: Sequence[str], picture: Callable[[str], Image.Image], masks: MaskSet | None
    ) -> None:
        """names: of the pictures. picture: gives the one with a name, in RGB. masks: of a protocol with mask files."""
        self.protocol, self._names, self._picture, self._masks = protocol, names, picture, masks

    @property
    def keys(self) -> list[str]:
        """The keys of all images, in their order."""
        groups = [""] if self._masks is None else list(self._masks.groups)
        return [f"{group}/{name}" if group else name for name in self._names for group in groups]

    def __iter__(self) -> Iterator[MaskedImage]:
        """Raises TrialError for a photograph that does not decode, or for which no hole can be drawn."""
        for number, name in enumerate(self._names):
            photograph = _fitted(self._picture(name), self.protocol.images)
            if self._masks is None:
                hole_hw, square = _drawn(self.protocol, name, photograph)
                yield MaskedImage(name, "", photograph[square], hole_hw[square])
                continue
            square = _centre(photograph, self.protocol.images.size)
            for group, hole_hw in self._masks.holes(number):
                yield MaskedImage(name, group, photograph[square], hole_hw)


class Photographs(CutImages):
    """The images of a protocol, cut from a folder of photographs: sorted by name."""

    def __init__(
        self,
        protocol: Protocol,
        folder: Path,
        masks: Path | None = None,
        given: tuple[str, str] = ("--truth", "--masks"),
    ) -> None:
        """masks: folder of the mask files, for `masks: {name: files}` only. given: what names the two folders.

        Raises TrialError.
        """
        files = names_and_files(folder, given[0])

        def picture(name: str) -> Image.Image:
            return open_image(folder / files[name], given[0]).convert("RGB")

        super().__init__(protocol, list(files), picture, mask_sets.read(protocol, masks, given[1]))


def mask_seed(seed: int, name: str) -> int:
    """The seed of one image's hole. It depends on the protocol's seed and the image's name, not on other images."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big")


def _drawn(protocol: Protocol, name: str, photograph: Pixels) -> tuple[HoleArray, Square]:
    """The hole of a photograph, and the square to cut; both in px of the photograph."""
    options, kind, size = protocol.mask_options(), protocol.masks["name"], protocol.images.size
    square = _centre(photograph, size)
    hole_hw = np.zeros(photograph.shape[:2], bool)
    if kind == "centre":
        hole_hw[square] = mask_sets.centre(options, size)
        return hole_hw, square
    random = np.random.RandomState(mask_seed(options.seed, name))
    draw = importlib.import_module(f"trainables.protocols.generators.{kind}").draw
    if protocol.images.crop == "with_hole":
        try:
            return draw(options, *photograph.shape[:2], random)  # type: ignore[no-any-return]
        except ValueError as error:
            raise TrialError(
                name, str(error), "an image for which a hole can be drawn", "leave this image out"
            ) from None
    hole_hw[square], _ = draw(options, size, size, random)
    return hole_hw, square


# --- squares ----------------------------------------------------------------------------------------------------------


def _fitted(picture: Image.Image, images: ImagesConfig) -> Pixels:
    """A photograph whose sides are at least the size of the square."""
    if images.fit == "pad":
        pixels = np.asarray(picture)
        missing = [(0, max(0, images.size - side)) for side in pixels.shape[:2]]
        return np.pad(pixels, [*missing, (0, 0)], mode="symmetric")
    factor = images.size / min(picture.size)
    width, height = (int(np.round(side * factor)) for side in picture.size)
    return np.asarray(picture.resize((width, height), FILTERS[images.filter]))


def _centre(pixels: Pixels, size: int) -> Square:
    top, left = ((side - size) // 2 for side in pixels.shape[:2])
    return slice(top, top + size), slice(left, left + size)
