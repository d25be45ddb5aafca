"""The options of the mask generators of protocols; imports no torch.

The values are those of the authors' configurations, so that a file of theirs can be read beside one of ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from trainables.config.sections import IntRange, StrictConfig
from trainables.config.variant import Variant
from trainables.masks import config as families

DRAWN = (
    families.LinesConfig,
    families.RectangleConfig,
    families.BoxConfig,
    families.RandomBlocksConfig,
    families.RandomRegionsConfig,
    families.FreeFormConfig,
)
"""The options of the mask families whose holes are drawn."""


def _ascending(limits: list[float]) -> list[float]:
    if any(low >= high for low, high in itertools.pairwise(limits)):
        raise ValueError("the limits do not ascend")
    return limits


Seed = Annotated[
    int, Field(ge=0, le=2**31, description="seed of the masks; with the name of an image it gives its hole")
]


class LamaStrokes(StrictConfig):
    """Strokes of one to five parts."""

    count: IntRange = Field(description="number of strokes: [lowest, highest]; LaMa draws up to one more")
    length: int = Field(ge=1, description="a part is 10 px to less than 10 px plus this long")
    width: int = Field(ge=1, description="a part is 5 px to less than 5 px plus this wide")
    angles: int = Field(4, ge=1, description="number of different angles, 1 radian apart")


class LamaBoxes(StrictConfig):
    """Boxes, which take the place of the strokes in a part of the masks."""

    weight: float = Field(gt=0, le=1, description="how often there are boxes, relative to strokes with weight 1")
    count: IntRange = Field(description="number of boxes: [lowest, highest]")
    side: IntRange = Field(description="height and width, px: [lowest, highest]")
    margin: int = Field(ge=0, description="distance from the border of the image, px")


class LamaMasks(StrictConfig):
    seed: Seed
    strokes: LamaStrokes = Field(description="the strokes")
    boxes: LamaBoxes | None = Field(None, description="the boxes; null: only strokes")
    variants: int = Field(5, ge=1, le=100, description="holes that are drawn for an image, of which one is taken")
    most: float = Field(0.5, gt=0, le=1, description="larger holes, as shares of the image, are not taken")
    attempts: int = Field(10, ge=1, le=100, description="how often new variants are drawn if none can be taken")


class ComodganMasks(StrictConfig):
    seed: Seed
    small_boxes: int = Field(ge=1, le=100, description="there are fewer boxes of up to half the side than this")
    large_boxes: int = Field(ge=1, le=100, description="there are fewer boxes of up to the whole side than this")
    strokes: int = Field(ge=1, le=100, description="there are fewer strokes than this")


class BrushMasks(StrictConfig):
    seed: Seed
    strokes: IntRange = Field(description="number of strokes: [lowest, highest]")
    vertices: IntRange = Field(description="number of segments of a stroke: [lowest, highest]")
    width: IntRange = Field(description="width of a stroke, px: [lowest, less than]")


class FamilyMasks(StrictConfig):
    seed: Seed
    mask: Annotated[dict[str, Any], Variant({one.family: one for one in DRAWN})] = Field(
        description="a mask family of sweep files that draws holes, with its options"
    )


class CentreMasks(StrictConfig):
    fraction: float = Field(0.25, gt=0, lt=1, description="share of the image area of the centred square")


class FileMasks(StrictConfig):
    """Image i of the sorted list gets mask i of each group; after the last mask, the first one follows."""

    hole: Literal["white", "black"] = Field("white", description="colour of the holes")
    files: int | None = Field(None, ge=1, description="number of files of the published set; null: any")
    shares: Annotated[list[float], AfterValidator(_ascending)] = Field(
        [0.0, 1.0], min_length=2, description="limits of the groups by the share of the hole, in ascending order"
    )
    border: int | None = Field(
        None, ge=1, description="groups of masks with holes nearer to the border than this, px, and without; null: one"
    )


MASKS: Mapping[str, type[StrictConfig]] = {
    "lama": LamaMasks,
    "comodgan": ComodganMasks,
    "brush": BrushMasks,
    "centre": CentreMasks,
    "family": FamilyMasks,
    "files": FileMasks,
}
"""The options of each generator, by its name."""
