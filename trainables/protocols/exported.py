"""A folder with the images and masks of a protocol, for another program to fill.

protocol.json     name, hash and content of the protocol, and the checksums of all images and masks
images/KEY.png    the originals
masks/KEY.png     white: fill this
damaged/KEY.png   the originals with black holes
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainables.data.image_files import open_image, read_grey
from trainables.errors import TrialError
from trainables.protocols.generators import HoleArray
from trainables.protocols.masked_images import Checksum, MaskedImage, Photographs

INDEX = "protocol.json"
IMAGES, MASKS, DAMAGED = "images", "masks", "damaged"


def write(images: Photographs, folder: Path, head: Mapping[str, Any]) -> int:
    """Write the images, and return their number. head: what `protocol.json` says of the protocol."""
    checksums, grouped = {}, False
    for one in images:
        grouped = bool(one.group)
        files = {
            IMAGES: one.pixels_hw3,
            MASKS: one.hole_hw.astype(np.uint8) * 255,
            DAMAGED: np.where(one.hole_hw[..., None], np.uint8(0), one.pixels_hw3),
        }
        for kind, pixels in files.items():
            file = folder / kind / f"{one.key}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
        checksums[one.key] = [_checksum(one.key, one.pixels_hw3), _checksum(one.key, one.hole_hw)]
    index = {**head, "grouped": grouped, "checksums": checksums}
    (folder / INDEX).write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return len(checksums)


def _checksum(key: str, values: npt.NDArray[np.uint8] | HoleArray) -> str:
    checksum = Checksum()
    checksum.add(key, values)
    return checksum.value


class ExportedImages:
    """The images of a folder that `write` has made."""

    def __init__(self, folder: Path) -> None:
        """Raises TrialError if `protocol.json` cannot be read."""
        self.folder = folder
        try:
            self.head: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            self._checksums: dict[str, list[str]] = self.head.pop("checksums")
            assert {"name", "hash", "evaluation", "grouped"} <= set(self.head)
        except (OSError, ValueError, KeyError, AttributeError, AssertionError) as error:
            why = f"it cannot be read: {error or 'a part is missing'}"
            allowed = "the file that `sweeps export-protocol` has written"
            raise TrialError(str(folder / INDEX), why, allowed, "export the protocol again") from None

    @property
    def keys(self) -> list[str]:
        return list(self._checksums)

    def __iter__(self) -> Iterator[MaskedImage]:
        """Raises TrialError, which names the file, for an image or mask that was changed after the export."""
        for key, checksums in self._checksums.items():
            image, mask = (self.folder / kind / f"{key}.png" for kind in (IMAGES, MASKS))
            pixels_hw3 = np.asarray(open_image(image, "--truth").convert("RGB"))
            hole_hw = np.asarray(read_grey(open_image(mask, "--truth"))) > 0
            for file, values, checksum in ((image, pixels_hw3, checksums[0]), (mask, hole_hw, checksums[1])):
                if _checksum(key, values) != checksum:
                    raise TrialError(
                        str(file),
                        "it was changed after it was exported: its checksum is another one",
                        "the images and masks as `sweeps export-protocol` has written them",
                        "export the protocol again, and fill those images",
                    )
            group, _, name = key.partition("/") if self.head["grouped"] else ("", "", key)
            yield MaskedImage(name, group, pixels_hw3, hole_hw)


def is_exported(folder: Path) -> bool:
    """Whether a folder is one that `write` has made."""
    return (folder / INDEX).is_file()
