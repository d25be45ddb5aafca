"""Encodes and decodes images with OpenCV, and writes tar files whose bytes depend only on their content."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import cv2
import numpy as np

from trainables.data.splits import Pixels

SUFFIX = {"png": "png", "jpeg": "jpg", "webp": "webp"}
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


def decode(data: bytes, grey: bool = False) -> Pixels | None:
    """The pixels of an image file, RGB or grey; None if it does not decode."""
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    if image is None:
        return None
    pixels: Pixels = image if grey else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return pixels


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
    """Names and contents of the files in a tar file, in order."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for entry in archive:
            file = archive.extractfile(entry)
            assert file is not None  # regular files only
            yield entry.name, file.read()
