"""Colours with 16 bits per channel, of which Pillow reads 8: read, and written as PNG, by OpenCV."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Deep = npt.NDArray[np.uint16]
"""Values of an image (height, width, 3 or 4): red, green, blue and perhaps alpha."""
SIXTEEN = 257
"""Factor from 8-bit to 16-bit values."""
_METRES_PER_INCH = 0.0254
_HEAD_END = 33
"""Bytes of a PNG before the chunks that follow its header."""


def is_deep(image: Image.Image) -> bool:
    """Whether the file of an opened image has 16 bits per channel in colour or with transparency."""
    return len(image.getbands()) > 1 and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def read(file: Path) -> Deep:
    """The values of a file; grey with transparency becomes colour. Raises ValueError if it cannot be decoded."""
    import cv2

    values = cv2.imdecode(np.fromfile(file, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3 or values.shape[2] not in (3, 4):
        raise ValueError("its colours have 16 bits per channel in a form that cannot be read; save it as PNG")
    return np.ascontiguousarray(values[..., [2, 1, 0, 3][: values.shape[2]]])


def reduced(values: Deep) -> Image.Image:
    """The image with 8 bits per channel, rounded."""
    return Image.fromarray(((values.astype(np.uint32) + SIXTEEN // 2) // SIXTEEN).astype(np.uint8))


def png(values: Deep, exif: bytes | None, dpi: tuple[float, float] | None, profile: bytes | None) -> bytes:
    """PNG of an image, with its EXIF data, resolution and colour profile."""
    import cv2

    made, data = cv2.imencode(".png", values[..., [2, 1, 0, 3][: values.shape[2]]])
    assert made
    plain, chunks = data.tobytes(), b""
    if profile is not None:
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    if dpi is not None:
        chunks += _chunk(b"pHYs", struct.pack(">IIB", *(round(one / _METRES_PER_INCH) for one in dpi), 1))
    if exif is not None:
        chunks += _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    return plain[:_HEAD_END] + chunks + plain[_HEAD_END:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
