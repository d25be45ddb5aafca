"""Makes reals, fakes and controls from a block of photographs and its random draws.

Legend: n photographs of a block, h = w pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from trainables.data.splits import Pixels
from trainables.forgery.encoding import decode, drawn_quality, encode
from trainables.inpaint.inference import Inpainter

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Weights = np.ndarray[Any, np.dtype[np.float32]]
DRAWN = ("inpainter", "quality", "apart", "fake_real", "pasted", "resaved", "resaved_quality")
"""The uniform draws in [0, 1) for each photograph. Changing their order changes every set."""
RESAVED = (50, 95)
"""Lowest and highest JPEG quality of the `resaved` control."""
RESAMPLED = (0.5, 0.9)
"""Smallest and largest factor by which the pixels of a `pasted` control are resized, if they are."""
NOISE = 1.0
"""Smallest denominator of the sharpness (variance of the Laplacian, grey levels squared): about that of rounding."""


@dataclass(frozen=True)
class PhotographBlock:
    """The usable photographs of a block, with their holes."""

    split: str
    place: list[int]
    """Indices of the photographs in the split."""
    source: list[str]
    """Names of the photographs."""
    caption: list[str]
    """Captions of the photographs; may be empty."""
    photograph_nhw3: Pixels
    hole_nhw: Bools
    drawn: Mapping[str, list[float]]
    """The draws of each photograph, by the names in DRAWN."""
    skipped: list[dict[str, str]]
    """Photographs that were left out, with the reasons."""


@dataclass(frozen=True)
class ForgedImage:
    """One image of the set."""

    split: str
    place: int
    """Index of the photograph in the split."""
    source: str
    """Name of the photograph."""
    caption: str
    kind: str
    """One of `trainables.forgery.forged_images.KINDS`."""
    inpainter: str
    """Label of the inpainter; '' if none was used."""
    pixels_hw3: Pixels
    photograph_hw3: Pixels
    hole_hw: Bools | None
    """The pixels that were filled in a fake or a control; None for an unchanged photograph."""
    quality: float
    """The draw of the encoder's quality, in [0, 1)."""
    replaced: float = 0.0
    """Share of the image's pixels that were replaced fully, not blended with the photograph."""

    @property
    def label(self) -> int:
        return int(self.kind == "inpainted")


def draws_of(uniform_nk: Tensor, kept: Sequence[int]) -> dict[str, list[float]]:
    """The draws of the photographs that were kept. One of each two neighbours in the block is `apart`."""
    coin = uniform_nk[0::2, DRAWN.index("apart")] < 0.5
    uniform_nk = uniform_nk.clone()
    uniform_nk[:, DRAWN.index("apart")] = torch.stack([coin, ~coin], dim=1).flatten().float()
    return {name: uniform_nk[list(kept), column].tolist() for column, name in enumerate(DRAWN)}


def make_images(
    resolved: Mapping[str, Any], block: PhotographBlock, inpainters: Sequence[Inpainter]
) -> Iterator[ForgedImage]:
    """The images of a block, photograph by photograph: the real image, the fake, then the controls."""
    fake_n = [resolved["reals"] == "paired" or apart > 0 for apart in block.drawn["apart"]]
    chosen_n = [int(u * len(inpainters)) for u in block.drawn["inpainter"]]
    passes_n = [_is_in(resolved["fake_reals"], u) for u in block.drawn["fake_real"]]
    raw = resolved["composite"] == "raw"
    weight_nhw = [_weight(hole_hw, resolved) for hole_hw in block.hole_nhw]
    hole_nhw = block.hole_nhw if not weight_nhw else np.stack(weight_nhw) > 0
    fill_nhw3 = _passed(block, hole_nhw, inpainters, fake_n, chosen_n)
    no_hole_nhw = np.zeros_like(block.hole_nhw)  # only needed for raw: a composite with no hole is the photograph
    rebuilt_nhw3 = _passed(block, no_hole_nhw, inpainters, passes_n, chosen_n) if raw else {}
    for n, photograph_hw3 in enumerate(block.photograph_nhw3):
        hole_hw, label = hole_nhw[n], inpainters[chosen_n[n]].label

        def image(kind: str, pixels_hw3: Pixels, hole_hw: Bools | None, inpainter: str = "", n: int = n) -> ForgedImage:
            place, quality = block.place[n], block.drawn["quality"][n]
            photograph = block.photograph_nhw3[n]
            of = (block.split, place, block.source[n], block.caption[n])
            replaced = float((weight_nhw[n] >= 1).mean())
            return ForgedImage(*of, kind, inpainter, pixels_hw3, photograph, hole_hw, quality, replaced)

        has_real = resolved["reals"] == "paired" or not fake_n[n]
        controls = _controls(resolved, block, n, weight_nhw[n])
        if resolved.get("controls") == "instead":
            controls = controls[:1] if has_real else []
            has_real = has_real and not controls
        if has_real:
            kind = "fake_real" if passes_n[n] else "real"
            yield image(kind, rebuilt_nhw3.get(n, photograph_hw3), None)
        if fake_n[n]:
            pixels_hw3 = fill_nhw3[n] if raw else _composite(photograph_hw3, fill_nhw3[n], weight_nhw[n])
            yield image("inpainted", pixels_hw3, hole_hw, label)
        for kind, pixels_hw3 in controls:
            yield image(kind, pixels_hw3, hole_hw)


