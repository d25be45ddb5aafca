"""Finds near-duplicate photographs by perceptual hashes, since test images should have no duplicates in training.

The hash is imagehash's `phash`: 64 bits, one for each low-frequency coefficient of the grey image, set if the
coefficient is above the median.
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
"""Largest number of differing bits, of 64, between near duplicates."""
ROWS = 512
"""Hashes of one split that are compared with all hashes of another at once: 50 MB for 11,500 hashes."""


def phash(pixels_hw3: Pixels) -> str:
    """The perceptual hash of an image, 16 hex digits."""
    return str(imagehash.phash(Image.fromarray(pixels_hw3)))


def find_across_splits(
    hashes: Mapping[str, Sequence[str]], distance: int = DISTANCE
) -> list[tuple[str, int, str, int, int]]:
    """Pairs of near duplicates in different splits: (split, index, other split, other index, differing bits).

    hashes: the `phash` of each photograph, by split.
    """
    bits = {split: np.array([int(each, 16) for each in some], dtype=np.uint64) for split, some in hashes.items()}
    pairs = []
    for one, other in combinations(bits, 2):
        for start in range(0, len(bits[one]), ROWS):
            differ = np.bitwise_count(bits[one][start : start + ROWS, None] ^ bits[other])
            near: Any = np.nonzero(differ <= distance)
            pairs += [(one, start + int(a), other, int(b), int(differ[a, b])) for a, b in zip(*near, strict=True)]
    return pairs
