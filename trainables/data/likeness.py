"""Finds copies of photographs: saved again, resized, mirrored, cropped by 5 % at each side, brightened, retouched.

A photograph becomes small grey views: the whole image and, unless it is square, its central square, each of SIDE px.
Views are compared by their details (a band of frequencies), in which unrelated photographs do not correlate. First all
pairs are compared in place at 32 px; then, at 64 px, a part of one view is moved and scaled over the other for the
likely pairs. Of the Kodak photographs, copies score at least 0.90, pairs of different photographs at most 0.57.
Of 100 million pairs of a training and a test image of CIFAR-10, those above 0.88 are near duplicates by eye, but for
some small ships and planes before a plain sky. Images without details, such as plain colours, are like nothing.

Legend: n views, h = w = SIDE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from trainables.data.splits import Pixels

SIDE = 64
"""Side of a view, px."""
LIKELY = 0.55
"""Least correlation in place of two views whose likeness is computed."""
COPY = 0.88
"""Least likeness of a copy."""
SCALES = (0.9, 0.933, 0.966, 1.0, 1.035, 1.07, 1.11)
"""Sizes of a part of one view relative to the other: a crop by 5 % a side enlarges what is left by 1.11."""
_MARGIN = SIDE // 8
_SMALL = SIDE // 2
_ROWS = 2048
"""Views that are compared with all others at once."""

Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class PhotographCopy:
    """A photograph of the second group with the most similar one of the first."""

    first: int
    second: int
    likeness: float
    mirrored: bool


def views(file: Path) -> Pixels | None:
    """(1 or 2, SIDE, SIDE): the views of an image file; None if it does not decode."""
    try:
        with Image.open(file) as image:
            image.draft("L", (4 * SIDE, 4 * SIDE))  # a JPEG is decoded at a fraction of its size
            grey = ImageOps.exif_transpose(image).convert("L")
    except Exception:  # Pillow's decoders raise errors of any type for damaged files
        return None
    found = [_resized(grey)]
    if max(grey.size) > 1.05 * min(grey.size):
        found.append(_resized(ImageOps.fit(grey, (min(grey.size),) * 2, Image.Resampling.NEAREST)))
    return np.stack(found)


def find_copies(first: Sequence[Pixels], second: Sequence[Pixels]) -> list[PhotographCopy]:
    """The photographs of the second group that are copies of one in the first, each with the most similar one.

    first, second: the `views` of each photograph.
    """
    if not first or not second:
        return []
    (one_n, owner_n), (two_n, other_n) = _together(first), _together(second)
    found: dict[int, PhotographCopy] = {}
    for mirrored in (False, True):
        turned_n = np.ascontiguousarray(two_n[:, :, ::-1]) if mirrored else two_n
        details = _in_place(turned_n).T
        for start in range(0, len(one_n), _ROWS):
            likely = _in_place(one_n[start : start + _ROWS]) @ details >= LIKELY
            for a, b in zip(*np.nonzero(likely), strict=True):
                value = likeness(one_n[start + a], turned_n[b])
                at = int(other_n[b])
                if value >= COPY and (at not in found or value > found[at].likeness):
                    found[at] = PhotographCopy(int(owner_n[start + a]), at, value, mirrored)
    return [found[at] for at in sorted(found)]


def likeness(one_hw: Pixels, other_hw: Pixels) -> float:
    """The highest correlation of the middle of one view, at any of SCALES, with a part of the other one, up to 1."""
    whole_hw, middle_hw = _band(one_hw, 0.8), _band(other_hw, 0.8)[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    best = 0.0
    for scale in SCALES:
        side = round(scale * middle_hw.shape[0])
        part_hw = cv2.resize(middle_hw, (side, side), interpolation=cv2.INTER_LINEAR)
        best = max(best, float(cv2.matchTemplate(whole_hw, part_hw, cv2.TM_CCOEFF_NORMED).max()))
    return min(best, 1.0)


def _resized(grey: Image.Image) -> Pixels:
    shrinks = min(grey.size) >= SIDE
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR))


def _together(groups: Sequence[Pixels]) -> tuple[Pixels, np.ndarray[Any, np.dtype[np.int64]]]:
    """All views, and the index of the photograph of each."""
    return np.concatenate(groups), np.repeat(np.arange(len(groups)), [len(some) for some in groups])


def _in_place(view_nhw: Pixels) -> Floats:
    """The details of views as vectors of length 1, whose product is their correlation; zeros without details."""
    vectors = np.zeros((len(view_nhw), _SMALL * _SMALL), dtype=np.float32)
    for vector, view_hw in zip(vectors, view_nhw, strict=True):
        small_hw = cv2.resize(view_hw.astype(np.float32), (_SMALL, _SMALL), interpolation=cv2.INTER_AREA)
        details = _band(small_hw, 1.0).ravel()
        details -= details.mean()
        length = float(np.linalg.norm(details))
        if length > 1:  # grey levels: what rounding leaves of a plain image is less
            vector[:] = details / length
    return vectors


def _band(view_hw: Any, finest: float) -> Floats:
    """The details between two widths of blur, px."""
    view_hw = view_hw.astype(np.float32)
    band: Floats = cv2.GaussianBlur(view_hw, (0, 0), finest) - cv2.GaussianBlur(view_hw, (0, 0), 4.0)
    return band