def _controls(
    resolved: Mapping[str, Any], block: PhotographBlock, n: int, weight_hw: Weights
) -> list[tuple[str, Pixels]]:
    """The controls of a photograph, with their kinds."""
    photograph_hw3 = block.photograph_nhw3[n]
    drawn = {name: values[n] for name, values in block.drawn.items()}
    found = []
    if _is_in(resolved["pasted"], drawn["pasted"]):
        again_hw3 = _resampled(photograph_hw3, resolved, drawn) if resolved.get("pasted_by") else photograph_hw3
        pasted_hw3 = _composite(photograph_hw3, again_hw3, weight_hw)
        if not resolved.get("pasted_by") or (pasted_hw3 != photograph_hw3).any():  # a flat hole stays as it is
            found.append(("pasted", pasted_hw3))
    if _is_in(resolved["resaved"], drawn["resaved"]):
        again_hw3 = _saved_again(photograph_hw3, drawn["resaved_quality"])
        found.append(("resaved", _composite(photograph_hw3, again_hw3, weight_hw)))
    return found


def _is_in(share: float | None, uniform: float) -> bool:
    return share is not None and uniform < share


def _passed(
    block: PhotographBlock,
    hole_nhw: Bools,
    inpainters: Sequence[Inpainter],
    wanted_n: Sequence[bool],
    chosen_n: Sequence[int],
) -> dict[int, Pixels]:
    """The inpainter's output for each wanted photograph with these holes, by n."""
    output_of: dict[int, Pixels] = {}
    for number, inpainter in enumerate(inpainters):
        index = [n for n, wanted in enumerate(wanted_n) if wanted and chosen_n[n] == number]
        if index:
            image_b3hw = torch.from_numpy(block.photograph_nhw3[index]).permute(0, 3, 1, 2).contiguous()
            captions = [block.caption[n] for n in index]
            filled_b3hw = inpainter.fill(image_b3hw, torch.from_numpy(hole_nhw[index]).unsqueeze(1), captions)
            output_of.update(zip(index, filled_b3hw.permute(0, 2, 3, 1).contiguous().numpy(), strict=True))
    return output_of


def _composite(photograph_hw3: Pixels, fill_hw3: Pixels, weight_hw: Weights) -> Pixels:
    """The fill in the hole, and the photograph elsewhere, unchanged to the last bit. weight_hw: see `_weight`."""
    weight_hw1 = weight_hw[..., None]
    mixed_hw3 = weight_hw1 * fill_hw3 + (1 - weight_hw1) * photograph_hw3
    return np.where(weight_hw1 > 0, np.rint(mixed_hw3).astype(np.uint8), photograph_hw3)


def _weight(hole_hw: Bools, resolved: Mapping[str, Any]) -> Weights:
    """Weight of the fill in each pixel: 0 where the photograph stays, 1 where it is replaced.

    hole_hw: the drawn hole. With a feather, the photograph fades into the fill over so many px, inside of the hole's
    edge or in a ring outside of it.
    """
    feather = resolved["feather"]
    if feather is None:
        return hole_hw.astype(np.float32)
    outside = resolved.get("feather_side") == "outside"
    of_hw = (~hole_hw if outside else hole_hw).astype(np.uint8)
    share_hw = cv2.distanceTransform(of_hw, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) / (feather + 1)
    weight_hw: Weights = np.clip(1 - share_hw if outside else share_hw, 0, 1)  # pixels beside the edge: distance 1
    return weight_hw


def _resampled(photograph_hw3: Pixels, resolved: Mapping[str, Any], drawn: Mapping[str, float]) -> Pixels:
    """The photograph after it was resized and back, and saved by the encoder of the set. drawn: by name of the draw."""
    low, high = RESAMPLED
    side = len(photograph_hw3)
    uniform = drawn["pasted"] / resolved["pasted"]  # below 1 for a photograph that was chosen
    small = max(1, round(side * (low + (high - low) * uniform)))
    there_hw3 = cv2.resize(photograph_hw3, (small, small), interpolation=cv2.INTER_AREA)
    back_hw3 = cv2.resize(there_hw3, (side, side), interpolation=cv2.INTER_CUBIC)
    again = decode(encode(back_hw3, resolved["encoder"], drawn_quality(resolved["encoder"], drawn["quality"])))
    assert again is not None
    return again


def _saved_again(photograph_hw3: Pixels, uniform: float) -> Pixels:
    low, high = RESAVED
    again = decode(encode(photograph_hw3, {"name": "jpeg"}, low + int(uniform * (high - low + 1))))
    assert again is not None
    return again


def box(hole_hw: Bools) -> list[float]:
    """Bounding box x1 y1 x2 y2 of a hole, as shares of the image's sides; half-open, so one pixel has an area."""
    (rows,), (columns,) = np.nonzero(hole_hw.any(axis=1)), np.nonzero(hole_hw.any(axis=0))
    h, w = hole_hw.shape
    return [
        float(columns[0] / w),
        float(rows[0] / h),
        float((columns[-1] + 1) / w),
        float((rows[-1] + 1) / h),
    ]


def sharpness(image: ForgedImage) -> float:
    """Variance of the Laplacian inside the hole, relative to that of the photograph: below 1, the fill is blurrier.

    The hole's edge, where the Laplacian depends on known pixels, is excluded if the hole is wide enough.
    """
    assert image.hole_hw is not None
    inside_hw = cv2.erode(image.hole_hw.astype(np.uint8), np.ones((3, 3), dtype=np.uint8)) > 0
    where_hw = inside_hw if inside_hw.any() else image.hole_hw
    filled, original = (
        float(cv2.Laplacian(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.CV_32F)[where_hw].var())
        for pixels in (image.pixels_hw3, image.photograph_hw3)
    )
    return filled / max(original, NOISE) if math.isfinite(filled) else 0.0
