"""A folder with the images and masks of a protocol, for another program to fill.

protocol.json     name, hash and content of the protocol, and the checksums of all images and masks
images/KEY.png    the originals
masks/KEY.png     white: fill this
damaged/KEY.png   the originals with black holes
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field, ValidationError, model_validator

from trainables.config.sections import StrictConfig
from trainables.data.image_files import open_image, read_grey
from trainables.errors import TrialError
from trainables.protocols.generators import HoleArray
from trainables.protocols.masked_images import Checksum, CutImages, MaskedImage

INDEX = "protocol.json"
IMAGES, MASKS, DAMAGED = PARTS = ("images", "masks", "damaged")


def write(images: CutImages, folder: Path, head: Mapping[str, Any]) -> int:
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
    index = ExportIndex.model_validate({**head, "grouped": grouped, "checksums": checksums}).model_dump()
    (folder / INDEX).write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return len(checksums)


class ExportIndex(StrictConfig):
    """The content of `protocol.json`."""

    name: str = Field(description="name of the protocol")
    hash: str = Field(description="hash of the protocol")
    evaluation: dict[str, Any] = Field(description="what is hashed")
    grouped: bool = Field(description="whether keys are GROUP/NAME, and not NAME")
    checksums: dict[str, Annotated[list[str], Field(min_length=2, max_length=2)]] = Field(
        min_length=1, description="key of each image -> checksums of its pixels and of its mask"
    )

    @model_validator(mode="after")
    def _keys_stay_below_the_folder(self) -> ExportIndex:
        for key in self.checksums:
            path = PurePosixPath(key)
            if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in key:
                raise ValueError(f"the key {key!r} is no path below the folder")
            if self.grouped and not all(key.partition("/")):
                raise ValueError(f"the key {key!r} has no group")
        return self


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
            self.index = ExportIndex.model_validate(json.loads((folder / INDEX).read_text(encoding="utf-8")))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            why = ": ".join(part for part in (".".join(map(str, first["loc"])), first["msg"]) if part)
        except (OSError, ValueError, RecursionError) as error:
            why = str(error)
        else:
            return
        allowed = "the file that `sweeps export-protocol` has written"
        raise TrialError(str(folder / INDEX), f"it cannot be read: {why}", allowed, "export the protocol again")

    @property
    def keys(self) -> list[str]:
        return list(self.index.checksums)

    def __iter__(self) -> Iterator[MaskedImage]:
        """Raises TrialError, which names the file, for an image or mask that was changed after the export."""
        for key, checksums in self.index.checksums.items():
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
            if pixels_hw3.shape[:2] != hole_hw.shape:
                why, allowed = f"it has another size than {image}", "a mask of the size of its image"
                raise TrialError(str(mask), why, allowed, "export the protocol again")
            group, _, name = key.partition("/") if self.index.grouped else ("", "", key)
            yield MaskedImage(name, group, pixels_hw3, hole_hw)


def is_exported(folder: Path) -> bool:
    """Whether a folder is one that `write` has made."""
    return (folder / INDEX).is_file()
