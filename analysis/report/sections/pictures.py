"""Test images as every arm fills them, with error maps.

Matplotlib and Pillow are imported only when a grid is made.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from analysis.report.figures import GROUND, INK, shorten
from analysis.study import Study
from sweeps.results import samples
from sweeps.results.tested_images import tested_images
from sweeps.store import layout

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

DARKEST = 0.25
"""Error of images in [0, 1] from which on the darkest colour is used."""
_PICTURES = 4
_INPUTS = ("damaged", "mask", "truth")
_OWN = "test/psnr_db"
"""Any metric of the arm's own test images, which the pictures are of."""
_MOST_PIXELS = 64 * 1024 * 1024
_TILE, _GAP, _TITLE_LINES, _FONT = 128, 6, 3, 14


@dataclass(frozen=True)
class PictureGrid:
    """A grid of pictures."""

    strips: list[tuple[str, list[Image | None]]]
    """Title and tiles of each column."""
    seeds: dict[str, int]
    """The seed of each arm's pictures."""
    blocks: list[list[str]]
    """The arms by their images and masks: each block has its own columns `damaged` and `truth`."""
    boxes: bool = False
    """Whether the arms are detectors, whose pictures show boxes."""
    located: bool = False
    """Whether a detector gives a place: a box or a mask."""
    heat: bool = False
    """Whether a detector has heat maps."""

    @property
    def titles(self) -> list[str]:
        """Titles of the columns."""
        return [title for title, _ in self.strips]

    @cached_property
    def png(self) -> bytes:
        """Compressed where it is wanted, which takes longer than all else."""
        return assemble_grid(self.strips)

    @cached_property
    def columns(self) -> list[tuple[str, bytes]]:
        """Title and PNG of each column, for a page that sets the titles; the ground is transparent."""
        rows = max(len(tiles) for _, tiles in self.strips)
        return [(title, _stacked(tiles, rows)) for title, tiles in self.strips]


def picture_grid(study: Study, most: int = _PICTURES) -> PictureGrid | None:
    """The evaluation images: damaged, each arm's composite, truth as columns; masks and error maps below the images.

    An error is the absolute difference from the truth, averaged over channels; white is zero, the darkest red `DARKEST`
    of the range or more. For detectors: each arm's boxes with its heat maps below, and the truth. Each arm's pictures
    are those of its first finished seed that has some; images and masks do not depend on the seed. Arms with other
    images or masks have columns of their own for these. None if no finished trial has pictures.
    """
    kinds = ("found", "heat") if study.plan["task"] == "detect" else ("composite",)
    seeds, arms = _with_pictures(study, kinds)
    if not seeds:
        return None
    blocks: dict[str, list[str]] = {}
    for name in seeds:
        blocks.setdefault(tested_images(study.arm(name).config, [_OWN]), []).append(name)
    inputs = _read(study, {names[0]: _folder(study, names[0], seeds[names[0]]) for names in blocks.values()}, _INPUTS)
    columns = [
        column
        for names in blocks.values()
        for column in _block(inputs.get(names[0], {}), {name: arms[name] for name in names})
    ]
    tiles = _filled([(title, interleave(upper, lower, most)) for title, upper, lower in columns if upper is not None])
    heat = any("heat" in one for one in arms.values())
    located = any(study.values(name, "test/mean_iou") for name in seeds)
    return PictureGrid(tiles, seeds, [*blocks.values()], "found" in kinds, located, heat)


Strips = dict[str, "Image"]
"""The strips of an arm by kind."""


def _block(inputs: Strips, arms: Mapping[str, Strips]) -> list[tuple[str, Image | None, Image | None]]:
    """The columns of arms with the same images and masks: title, upper and lower strip."""
    damaged, mask, truth = (inputs.get(kind) for kind in _INPUTS)
    columns: list[tuple[str, Image | None, Image | None]] = [("damaged", damaged, mask)]
    for name, strips in arms.items():
        if "found" in strips:  # a detector; only those that predict masks have heat maps
            columns.append((name, strips["found"], strips.get("heat")))
        else:
            columns.append((name, strips.get("composite"), errors(strips.get("composite"), truth)))
    return [*columns, ("truth", truth, None)]


def _with_pictures(study: Study, kinds: Sequence[str]) -> tuple[dict[str, int], dict[str, Strips]]:
    """The seed and the strips of each arm with pictures; found without listing the store.

    Almost always the first finished seed has them. The others are asked for, one after the other, only if it has none,
    as in a store that was continued from an archive.
    """
    left = {arm.name: [seed for seed, key in arm.trials.items() if key in study.results] for arm in study.arms}
    seeds: dict[str, int] = {}
    found: dict[str, Strips] = {}
    while left := {name: of_arm for name, of_arm in left.items() if of_arm and name not in seeds}:
        tried = {name: of_arm.pop(0) for name, of_arm in left.items()}
        read = _read(study, {name: _folder(study, name, seed) for name, seed in tried.items()}, kinds)
        found |= read
        seeds |= {name: tried[name] for name in read}
    shown = [arm.name for arm in study.arms if arm.name in seeds]
    return {name: seeds[name] for name in shown}, {name: found[name] for name in shown}


