"""Encodes and decodes images with OpenCV, and writes tar files whose bytes depend only on their content."""

from __future__ import annotations

import io
import re
import struct
import tarfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import cv2
import numpy as np
from PIL import Image

from trainables.data.splits import Pixels

SUFFIX = {"png": "png", "jpeg": "jpg", "webp": "webp"}
_MEMBER = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9]+)+")
_PARAMETER = {"jpeg": cv2.IMWRITE_JPEG_QUALITY, "webp": cv2.IMWRITE_WEBP_QUALITY}


def encode(pixels: Pixels, encoder: Mapping[str, Any], quality: int = 0) -> bytes:
    """The content of an image file from pixels (h, w, 3) in RGB, or (h, w).

    encoder: a resolved section.
    quality: for lossy encoders.
    """
    name = encoder["name"]
    parameters = [cv2.IMWRITE_PNG_COMPRESSION, encoder["level"]] if name == "png" else [_PARAMETER[name], quality]
    image = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    done, data = cv2.imencode(f".{SUFFIX[name]}", image, parameters)
    assert done, f"OpenCV cannot write {name}"
    return bytes(data)


def drawn_quality(encoder: Mapping[str, Any], uniform: float) -> int:
    """The quality that a draw in [0, 1) stands for; 0 for PNG, which has none."""
    if encoder["name"] == "png":
        return 0
    low, high = encoder["quality"]
    return int(low) + int(uniform * (high - low + 1))


def decode(data: bytes, grey: bool = False, size: int | None = None) -> Pixels | None:
    """The pixels of an image file, RGB or grey; None if it does not decode.

    size: side of the image, px. An image that declares another size is not decoded: it could fill the memory.
    """
    if size is not None and _declared_size(data) != (size, size):
        return None
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    if image is None:
        return None
    pixels: Pixels = image if grey else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return pixels


def _declared_size(data: bytes) -> tuple[int, int] | None:
    """Width and height from the header of a PNG, JPEG or WebP file; None for other data."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=("JPEG", "WEBP")) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def tar(files: Iterable[tuple[str, bytes]]) -> bytes:
    """An uncompressed tar file without times, owners or other facts about the machine."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def untar(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files in a tar file, in order; nothing is written.

    Raises ValueError, with the name of the member, unless every member is a plain file with a plain name of its own, as
    `tar` writes them: a link, folder or sparse file could stand for another file or for more bytes than the tar has.
    """
    seen: set[str] = set()
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for entry in archive:
                if why := _unusable(entry, seen, len(data)):
                    raise ValueError(f"its member {entry.name[:200]!r} {why}")
                seen.add(entry.name)
                file = archive.extractfile(entry)
                content = b"" if file is None else file.read()
                if len(content) != entry.size:
                    raise ValueError(f"its member {entry.name!r} is cut off")
                yield entry.name, content
    except (tarfile.TarError, OverflowError, RecursionError) as error:
        raise ValueError(f"it is not a tar file: {error}") from error


def _unusable(entry: tarfile.TarInfo, seen: set[str], most: int) -> str:
    """Why a member of a tar file is refused; '' if it is not. seen: the names before it. most: bytes of the file."""
    if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or entry.issparse():
        return "is not a plain file"
    if not _MEMBER.fullmatch(entry.name):
        return "has a name that this package does not write"
    if entry.name in seen:
        return "occurs twice"
    return "is larger than the file that holds it" if entry.size > most else ""
