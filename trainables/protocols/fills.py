"""Fills of any program: a folder with one image for each image of a protocol, and fills without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from trainables import registry
from trainables.data.image_files import open_image
from trainables.errors import TrialError
from trainables.protocols.masked_images import MaskedImage, Pixels, names_and_files

UNTRAINED = ("mean_fill", "onion_peel", "telea")
"""Methods without training that are part of every table."""
_PNG = b"\x89PNG\r\n\x1a\n"
_BIT_DEPTH = 24
"""Place of the bit depth in a PNG file."""
_TIFF_BITS = 258
"""The tag of a TIFF file with the bits of each channel."""
_NAMED = 5


@dataclass(frozen=True)
class FillFolder:
    """A folder of filled images, named like the images of the protocol."""

    folder: Path

    @cached_property
    def _files(self) -> Mapping[str, str]:
        return names_and_files(self.folder, "fills")

    def check(self, keys: Sequence[str]) -> None:
        """Raise TrialError if the folder has other images than these."""
        export = "sweeps export-protocol NAME --truth DIR --out DIR writes the images with their names and masks"
        check_names(f"fills {self.folder}", self._files, keys, export)

    def fill(self, image: MaskedImage) -> Pixels:
        """The filled image. Raises TrialError for another size, an alpha channel, and 16 bits."""
        file = self.folder / self._files[image.key]
        picture = open_image(file, "fills")
        height, width = image.hole_hw.shape
        if _bits(file) > 8:
            why, fix = "it has 16 bits for each channel", "save it with 8 bits: values would be rounded on reading"
        elif picture.mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in picture.info:
            why, fix = "it has an alpha channel", "save it as RGB, blended as your program means it"
        elif picture.size != (width, height):
            why, fix = f"it has {picture.width} x {picture.height} px", "fill the exported images, and do not resize"
        else:
            return np.asarray(picture.convert("RGB"))
        raise TrialError(f"fill {file}", why, f"an RGB image of 8 bits and {width} x {height} px", fix)


def _bits(file: Path) -> int:
    """The bits of each channel of a PNG or TIFF file, which Pillow may open as an image of 8 bits; 8 for others."""
    with file.open("rb") as stream:
        head = stream.read(_BIT_DEPTH + 1)
    if head.startswith(_PNG):
        return head[_BIT_DEPTH]
    with Image.open(file) as opened:
        bits = getattr(opened, "tag_v2", {}).get(_TIFF_BITS, 8)
    return max(bits) if isinstance(bits, tuple) else int(bits)


def check_first(folder: FillFolder, images: Sequence[MaskedImage]) -> None:
    """Raise TrialError if a folder has the damaged images or the masks themselves, by the first images of a protocol.

    images: some of them that have a hole.
    """
    found: list[set[str]] = []
    for image in images:
        fill_hw3, hole_hw1 = folder.fill(image), image.hole_hw[..., None]
        damaged_hw3 = np.where(hole_hw1, np.uint8(0), image.pixels_hw3)
        is_damaged = (fill_hw3 == damaged_hw3).all() and (damaged_hw3 != image.pixels_hw3).any()
        is_mask = any((fill_hw3 == np.where(hole_hw1, hole, 255 - hole)).all() for hole in (0, 255))
        found.append({"damaged images, whose holes are black"} if is_damaged else {"masks"} if is_mask else set())
    for what in set.intersection(*found) if found else ():
        raise TrialError(
            f"fills {folder.folder}",
            f"it has the {what}, and not fills: {', '.join(image.key for image in images)}",
            "the images that a program has filled",
            "name the folder that the program has written",
        )


def check_names(given: str, files: Mapping[str, str], keys: Sequence[str], fix: str) -> None:
    """Raise TrialError if a folder has files of other names than these. given, fix: parts of the error."""
    wanted = set(keys)
    missing = [key for key in keys if key not in files]
    others = [file for key, file in files.items() if key not in wanted]
    if not missing and not others:
        return
    parts = [f"{len(missing):,} of {len(keys):,} are missing: {_first(missing)}"] if missing else []
    parts += [f"{len(others):,} have other names: {_first(others)}"] if others else []
    raise TrialError(
        given,
        f"it has {len(files):,} images, and the protocol has {len(keys):,}; " + "; ".join(parts),
        "one image for each image of the protocol, under the same name",
        fix,
    )


def _first(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


class UntrainedFill:
    """A fill by a method of ours without training, rounded to 8 bits like everybody's."""

    def __init__(self, name: str, size: int) -> None:
        code = registry.find("method", name)
        self._network: nn.Module = code.load().build(code.config(), size).eval()

    def check(self, keys: Sequence[str]) -> None:
        """It fills every image."""

    def fill(self, image: MaskedImage) -> Pixels:
        pixels_13hw = torch.from_numpy(image.pixels_hw3.copy()).permute(2, 0, 1)[None].float() / 255
        mask_11hw = torch.from_numpy(image.hole_hw)[None, None].float()
        with torch.inference_mode():
            output_13hw = self._network(pixels_13hw * (1 - mask_11hw), mask_11hw).clamp(0, 1)
        filled = output_13hw[0].mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        return np.where(image.hole_hw[..., None], filled, image.pixels_hw3)
