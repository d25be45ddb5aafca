"""Photographs that are nearly the same, found by perceptual hashes: a test image should have no twin in training.

The hash is imagehash's `phash`: 64 bits that say which low frequencies of the grey image are above their median.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import imagehash
import numpy as np
from PIL import Image

from trainables.data.splits import Pixels

DISTANCE = 4
"""Two photographs are near duplicates when at most so many of 64 bits differ."""
ROWS = 512
"""Hashes of one split that are compared with all of another at once: 50 MB for 11,500."""


def phash(pixels_hw3: Pixels) -> str:
    """16 hex digits."""
    return str(imagehash.phash(Image.fromarray(pixels_hw3)))


def across(hashes: Mapping[str, Sequence[str]], distance: int = DISTANCE) -> list[tuple[str, int, str, int, int]]:
    """Pairs of near duplicates in different splits: split and place of the one, of the other, bits that differ.

    hashes: `phash` of the photographs of each split, by its name.
    """
    bits = {split: np.array([int(each, 16) for each in some], dtype=np.uint64) for split, some in hashes.items()}
    found = []
    for one, other in combinations(bits, 2):
        for start in range(0, len(bits[one]), ROWS):
            differ = np.bitwise_count(bits[one][start : start + ROWS, None] ^ bits[other])
            near: Any = np.nonzero(differ <= distance)
            found += [(one, start + int(a), other, int(b), int(differ[a, b])) for a, b in zip(*near, strict=True)]
    return found
