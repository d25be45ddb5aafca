"""Finds and opens the image and mask files of a configuration, with errors for missing and damaged files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from pydantic import Field, model_validator

from trainables.config.model_sections import ModelConfig
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
        near = sorted(p.name for p in root.iterdir() if not p.name.startswith(".")) if root.is_dir() else []
        raise TrialError(
            f"{key}: {path!r}",
            f"{root / path} does not exist",
            f"what is below {root}: {', '.join(near[:10]) or 'nothing'}",
            f"change `{key}`, or set SWEEPS_DATA to another data root",
        )
    return root / path


def image_files(folder: Path, key: str) -> list[str]:
    """Names of the images below a folder, relative to it and sorted, without hidden files.

    Raises TrialError if it is not a folder or has no images.
    """
    files = [p.relative_to(folder) for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()]
    names = sorted(p.as_posix() for p in files if not any(part.startswith(".") for part in p.parts))
    if not names:
        raise TrialError(
            f"{key}: {folder}",
            "it has no images" if folder.is_dir() else "it is not a folder",
            f"a folder with files that end in {', '.join(SUFFIXES)}",
            f"change `{key}`, or put images there",
        )
    return names


def is_foreign(name: str) -> bool:
    """Whether a file or folder of this name belongs to the system or an editor, not to the data."""
    return name.startswith(".") or name.endswith("~") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")


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
            f"it does not decode: {error or type(error).__name__}",
            "images with 8 bits per channel that Pillow can read",
            "replace the file, or move it out of the folder",
        ) from error


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
    """16 hex digits that change with the name or content of a file below a folder; files of the system do not count."""
    sha256 = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not any(map(is_foreign, file.relative_to(folder).parts)):
            sha256.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return sha256.hexdigest()[:16]
