"""Masks: mask == 1 means hole, here and everywhere else.

A mask family is a public function that takes (n, canvas, generator), its options as keyword-only parameters, and
returns a `MaskDraw`: the parameters of n masks, drawn for a whole epoch from one generator, from which batches are
rendered on the device. Mask i depends on the generator's seed and on i, not on n, nor on how an epoch is cut up.

To add a family, write such a function; `trainables.schema` reads its options from this source, so their annotations use
the names that schema exports and nothing else.

Legend: b images of a batch, n of an epoch, k lines or squares of an image, f files, h and w pixels.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from trainables.config.messages import unknown
from trainables.config.sections import FractionRange, IntRange
from trainables.data.image_files import below, image_files, open_image
from trainables.data.splits import no_objects
from trainables.errors import TrialError
from trainables.masks.rasterise import Blocks, Files, FreeForm, Lines, MaskDraw, Rectangles, Regions
from trainables.masks.strokes import NUMBERS, segments
from trainables.registry import mask_configs


@dataclass(frozen=True)
class Canvas:
    """Where masks are drawn: side of the square images in px, and the folder below which mask files lie."""

    size: int
    root: Path | None
    objects_nhw: Tensor | None = None
    """Where the object of each image is, for holes that are those."""


def draw(config: Mapping[str, Any], n: int, canvas: Canvas, generator: torch.Generator) -> MaskDraw:
    """n masks of the family that a resolved `mask` section names. Raises TrialError where that cannot be drawn.

    generator: on the CPU, whatever the device, so that all devices see the same masks.
    """
    name = config["name"]
    if name not in mask_configs():
        raise unknown("mask.name", name, tuple(mask_configs()))
    family = globals()[name]
    drawn: MaskDraw = family(n, canvas, generator, **{key: value for key, value in config.items() if key != "name"})
    return drawn


def _uniform(n: int, columns: int, generator: torch.Generator) -> Tensor:
    """(n, columns) in [0, 1). Families call it once: the generator fills row by row, so row i does not depend on n."""
    return torch.rand(n, columns, generator=generator)


def _between(uniform: Tensor, lowest: float, highest: float) -> Tensor:
    return lowest + (highest - lowest) * uniform


def _integer(uniform: Tensor, lowest: int, highest: int | Tensor) -> Tensor:
    """Whole numbers from lowest to highest, both included, as float."""
    scaled = (uniform * (highest - lowest + 1)).floor_() + lowest
    return scaled.clamp_(max=highest)  # rounding may reach highest + 1


# --- lines ------------------------------------------------------------------------------------------------------------


def lines(
    n: int,
    canvas: Canvas,
    generator: torch.Generator,
    *,
    count: Annotated[IntRange, Field(description="how many lines an image has: [lowest, highest]")] = [1, 10],  # noqa: B006 - never written to
    thickness: Annotated[IntRange, Field(description="thickness of a line, px: [lowest, highest]")] = [1, 3],  # noqa: B006
) -> MaskDraw:
    """Straight lines with flat ends; what lies outside the image is cut off.

    Their number is uniform per image; the centre (in the image), the direction, the length (in [size / 4, size]) and
    the whole-numbered thickness are uniform per line. A pixel is hole where its centre lies in the line. The document
    (004_93544f900a7fa97e) says only "random length and thickness". Holes cover 4.6 % of 32 px for 1-3 lines of 1-2 px,
    6.7 % for 1-5 of 1-2 and 15.5 % for the defaults, close to MODELS.md section 11; drawing one end and a direction
    would cut off more and give 3.5, 5.2 and 12.2 %. Thickness is in px, so twice the size has about half the share.
    """
    _require(count[1] <= 1000, "mask.count", count, "an image has at most 1000 lines", "count: [1, 10]")
    _require(
        thickness[1] <= canvas.size,
        "mask.thickness",
        thickness,
        f"a line would be thicker than the image ({canvas.size} px)",
        f"thickness: [1, {min(3, canvas.size)}]",
    )
    most = count[1]
    uniform = _uniform(n, 1 + 5 * most, generator)
    drawn = torch.arange(most) < _integer(uniform[:, :1], count[0], most)
    x, y, angle, length, thick = uniform[:, 1:].view(n, most, 5).unbind(2)
    sine = (math.pi * angle).sin().clamp(min=1e-4)  # a level line has no slope in x; 1e-4 rad is below a pixel
    cosine = (math.pi * angle).cos()
    across = _integer(thick, *thickness) / 2 / sine
    half_length = _between(length, canvas.size / 4, canvas.size) / 2
    parameters = torch.stack(
        [
            x * canvas.size - 0.5,  # pixel centres are at whole numbers
            y * canvas.size - 0.5,
            sine / cosine,
            half_length / cosine.abs(),
            across.masked_fill(~drawn, -math.inf),  # an empty line
        ],
        dim=2,
    )
    return Lines(canvas.size, parameters)


# --- rectangles -------------------------------------------------------------------------------------------------------


def rectangle(
    n: int,
    canvas: Canvas,
    generator: torch.Generator,
    *,
    fraction: Annotated[FractionRange, Field(description="share of the area: [lowest, highest]")] = [0.1, 0.25],  # noqa: B006
    aspect: Annotated[float, Field(ge=1, le=10, description="largest ratio of the longer to the shorter side")] = 2.0,
) -> MaskDraw:
    """One rectangle inside the image; uniform in its share of the area, in the logarithm of height / width, in place.

    Sides are rounded to whole pixels. Shares that need a side longer than the image get a smaller ratio.
    """
    share, ratio, top, left = _uniform(n, 4, generator).unbind(1)
    area = _between(share, *fraction)
    widest = (-area.log()).clamp(max=math.log(aspect))  # height^2 = area * ratio and width^2 = area / ratio, both <= 1
    log_ratio = (2 * ratio - 1) * widest
    height, width = (
        (canvas.size * (area * r.exp()).sqrt()).round().clamp(1, canvas.size) for r in (log_ratio, -log_ratio)
    )
    corner = [_integer(top, 0, canvas.size - height), _integer(left, 0, canvas.size - width)]
    return Rectangles(canvas.size, torch.stack([*corner, height, width], dim=1))


def box(
    n: int,
    canvas: Canvas,
    generator: torch.Generator,
    *,
    side: Annotated[FractionRange, Field(description="each side as a share of the image's: [lowest, highest]")] = [  # noqa: B006
        0.1,
        0.5,
    ],
) -> MaskDraw:
    """One rectangle inside the image; its height, its width and its place are uniform, each drawn apart.

    So 000_0d9f1f22a9376145 has its boxes, whose range it does not state. Sides are rounded to whole pixels.
    """
    tall, wide, top, left = _uniform(n, 4, generator).unbind(1)
    height, width = ((canvas.size * _between(u, *side)).round().clamp(1, canvas.size) for u in (tall, wide))
    corner = [_integer(top, 0, canvas.size - height), _integer(left, 0, canvas.size - width)]
    return Rectangles(canvas.size, torch.stack([*corner, height, width], dim=1))


def centre(
    n: int,
    canvas: Canvas,
    generator: torch.Generator,  # noqa: ARG001 - nothing is random
    *,
    fraction: Annotated[float, Field(gt=0, lt=1, description="share of the area")] = 0.25,
) -> MaskDraw:
    """One centred square, the same for every image; its side is rounded to whole pixels (32 px and 0.25: 16)."""
    side = round(canvas.size * math.sqrt(fraction))
    _require(
        0 < side < canvas.size,
        "mask.fraction",
        fraction,
        f"at {canvas.size} px that is {'no' if side == 0 else 'every'} pixel",
        "fraction: 0.25",
    )
    corner = (canvas.size - side) // 2
    return Rectangles(canvas.size, torch.tensor([[corner, corner, side, side]], dtype=torch.float32).expand(n, 4))


# --- random regions and blocks (Pathak et al. 2016) -------------------------------------------------------------------


def random_blocks(
    n: int,
    canvas: Canvas,
    generator: torch.Generator,
    *,
    count: Annotated[IntRange, Field(description="how many squares an image has: [lowest, highest]")] = [1, 5],  # noqa: B006
    side: Annotated[float, Field(gt=0, lt=1, description="side of a square, as a share of the image's")] = 0.2,
) -> MaskDraw:
    """Squares that may overlap, uniform in number and place, all inside the image.

    Five squares of a fifth of the side cover a fifth of the image at most, below the quarter that the source allows.
    """
    pixels = round(canvas.size * side)
    _require(
        0 < pixels < canvas.size,
        "mask.side",
        side,
        f"at {canvas.size} px that is {'no' if pixels == 0 else 'every'} pixel",
        "side: 0.2",
    )
    _require(count[1] <= 1000, "mask.count", count, "an image has at most 1000 squares", "count: [1, 5]")
    uniform = _uniform(n, 1 + 2 * count[1], generator)
    drawn = torch.arange(count[1]) < _integer(uniform[:, :1], *count)
    corner_nk2 = _integer(uniform[:, 1:].view(n, count[1], 2), 0, canvas.size - pixels)
    extent_nk2 = (drawn * float(pixels)).unsqueeze(2).expand(-1, -1, 2)  # a square that is not drawn has no pixel
    return Blocks(canvas.size, torch.cat([corner_nk2, extent_nk2], dim=2))


def random_regions(
    n: int,
    canvas: Canvas,
    generator: torch.Generator,
    *,
    fraction: Annotated[FractionRange, Field(description="share of the area: [lowest, highest]")] = [0.2, 0.3],  # noqa: B006
    cells: Annotated[int, Field(ge=2, le=64, description="cells of noise along a side: more make smaller regions")] = 8,
) -> MaskDraw:
    """Blobs of any shape: where smooth noise is lowest. The share of each image is uniform in `fraction`.

    Pathak's code enlarges uniform noise bicubically (7.7 cells along 128 px), cuts it at 0.25 and takes crops of which
    20 to 30 % are holes, one for a batch. Here each image has its own noise, at its own place within the cells, cut at
    its own quantile: no crop is thrown away. One mask an image.
    """
    grid = cells + 4  # two more cells on either side, for the bicubic window at any place
    uniform = _uniform(n, 3 + grid * grid, generator)
    pixels = (_between(uniform[:, :1], *fraction) * canvas.size**2).round_().clamp_(1, canvas.size**2 - 1)
    return Regions(canvas.size, torch.cat([pixels, uniform[:, 1:]], dim=1), cells)


# --- free form (Yu et al. 2019) ---------------------------------------------------------------------------------------


def free_form(
    n: int,
    canvas: Canvas,
    generator: torch.Generator,
    *,
    strokes: Annotated[IntRange, Field(description="how many strokes an image has: [lowest, highest]")] = [1, 3],  # noqa: B006
    rectangle: Annotated[bool, Field(description="a rectangle of up to half the side beside the strokes")] = True,
) -> MaskDraw:
    """Strokes of a brush (`strokes.py`) and a rectangle: what DeepFill v2's code trains on, scaled to the image.

    The rectangle is half as high and wide as the image, uniform in place, then cut by up to a sixteenth of the image's
    side at the top and as much at the bottom, and likewise left and right: 96 to 128 of 256 px. Holes cover about a
    third of the image, with any size.
    """
    _require(strokes[1] <= 100, "mask.strokes", strokes, "an image has at most 100 strokes", "strokes: [1, 3]")
    uniform = _uniform(n, 5 + NUMBERS * strokes[1], generator)
    box, cut = canvas.size // 2, canvas.size // 16
    corner_n2 = _integer(uniform[:, :2], 0, canvas.size - box - 1)
    cut_n2 = _integer(uniform[:, 2:4], 0, cut)
    rectangle_n4 = torch.cat([corner_n2 + cut_n2, (box - 2 * cut_n2) * rectangle], dim=1)
    drawn_nk = torch.arange(strokes[1]) < _integer(uniform[:, 4:5], *strokes)
    strokes_nks = segments(uniform[:, 5:].view(n, strokes[1], NUMBERS), drawn_nk, canvas.size)
    return FreeForm(canvas.size, torch.cat([rectangle_n4, strokes_nks.flatten(1)], dim=1))


# --- files ------------------------------------------------------------------------------------------------------------


def irregular(
    n: int,
    canvas: Canvas,
    generator: torch.Generator,
    *,
    path: Annotated[str, Field(min_length=1, description="folder of mask images below the data root")],
    hole: Annotated[Literal["white", "black"], Field(description="colour of the holes")] = "white",
    fraction: Annotated[
        FractionRange | None, Field(description="only files with a hole share in [lowest, highest]; null for all")
    ] = None,
    augment: Annotated[bool, Field(description="flip and quarter-turn the files at random")] = True,
) -> MaskDraw:
    """Mask files, e.g. those of Liu et al. 2018 (`nvidia_irregular_masks/testing_mask_dataset`, holes white).

    One file an image, uniform; the folder is read with its subfolders, in the order of names. Files are resized to the
    canvas by nearest neighbour and cut at 128; `fraction` is judged after that. A mean hole share above 0.7 warns that
    the polarity may be wrong. Raises TrialError where the folder, a decodable file or a fitting one is missing.
    """
    holes_fhw = _mask_files(below(canvas.root, path, "mask.path"), canvas.size, hole == "white")
    if fraction is not None:
        shares = holes_fhw.float().mean((1, 2))
        fitting = (shares >= fraction[0]) & (shares <= fraction[1])
        _require(
            bool(fitting.any()),
            "mask.fraction",
            fraction,
            f"the holes of {path} cover {shares.min():.3f} to {shares.max():.3f}, and no file lies between",
            f"fraction: [{math.floor(shares.min() * 100) / 100}, {math.ceil(shares.max() * 100) / 100}]",
        )
        holes_fhw = holes_fhw[fitting]
    uniform = _uniform(n, 4, generator)
    turns = (uniform[:, 1:] < 0.5) & augment
    file = _integer(uniform[:, :1], 0, len(holes_fhw) - 1)
    return Files(canvas.size, torch.cat([file.long(), turns.long()], dim=1), holes_fhw)


@lru_cache(maxsize=4)
def _mask_files(folder: Path, size: int, white: bool) -> Tensor:
    """holes_fhw, uint8 0 and 1, of every mask file below a folder; kept for the process."""
    holes = []
    for name in image_files(folder, "mask.path"):
        image = open_image(folder / name, "mask.path").convert("L")
        pixels = np.array(image.resize((size, size), Image.Resampling.NEAREST))
        holes.append(torch.from_numpy((pixels >= 128) == white))
    holes_fhw = torch.stack(holes).to(torch.uint8)
    share = holes_fhw.float().mean().item()
    if share > 0.7:
        other = "black" if white else "white"
        warnings.warn(
            f"the holes of {folder} cover {share:.0%} of the image on average: if they are {other}, set hole: {other}",
            stacklevel=3,
        )
    return holes_fhw


def object(
    n: int,
    canvas: Canvas,
    generator: torch.Generator,  # noqa: ARG001 - nothing is random
) -> MaskDraw:
    """The object of each image, as the data set outlines it, cut out and changed as the image is.

    A bird or a pet is a hole with all its pixels, which a caption then tells of. Raises TrialError where the data set
    does not say where its objects are.
    """
    if canvas.objects_nhw is None:
        raise no_objects("these images")
    place = torch.zeros(n, 4, dtype=torch.long)
    place[:, 0] = torch.arange(n)
    return Files(canvas.size, place, canvas.objects_nhw)


def _require(condition: bool, key: str, given: Any, why: str, fix: str) -> None:
    if not condition:
        raise TrialError(f"{key}: {given!r}", why, "what fits the images", fix)
