"""The sample pictures that a trial saves of its evaluation images during training, arranged as a grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from PIL.Image import Image

from analysis.report.sections import pictures
from sweeps.results import samples
from sweeps.store import layout, listing
from sweeps.store.base import Store

MOST = 8
"""Maximum number of images."""
_FIRST = (samples.ARCHIVE, "composite.png", "found.png")
"""One of these is in every folder of samples. Older versions stored single pictures: of an inpainter, of a detector."""
_KINDS = ("damaged", "composite", "truth", "mask", "found", "heat")


def epochs(store: Store, trial_id: str) -> dict[int, str]:
    """{epoch: folder} of a trial's samples, ascending; for each epoch, those of the newest attempt that has it."""
    return epochs_of(store, [trial_id])[trial_id]


def epochs_of(store: Store, trials: Iterable[str]) -> dict[str, dict[int, str]]:
    """`epochs` of many trials, from few listings."""
    found: dict[str, dict[int, str]] = {trial: {} for trial in trials}
    for key in sorted(listing.find(store, (layout.join("trials", trial, "samples") + "/" for trial in found))):
        parts = key.split("/")
        if len(parts) == 6 and parts[4].isdigit() and parts[5] in _FIRST:
            found[parts[1]][int(parts[4])] = key.rpartition("/")[0]
    return {trial: dict(sorted(folders.items())) for trial, folders in found.items()}


def strips(store: Store, folder: str, worst: bool = False) -> dict[str, Image]:
    """The strips in a folder of samples, by kind; missing ones are left out. worst: those of the worst test images."""
    keys = {f"{folder}/{'worst-' if worst else ''}{kind}.png": kind for kind in _KINDS}
    return {keys[key]: strip for key, strip in pictures.open_strips(samples.read(store, keys)).items()}


def rows(found: Mapping[str, Image]) -> dict[str, Image]:
    """The rows of a sheet of samples by title. Empty if a picture is missing."""
    if "found" in found:
        titled = {"true boxes": found.get("truth"), "found boxes": found["found"], "heat map": found.get("heat")}
    elif found.keys() == {"composite"}:
        titled = {"pictures of the program": found["composite"]}
    elif {"damaged", "composite", "truth"} <= found.keys():
        gaps = pictures.errors(found["composite"], found["truth"])
        both = {"damaged": found["damaged"], "filled": found["composite"]}
        titled = {**both, "error (white is none)": gaps, "truth": found["truth"]}
    else:
        return {}
    return {title: strip for title, strip in titled.items() if strip is not None}


def sample_sheet(found: Mapping[str, Image], most: int = MOST, ranked: bool = False) -> bytes | None:
    """PNG with one column per image and the rows of `rows`. None if a picture is missing.

    ranked: whether the images are in an order of their own, so that their places are not their numbers.
    """
    titles = [f"place {number}" for number in range(1, most + 1)] if ranked else ()
    return columns(list(rows(found).values()), most, titles)


def number(found: Mapping[str, Image]) -> int:
    """Number of images in the strips of a trial."""
    return next((strip.width // strip.height for strip in found.values()), 0)


def columns(rows: Sequence[Image], most: int, titles: Sequence[str] = ()) -> bytes | None:
    """PNG of strips below each other, cut into one column per image. None if a strip is missing."""
    cut = [pictures.cut_tiles(row, most) for row in rows]
    if not cut or not all(cut):
        return None
    heads = list(titles) or [f"image {number}" for number in range(len(cut[0]))]
    return pictures.assemble_grid(list(zip(heads, map(list, zip(*cut, strict=True)), strict=False)))
