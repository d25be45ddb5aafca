"""The options of the mask families, whose functions are in `families.py`; imports no torch."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trainables.config.sections import FractionRange, IntRange, StrictConfig


class MaskConfig(StrictConfig):
    """Base of the options of a family."""

    family: ClassVar[str]
    """The name of the function that draws the masks, which is `mask.name`."""


class LinesConfig(MaskConfig):
    family: ClassVar[str] = "lines"

    count: IntRange = Field([1, 10], description="number of lines per image: [lowest, highest]")
    thickness: IntRange = Field([1, 3], description="thickness of a line, px: [lowest, highest]")


class RectangleConfig(MaskConfig):
    family: ClassVar[str] = "rectangle"

    fraction: FractionRange = Field([0.1, 0.25], description="share of the image area: [lowest, highest]")
    aspect: float = Field(2.0, ge=1, le=10, description="largest ratio of the longer to the shorter side")


class BoxConfig(MaskConfig):
    family: ClassVar[str] = "box"

    side: FractionRange = Field(
        [0.1, 0.5], description="height and width as shares of the image side: [lowest, highest]"
    )


class CentreConfig(MaskConfig):
    family: ClassVar[str] = "centre"

    fraction: float = Field(0.25, gt=0, lt=1, description="share of the image area")


class RandomBlocksConfig(MaskConfig):
    family: ClassVar[str] = "random_blocks"

    count: IntRange = Field([1, 5], description="number of squares per image: [lowest, highest]")
    side: float = Field(0.2, gt=0, lt=1, description="side of a square as a share of the image side")


class RandomRegionsConfig(MaskConfig):
    family: ClassVar[str] = "random_regions"

    fraction: FractionRange = Field([0.2, 0.3], description="share of the image area: [lowest, highest]")
    cells: int = Field(8, ge=2, le=64, description="noise cells per image side; more cells make smaller regions")


class FreeFormConfig(MaskConfig):
    family: ClassVar[str] = "free_form"

    strokes: IntRange = Field([1, 3], description="number of strokes per image: [lowest, highest]")
    rectangle: bool = Field(True, description="true: add a rectangle with sides of up to half the image side")


class IrregularConfig(MaskConfig):
    family: ClassVar[str] = "irregular"

    path: str = Field(min_length=1, description="folder of mask images, relative to the data root")
    hole: Literal["white", "black"] = Field("white", description="colour of the holes")
    fraction: FractionRange | None = Field(
        None, description="use only files with a hole share in [lowest, highest]; null: use all files"
    )
    augment: bool = Field(True, description="flip and rotate the files by quarter turns at random")


class ObjectConfig(MaskConfig):
    """No options."""

    family: ClassVar[str] = "object"
