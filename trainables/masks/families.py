"""Mask families. mask == 1 means hole, here and everywhere else.

A mask family is a public function (n, canvas, generator, options); `config.py` has the options of each. It returns a
`MaskDraw`: the parameters of n masks, drawn for a whole epoch from one generator, from which batches are rendered on
the device. Mask i depends on the generator's seed and on i, but not on n or on the batch size.

Legend: b images of a batch, n of an epoch, k lines or squares of an image, f files, h and w pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainables import registry
from trainables.data.image_files import path_below
from trainables.data.splits import no_objects_error
from trainables.errors import TrialError
from trainables.masks import config, mask_files, user_mask
from trainables.masks.rasterise import Blocks, FreeForm, Lines, MaskDraw, MaskFiles, Rectangles, Regions
from trainables.masks.strokes import NUMBERS, segments


@dataclass(frozen=True)
class Canvas:
    """The images for which masks are drawn."""

    size: int
    """Side of the square images, px."""
    root: Path | None
    """The data root, for mask files."""
    objects_nhw: Tensor | None = None
    """The object mask of each image, for object-shaped holes."""


def draw(section: Mapping[str, Any], n: int, canvas: Canvas, generator: torch.Generator) -> MaskDraw:
    """n masks of the family that a resolved `mask` section names. Raises TrialError if they cannot be drawn.

    generator: always on the CPU, so that all devices get the same masks.
    """
    code = registry.find("mask", section["name"])
    options = code.options(section)
    if code.definition:
        return user_mask.draw(code, n, canvas.size, generator, options)
    drawn: MaskDraw = code.function()(n, canvas, generator, options)
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


def lines(n: int, canvas: Canvas, generator: torch.Generator, options: config.LinesConfig) -> MaskDraw:
    """Straight lines with flat ends, clipped at the image border.

    The number of lines is uniform per image. The centre (inside the image), the direction, the length (in [size / 4,
    size]) and the whole-numbered thickness are uniform per line. A pixel is hole if its centre is in a line. The
    document (004_93544f900a7fa97e) states only "random length and thickness". At 32 px, holes cover 4.6 % of the image
    for 1-3 lines of 1-2 px, 6.7 % for 1-5 lines of 1-2 px and 15.5 % for the defaults, close to MODELS.md section 11.
    Drawing one end and a direction instead would clip more and give 3.5, 5.2 and 12.2 %. Thickness is in px, so images
    of twice the size have about half the share.
    """
    _require(
        options.count[1] <= 1000,
        "mask.count",
        options.count,
        "at most 1000 lines per image are supported",
        "count: [1, 10]",
    )
    _require(
        options.thickness[1] <= canvas.size,
        "mask.thickness",
        options.thickness,
        f"a line would be thicker than the image side ({canvas.size} px)",
        f"thickness: [1, {min(3, canvas.size)}]",
    )
    most = options.count[1]
    uniform = _uniform(n, 1 + 5 * most, generator)
    drawn = torch.arange(most) < _integer(uniform[:, :1], options.count[0], most)
    x, y, angle, length, thick = uniform[:, 1:].view(n, most, 5).unbind(2)
    sine = (math.pi * angle).sin().clamp(min=1e-4)  # avoids division by 0; 1e-4 rad moves a line by less than a pixel
    cosine = (math.pi * angle).cos()
    across = _integer(thick, *options.thickness) / 2 / sine
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


def rectangle(n: int, canvas: Canvas, generator: torch.Generator, options: config.RectangleConfig) -> MaskDraw:
    """One rectangle inside the image. Its share of the area, the logarithm of height / width and its place are uniform.

    Sides are rounded to whole pixels. The ratio is limited where a side would be longer than the image.
    """
    share, ratio, top, left = _uniform(n, 4, generator).unbind(1)
    area = _between(share, *options.fraction)
    widest = (-area.log()).clamp(
        max=math.log(options.aspect)
    )  # height^2 = area * ratio and width^2 = area / ratio, both <= 1
    log_ratio = (2 * ratio - 1) * widest
    height, width = (
        (canvas.size * (area * r.exp()).sqrt()).round().clamp(1, canvas.size) for r in (log_ratio, -log_ratio)
    )
    corner = [_integer(top, 0, canvas.size - height), _integer(left, 0, canvas.size - width)]
    return Rectangles(canvas.size, torch.stack([*corner, height, width], dim=1))


def box(n: int, canvas: Canvas, generator: torch.Generator, options: config.BoxConfig) -> MaskDraw:
    """One rectangle inside the image. Its height, width and place are uniform and independent of each other.

    These are the boxes of 000_0d9f1f22a9376145, which does not state their range. Sides are rounded to whole pixels.
    """
    tall, wide, top, left = _uniform(n, 4, generator).unbind(1)
    height, width = ((canvas.size * _between(u, *options.side)).round().clamp(1, canvas.size) for u in (tall, wide))
    corner = [_integer(top, 0, canvas.size - height), _integer(left, 0, canvas.size - width)]
    return Rectangles(canvas.size, torch.stack([*corner, height, width], dim=1))


def centre(
    n: int,
    canvas: Canvas,
    generator: torch.Generator,  # noqa: ARG001 - nothing is random
    options: config.CentreConfig,
) -> MaskDraw:
    """One centred square, the same for every image. Its side is rounded to whole pixels (16 px for 32 px and 0.25)."""
    side = round(canvas.size * math.sqrt(options.fraction))
    _require(
        0 < side < canvas.size,
        "mask.fraction",
        options.fraction,
        f"at {canvas.size} px the hole would cover {'no' if side == 0 else 'every'} pixel",
        "fraction: 0.25",
    )
    corner = (canvas.size - side) // 2
    return Rectangles(canvas.size, torch.tensor([[corner, corner, side, side]], dtype=torch.float32).expand(n, 4))


# --- random regions and blocks (Pathak et al. 2016) -------------------------------------------------------------------


def random_blocks(n: int, canvas: Canvas, generator: torch.Generator, options: config.RandomBlocksConfig) -> MaskDraw:
    """Squares inside the image that may overlap, uniform in number and place.

    Five squares with a fifth of the side cover at most a fifth of the image, below the quarter that the source allows.
    """
    pixels = round(canvas.size * options.side)
    _require(
        0 < pixels < canvas.size,
        "mask.side",
        options.side,
        f"at {canvas.size} px a square would cover {'no' if pixels == 0 else 'every'} pixel",
        "side: 0.2",
    )
    _require(
        options.count[1] <= 1000,
        "mask.count",
        options.count,
        "at most 1000 squares per image are supported",
        "count: [1, 5]",
    )
    uniform = _uniform(n, 1 + 2 * options.count[1], generator)
    drawn = torch.arange(options.count[1]) < _integer(uniform[:, :1], *options.count)
    corner_nk2 = _integer(uniform[:, 1:].view(n, options.count[1], 2), 0, canvas.size - pixels)
    extent_nk2 = (drawn * float(pixels)).unsqueeze(2).expand(-1, -1, 2)  # a square that is not drawn has no pixel
    return Blocks(canvas.size, torch.cat([corner_nk2, extent_nk2], dim=2))


def random_regions(n: int, canvas: Canvas, generator: torch.Generator, options: config.RandomRegionsConfig) -> MaskDraw:
    """Blobs of any shape: the pixels where smooth noise is lowest. The share of each image is uniform in `fraction`.

    Pathak's code enlarges uniform noise bicubically (7.7 cells along 128 px), thresholds it at 0.25 and keeps a crop
    with 20 to 30 % holes, one for each batch. Here each image has its own noise, shifted at random within a cell and
    thresholded at its own quantile, so no crop is rejected. Each image has its own mask.
    """
    grid = options.cells + 4  # two more cells on either side, for the bicubic window at any shift
    uniform = _uniform(n, 3 + grid * grid, generator)
    pixels = (_between(uniform[:, :1], *options.fraction) * canvas.size**2).round_().clamp_(1, canvas.size**2 - 1)
    return Regions(canvas.size, torch.cat([pixels, uniform[:, 1:]], dim=1), options.cells)


# --- free form (Yu et al. 2019) ---------------------------------------------------------------------------------------


def free_form(n: int, canvas: Canvas, generator: torch.Generator, options: config.FreeFormConfig) -> MaskDraw:
    """Brush strokes (`strokes.py`) and a rectangle: the training masks of DeepFill v2's code, scaled to the image.

    The rectangle has half the image's height and width and a uniform place. It is then shortened by up to a sixteenth
    of the image side at top and bottom alike, and likewise left and right: 96 to 128 px of 256. Holes cover about a
    third of the image at any size.
    """
    _require(
        options.strokes[1] <= 100,
        "mask.strokes",
        options.strokes,
        "at most 100 strokes per image are supported",
        "strokes: [1, 3]",
    )
    uniform = _uniform(n, 5 + NUMBERS * options.strokes[1], generator)
    box, cut = canvas.size // 2, canvas.size // 16
    corner_n2 = _integer(uniform[:, :2], 0, canvas.size - box - 1)
    cut_n2 = _integer(uniform[:, 2:4], 0, cut)
    rectangle_n4 = torch.cat([corner_n2 + cut_n2, (box - 2 * cut_n2) * options.rectangle], dim=1)
    drawn_nk = torch.arange(options.strokes[1]) < _integer(uniform[:, 4:5], *options.strokes)
    strokes_nks = segments(uniform[:, 5:].view(n, options.strokes[1], NUMBERS), drawn_nk, canvas.size)
    return FreeForm(canvas.size, torch.cat([rectangle_n4, strokes_nks.flatten(1)], dim=1))


# --- files ------------------------------------------------------------------------------------------------------------


def irregular(n: int, canvas: Canvas, generator: torch.Generator, options: config.IrregularConfig) -> MaskDraw:
    """One mask file for each image, drawn uniformly from a folder with its subfolders.

    For example the masks of Liu et al. 2018 (`nvidia_irregular_masks/testing_mask_dataset`, holes white). Files are
    ordered by name, resized to the image size by nearest neighbour and thresholded at 128; `fraction` applies after
    that. A mean hole share above 0.7 gives a warning that the polarity may be wrong. Raises TrialError if the folder is
    missing, a file does not decode, a file masks nothing or everything (unless `fraction` excludes it), or no file has
    a share in `fraction`.
    """
    folder = path_below(canvas.root, options.path, "mask.path")
    holes_fhw = mask_files.holes(folder, canvas.size, options.hole == "white")
    if options.fraction is not None:
        shares = holes_fhw.float().mean((1, 2))
        fitting = (shares >= options.fraction[0]) & (shares <= options.fraction[1])
        _require(
            bool(fitting.any()),
            "mask.fraction",
            options.fraction,
            f"the hole shares in {options.path} are {shares.min():.3f} to {shares.max():.3f}, none is in that range",
            f"fraction: [{math.floor(shares.min() * 100) / 100}, {math.ceil(shares.max() * 100) / 100}]",
        )
        holes_fhw = holes_fhw[fitting]
    else:
        mask_files.refuse_useless(holes_fhw, folder, options)
    uniform = _uniform(n, 4, generator)
    turns = (uniform[:, 1:] < 0.5) & options.augment
    file = _integer(uniform[:, :1], 0, len(holes_fhw) - 1)
    return MaskFiles(canvas.size, torch.cat([file.long(), turns.long()], dim=1), holes_fhw)


def object(
    n: int,
    canvas: Canvas,
    generator: torch.Generator,  # noqa: ARG001 - nothing is random
    options: config.ObjectConfig,  # noqa: ARG001 - it has none
) -> MaskDraw:
    """The object of each image (a bird or a pet), from the data set's outlines, cropped and augmented like the image.

    The caption then describes the missing object. Raises TrialError if the data set has no object masks.
    """
    if canvas.objects_nhw is None:
        raise no_objects_error("these images")
    place = torch.zeros(n, 4, dtype=torch.long)
    place[:, 0] = torch.arange(n)
    return MaskFiles(canvas.size, place, canvas.objects_nhw)


def _require(condition: bool, key: str, given: Any, why: str, fix: str) -> None:
    if not condition:
        raise TrialError(f"{key}: {given!r}", why, "values that fit the image size", fix)
