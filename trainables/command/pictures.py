"""Arranges the pictures of a program as one strip of square tiles, which reports and the dashboard show."""

from __future__ import annotations

import io
from collections.abc import Mapping

from PIL import Image, UnidentifiedImageError

STRIP = "composite.png"
"""The name under which reports and the dashboard look for pictures; a program may write it itself."""
TILE_PX = 128
MOST_TILES = 8


def with_strip(pictures: Mapping[str, bytes]) -> dict[str, bytes]:
    """The pictures, and a strip of the first ones if there is none. Files that are no pictures are left out of it."""
    tiles = [tile for data in pictures.values() if (tile := _tile(data))][:MOST_TILES]
    if STRIP in pictures or not tiles:
        return dict(pictures)
    strip = Image.new("RGB", (TILE_PX * len(tiles), TILE_PX), "white")
    for number, tile in enumerate(tiles):
        strip.paste(tile, (number * TILE_PX + (TILE_PX - tile.width) // 2, (TILE_PX - tile.height) // 2))
    buffer = io.BytesIO()
    strip.save(buffer, "PNG")
    return {**pictures, STRIP: buffer.getvalue()}


def _tile(data: bytes) -> Image.Image | None:
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as opened:
            picture = opened.convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    scale = TILE_PX / max(picture.size)
    return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
