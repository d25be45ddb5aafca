"""Finds and opens the image and mask files of a configuration, with errors for missing and damaged files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from pydantic import Field, model_validator

from trainables.config.model_sections import ModelConfig
from trainables.data.listing import data_files, is_junk
from trainables.errors import TrialError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


def path_below(root: Path | None, path: str, key: str) -> Path:
    """`root / path`, for a file or folder named in the configuration. Raises TrialError if it does not exist."""
    if root is None:
        raise TrialError(
            f"{key}: {path!r}",
            "no data root was given",
            "a path below the data root",
            "set SWEEPS_DATA to the folder that holds your data",
        )
    if Path(path).is_absolute() or ".." in Path(path).parts or not path:
        raise TrialError(
            f"{key}: {path!r}",
            "it leads out of the data root, which differs between machines",
            "a path relative to the data root, without `..`",
            f"{key}: the part of the path below {root}",
        )
    if not (root / path).exists():
        near = (
            sorted(p.name for p in root.iterdir() if not p.name.startswith(".") and not is_junk(p.name))
            if root.is_dir()
            else []
        )
        raise TrialError(
            f"{key}: {path!r}",
            f"{root / path} does not exist",
            f"what is below {root}: {', '.join(near[:10]) or 'nothing'}",
            f"change `{key}`, or set SWEEPS_DATA to another data root",
        )
    return root / path


def image_files(folder: Path, key: str) -> list[str]:
    """Names of the images below a folder, relative to it and sorted; see `trainables.data.listing`.

    Raises TrialError if it is not a folder or has no images.
    """
    names = sorted(file.relative_to(folder).as_posix() for file in data_files(folder) if is_image(file.name))
    if not names:
        raise TrialError(
            f"{key}: {folder}",
            "it has no images" if folder.is_dir() else "it is not a folder",
            f"a folder with files that end in {', '.join(SUFFIXES)}",
            f"change `{key}`, or put images there",
        )
    return names


def is_image(name: str) -> bool:
    """Whether a file has the name of an image."""
    return Path(name).suffix.lower() in SUFFIXES


LEFT_OUT = 0.01
"""Largest share of the files of a data set that may be left out because they cannot be used."""


def unreadable(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """The files that are no images, each with the reason. Only their first bytes are read: the check is fast."""

    def trouble(name: str) -> str:
        try:
            with Image.open(folder / name):
                return ""
        except Exception as error:  # Pillow's decoders raise errors of any type for damaged files
            return f"it does not decode: {_reason(error, folder / name)}"

    with ThreadPoolExecutor(max_workers=4) as pool:
        return {name: why for name, why in zip(names, pool.map(trouble, names), strict=True) if why}


def _reason(error: Exception, file: Path) -> str:
    """Pillow's reason without the name of the file, which the caller tells."""
    return str(error).replace(f" {str(file)!r}", "") or type(error).__name__


def check_left_out(damaged: Mapping[str, str], of: int, folder: Path, key: str) -> None:
    """Raise TrialError, which names the files, if more than 1 % of `of` files cannot be used. damaged: name -> why."""
    if len(damaged) <= LEFT_OUT * of:
        return
    raise TrialError(
        f"{key}: {folder}",
        f"{len(damaged):,} of {of:,} files cannot be used: {with_reasons(damaged)}",
        f"at most {LEFT_OUT:.0%} unusable files, which are left out and named",
        "restore these files, or move them out of the folder",
        key,
    )


def with_reasons(damaged: Mapping[str, str]) -> str:
    """The first 20 files with their reasons, on one line."""
    first = "; ".join(f"{name} ({why})" for name, why in sorted(damaged.items())[:20])
    return first + (f"; and {len(damaged) - 20:,} more" if len(damaged) > 20 else "")


def open_image(file: Path, key: str) -> Image.Image:
    """A decoded image, turned upright by its EXIF tag. Raises TrialError if the file does not decode."""
    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"its pixels have more than 8 bits (mode {image.mode})")
            return ImageOps.exif_transpose(image)
    except Exception as error:  # Pillow's decoders raise errors of any type for damaged files
        raise TrialError(
            f"{key}: {file}",
            f"it does not decode: {_reason(error, file)}",
            "images with 8 bits per channel that Pillow can read",
            "replace the file, or move it out of the folder",
        ) from error


WHITE = 128
"""Least grey value of a pixel that is white in a mask."""


def read_grey(image: Image.Image) -> Image.Image:
    """The image of a mask as 8-bit grey, of which `WHITE` and above is white: colours count by their luminance.

    Transparency is dropped, and 16 bits are reduced to 8. Training, forging, public sets and `predict` read masks so.
    """
    if image.mode.startswith("I"):
        import numpy as np  # here, so that `sweeps check` does not wait for it

        return Image.fromarray((np.asarray(image).astype(np.int64) // 257).clip(0, 255).astype(np.uint8))
    return image.convert("L")


def whites_in_words(image: Image.Image) -> str:
    """Why a mask may have no white pixel, or nothing else: what its grey values are."""
    lowest, highest = read_grey(image).getextrema()
    words = f"its grey values are {lowest} to {highest}" if lowest != highest else f"all of its pixels are {lowest}"
    if (lowest, highest) in ((0, 1), (1, 1)):
        words += ": 0 and 1 instead of 0 and 255"
    if image.mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in image.info:
        words += ", and its transparency is not read"
    return f"{words}; white is {WHITE} and above"


class FolderConfig(ModelConfig):
    """Base `Config` of a model that reads a folder of images."""

    path: str = Field(description="absolute path of the image folder, the same on every machine that runs trials")
    digest: str | None = Field(
        None, description="hash of the files, filled in automatically, so that other images make another trial"
    )

    @model_validator(mode="before")
    @classmethod
    def _with_digest(cls, given: Any) -> Any:
        if isinstance(given, dict) and not given.get("digest") and Path(str(given.get("path"))).is_dir():
            return {**given, "digest": digest(Path(given["path"]))}
        return given

    def check(self, mask: Mapping[str, Any], size: int) -> None:
        """Raise TrialError if the folder does not exist or has no images."""
        if not Path(self.path).is_absolute():
            raise TrialError(
                f"model.path: {self.path!r}",
                "it is a relative path, and every trial has its own working directory",
                "an absolute path",
                f"model.path: {Path(self.path).resolve()}",
                "model.path",
            )
        image_files(Path(self.path), "model.path")


def digest(folder: Path) -> str:
    """16 hex digits that change with the name or content of any file below a folder; see `trainables.data.listing`."""
    sha256 = hashlib.sha256()
    for file in data_files(folder):
        sha256.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return sha256.hexdigest()[:16]
