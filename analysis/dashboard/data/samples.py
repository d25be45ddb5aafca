"""The sample pictures that a trial saves of its evaluation images during training, arranged as a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL.Image import Image

from analysis.report.sections import pictures
from sweeps.store import layout, listing
from sweeps.store.base import Store

MOST = 8
"""Maximum number of images."""
ROWS = ("damaged", "filled", "error (white is none)", "truth")


def epochs(store: Store, trial_id: str) -> dict[int, str]:
    """{epoch: folder} of a trial's samples, ascending; for each epoch, those of the newest attempt that has it."""
    found: dict[int, str] = {}
    for key in listing.keys(store, layout.join("trials", trial_id, "samples") + "/"):
        parts = key.split("/")
        if len(parts) == 6 and parts[4].isdigit() and parts[5] == "composite.png":
            found[int(parts[4])] = key.rpartition("/")[0]
    return dict(sorted(found.items()))


def strips(store: Store, folder: str) -> dict[str, Image]:
    """The strips in a folder of samples, by kind; missing ones are left out."""
    keys = {f"{folder}/{kind}.png": kind for kind in ("damaged", "composite", "truth", "mask")}
    return {keys[key]: strip for key, strip in pictures.open_strips(store.get_many(keys)).items()}


def sample_sheet(found: Mapping[str, Image], most: int = MOST) -> bytes | None:
    """PNG with one column per image: damaged, filled, error map, truth. None if a picture is missing."""
    if found.keys() == {"composite"}:  # the pictures of a program
        return columns([found["composite"]], most)
    if not {"damaged", "composite", "truth"} <= found.keys():
        return None
    gaps = pictures.errors(found["composite"], found["truth"])
    rows = [found["damaged"], found["composite"], gaps, found["truth"]]
    return columns([row for row in rows if row is not None], most)


def columns(rows: Sequence[Image], most: int, titles: Sequence[str] = ()) -> bytes | None:
    """PNG of strips below each other, cut into one column per image. None if a strip is missing."""
    cut = [pictures.cut_tiles(row, most) for row in rows]
    if not cut or not all(cut):
        return None
    heads = list(titles) or [f"image {number}" for number in range(len(cut[0]))]
    return pictures.assemble_grid(list(zip(heads, map(list, zip(*cut, strict=True)), strict=False)))
