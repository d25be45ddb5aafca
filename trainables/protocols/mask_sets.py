"""Holes that are not drawn: centred squares, and the files of published mask sets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.data.image_files import WHITE, image_files, open_image, read_grey
from trainables.errors import TrialError
from trainables.protocols.generators import HoleArray
from trainables.protocols.mask_options import CentreMasks, FileMasks
from trainables.protocols.protocol import Protocol, check_masks_folder


def centre(options: CentreMasks, size: int) -> HoleArray:
    """A centred square of this share of the area; its side is rounded to whole px."""
    side = round(size * math.sqrt(options.fraction))
    first = (size - side) // 2
    hole_hw = np.zeros((size, size), bool)
    hole_hw[first : first + side, first : first + side] = True
    return hole_hw


@dataclass(frozen=True)
class MaskSet:
    """The files of a published mask set, in groups by the size of their holes."""

    folder: Path
    size: int
    """Side of the masks, px."""
    white: bool
    """Whether holes are white, and not black."""
    given: str
    """What names the folder: an option or a key."""
    groups: Mapping[str, list[str]]
    """The files of each group, sorted, below the folder."""

    def holes(self, image: int) -> Iterator[tuple[str, HoleArray]]:
        """The (group, hole_hw) of an image by its number: mask `image` of each group, from the first after the last."""
        for group, files in self.groups.items():
            yield group, _hole(self.folder / files[image % len(files)], self.size, self.white, self.given)


def read(protocol: Protocol, folder: Path | None, given: str = "--masks") -> MaskSet | None:
    """The mask files of a protocol; None if its masks are no files. Raises TrialError if they cannot be used.

    given: what names the folder, an option or a key.
    """
    check_masks_folder(protocol, None if folder is None else str(folder), given)
    if folder is None:
        return None
    options: FileMasks = protocol.mask_options()
    files = image_files(folder, given)
    if options.files is not None and len(files) != options.files:
        raise TrialError(
            f"{given} {folder}",
            f"it has {len(files):,} masks; the published set has {options.files:,}",
            "the whole published set, so that every image gets the same mask everywhere",
            "check the folder; or copy the protocol to a file of your own with `files: null`, which has another hash",
        )
    groups: dict[str, list[str]] = {}
    shares = f"more than {options.shares[0]:.0%} and at most {options.shares[-1]:.0%}"
    size, white = protocol.images.size, options.hole == "white"
    for file in files:
        group = _group(options, _hole(folder / file, size, white, given))
        if group is not None:
            groups.setdefault(group, []).append(file)
    if not groups:
        raise TrialError(
            f"{given} {folder}",
            "no mask has a hole of one of the protocol's shares",
            f"holes of {shares} of the image, in {options.hole}",
            f"check the folder, and whether its holes are {options.hole}",
        )
    return MaskSet(folder, size, white, given, dict(sorted(groups.items())))


def _hole(file: Path, size: int, white: bool, given: str) -> HoleArray:
    grey = read_grey(open_image(file, given))
    if grey.size != (size, size):
        raise TrialError(
            f"mask {file}",
            f"it has {grey.width} x {grey.height} px",
            f"masks of {size} x {size} px, the size of the protocol's images",
            "use the published files as they are",
        )
    hole_hw: HoleArray = (np.asarray(grey) >= WHITE) == white
    return hole_hw


def _group(options: FileMasks, hole_hw: HoleArray) -> str | None:
    """'10-20' (more than 10 % and at most 20 %), with '-border' if the hole reaches the border; None outside of all.

    It is '' where a protocol has one group.
    """
    share = hole_hw.mean()
    if not options.shares[0] < share <= options.shares[-1]:
        return None
    if len(options.shares) == 2 and options.border is None:
        return ""
    low, high = next(pair for pair in itertools.pairwise(options.shares) if pair[0] < share <= pair[1])
    name = f"{round(low * 100):02d}-{round(high * 100):02d}"
    if options.border is None:
        return name
    inner = hole_hw[options.border : -options.border, options.border : -options.border]
    return name + ("-border" if inner.sum() < hole_hw.sum() else "")