def _read(study: Study, folders: Mapping[str, str], kinds: Sequence[str]) -> dict[str, Strips]:
    """The strips in folders of the store, by name; without names that have none."""
    stored = samples.read(study.store, [f"{folder}/{kind}.png" for folder in folders.values() for kind in kinds])
    opened = open_strips(stored)
    found = {
        name: {kind: opened[key] for kind in kinds if (key := f"{folder}/{kind}.png") in opened}
        for name, folder in folders.items()
    }
    return {name: strips for name, strips in found.items() if strips}


def _filled(strips: list[tuple[str, list[Image | None]]]) -> list[tuple[str, list[Image | None]]]:
    """The strips without rows that no column fills, such as the heat maps of detectors that predict none."""
    rows = [
        row
        for row, tiles in enumerate(zip_longest(*(tiles for _, tiles in strips)))
        if any(tile is not None for tile in tiles)
    ]
    return [(title, [tiles[row] for row in rows if row < len(tiles)]) for title, tiles in strips]


def _stacked(tiles: Sequence[Image | None], rows: int) -> bytes:
    """Tiles below each other as PNG, with places left for `rows`."""
    from PIL import Image

    size = max(tile.width for tile in tiles if tile is not None)
    sheet = Image.new("RGBA", (size, rows * (size + _GAP) - _GAP), (0, 0, 0, 0))
    for row, tile in enumerate(tiles):
        if tile is not None:
            sheet.paste(tile, (0, row * (size + _GAP)))
    target = io.BytesIO()
    sheet.save(target, "PNG", optimize=True)
    return target.getvalue()


def errors(output: Image | None, truth: Image | None) -> Image | None:
    """The error map of a strip; None if an image is missing or they differ in size."""
    if output is None or truth is None or output.size != truth.size:
        return None
    import matplotlib
    from PIL import Image

    gap = np.abs(np.asarray(output, dtype=np.float32) - np.asarray(truth, dtype=np.float32)).mean(-1) / 255
    colours = matplotlib.colormaps["OrRd"](np.minimum(gap / DARKEST, 1))[..., :3]
    colours[gap == 0] = 1.0
    return Image.fromarray((colours * 255).round().astype(np.uint8))


def interleave(upper: Image, lower: Image | None, most: int) -> list[Image | None]:
    """The tiles of two strips, alternating: image, error, image, error, ..."""
    first = cut_tiles(upper, most)
    second: Sequence[Image | None] = cut_tiles(lower, most) if lower is not None else [None] * len(first)
    return [tile for pair in zip(first, second, strict=False) for tile in pair]


def _folder(study: Study, arm: str, seed: int) -> str:
    """The key prefix of the pictures of a finished trial after the last epoch."""
    key = study.arm(arm).trials[seed]
    return layout.join("trials", key[0], "samples", study.results[key]["attempt"], key[1])


def open_strip(png: bytes) -> Image | None:
    """Decode a horizontal strip of square images as RGB; None for other data, and for more than `_MOST_PIXELS`."""
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(png), formats=("PNG",)) as opened:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return opened.convert("RGB") if opened.width * opened.height <= _MOST_PIXELS else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def open_strips(pngs: Mapping[str, bytes]) -> dict[str, Image]:
    """`open_strip` of many objects by key; those that do not decode are left out."""
    return {key: strip for key, png in pngs.items() if (strip := open_strip(png)) is not None}


def cut_tiles(strip: Image, most: int) -> list[Image]:
    """The first `most` square images of a horizontal strip, enlarged by nearest neighbour."""
    from PIL import Image

    side = strip.height
    size = side * max(1, _TILE // side)
    pieces = [strip.crop((at, 0, at + side, side)) for at in range(0, strip.width - side + 1, side)]
    return [piece.resize((size, size), Image.Resampling.NEAREST) for piece in pieces[:most]]


def assemble_grid(strips: Sequence[tuple[str, Sequence[Image | None]]]) -> bytes:
    """The strips as columns under their titles, as PNG."""
    from PIL import Image, ImageDraw

    size = max(tile.width for _, column in strips for tile in column if tile is not None)
    font = _font()
    titles = [_wrapped(title, font, size) for title, _ in strips]
    top = max(title.count("\n") + 1 for title in titles) * (_FONT + 4) + 8
    rows = max(len(column) for _, column in strips)
    sheet = Image.new("RGB", (len(strips) * (size + _GAP) - _GAP, top + rows * (size + _GAP) - _GAP), GROUND)
    draw = ImageDraw.Draw(sheet)
    for number, ((_, column), title) in enumerate(zip(strips, titles, strict=True)):
        left = number * (size + _GAP)
        draw.multiline_text((left + size / 2, top - 8), title, INK, font, anchor="md", align="center", spacing=4)
        for row, tile in enumerate(column):
            if tile is not None:
                sheet.paste(tile, (left, top + row * (size + _GAP)))
    target = io.BytesIO()
    sheet.save(target, "PNG", optimize=True)
    return target.getvalue()


def _font() -> FreeTypeFont:
    """DejaVu Sans from Matplotlib: the same font on every machine, with more than Latin letters."""
    from pathlib import Path

    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _FONT)


def _wrapped(title: str, font: FreeTypeFont, width: int) -> str:
    """A title wrapped to the width of a column, in at most three lines."""
    letters = max(4, int(width / (font.getlength("abcdefghij") / 10)))
    lines = textwrap.wrap(" ".join(title.split()), letters) or [""]
    if len(lines) > _TITLE_LINES:
        lines = [*lines[: _TITLE_LINES - 1], shorten(" ".join(lines[_TITLE_LINES - 1 :]), letters)]
    return "\n".join(lines)
