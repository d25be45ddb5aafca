"""Measures how much of an image the mask files of a folder cover, for `sweeps check` and `plan`; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from trainables.data.image_files import WHITE, image_files, open_image, path_below, read_grey
from trainables.errors import TrialError

LEAST, MOST = 0.01, 0.7
"""The range of mean hole shares without a warning. Means outside of it are rarely intended."""
_LOOKED_AT = 100
"""Files of a folder that are decoded, in equal steps."""
_FITTING = 0.05
"""Share of the files below which a warning says that few masks have a hole share in `fraction`."""


def note(section: Mapping[str, Any], size: int, root: Path) -> str:
    """What the files of a resolved `irregular` section cover, a warning if that is far from what is asked.

    size: of the images, px. Files that do not decode are passed over; training refuses them.
    """
    folder = path_below(root, section["path"], "mask.path")
    files, shares = _measured(folder, section["hole"] == "white", size)
    if not shares:
        return ""
    mean, asked = sum(shares) / len(shares), section.get("fraction")
    words = f"masks: {section['path']}, {files:,} files, holes cover {mean:.1%} of the image on average"
    if len(shares) < files:
        words += f" ({len(shares)} files measured)"
    if asked:
        fitting = sum(asked[0] <= share <= asked[1] for share in shares)
        if fitting < _FITTING * len(shares):
            asks = f"`fraction` asks for {asked[0]:.0%} to {asked[1]:.0%}"
            return f"warning: {words}, but {asks}, which {fitting} of {len(shares)} files have"
    elif not LEAST <= mean <= MOST:
        hint = "" if mean < LEAST else f": if {section['hole']} is not the colour of the holes, set mask.hole"
        return f"warning: {words}, which is rarely intended{hint}"
    return words


@lru_cache(maxsize=32)
def _measured(folder: Path, white: bool, size: int) -> tuple[int, tuple[float, ...]]:
    """The number of mask files, and the hole shares of up to `_LOOKED_AT` of them at the size of the images."""
    names = image_files(folder, "mask.path")
    shares = []
    for name in names[:: -(-len(names) // _LOOKED_AT)]:
        try:
            grey = read_grey(open_image(folder / name, "mask.path"))
        except TrialError:
            continue
        counts = grey.resize((size, size), Image.Resampling.NEAREST).histogram()
        whites = sum(counts[WHITE:]) / size**2
        shares.append(whites if white else 1 - whites)
    return len(names), tuple(shares)
