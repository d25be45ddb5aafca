"""Fills holes of a photograph with a network that was trained on small squares.

Each part of the hole is seen in windows of the network's size that have known pixels around it, with the aspect of the
photograph. A part that is wider than half such a window is seen at a smaller scale, at which its width is a third of
the window, so that the share of the hole is like that of training masks; its fill is enlarged. The pixels outside the
hole never change. `docs/photographs.md` has the measurements behind these choices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from trainables.inference.deep_colour import Deep
from trainables.inference.user_images import Mask
from trainables.inference.windows import Pixels, Region, as_tensor, ramp, starts

LEAST_CONTEXT = 2.0
"""Side of a window over the width of the hole in it, at least."""
CONTEXT = 3.0
"""The same for a hole that is too wide for a window at the resolution of the photograph; less in small photographs."""
AT_ONCE = 2**20
"""Most pixels of one batch of windows."""

_LISTED = 20
"""Parts of a hole that are listed in `Filled.made`."""


@dataclass(frozen=True)
class Filled:
    """A filled photograph."""

    image: Image.Image
    """Upright, in RGB; from `predict.fill`, in the mode and orientation of the file, with 8 bits for colours."""
    made: dict[str, Any]
    """How it was filled, for `filled.json`."""
    note: str = ""
    """A sentence on how coarse the fill is; empty if it has the resolution of the photograph."""
    deep: Deep | None = None
    """From `predict.fill`, the same as `image` with 16 bits per channel, if the file has them."""


class Painter:
    """A network that fills squares of one size."""

    def __init__(self, network: nn.Module, size: int, text: str | None = None, centred: bool = False) -> None:
        self.network, self.size = network.eval(), size
        self.centred = centred
        """Whether it fills holes in the central square of half the side only."""
        self.device = next(network.parameters(), torch.empty(0)).device
        self.captions = None if text is None else [text]

    def __call__(self, image_bhw3: Pixels, mask_bhw: Mask) -> Pixels:
        """The outputs for b squares with holes; known pixels are returned as given."""
        mask_b1hw = torch.from_numpy(mask_bhw).float()[:, None].to(self.device)
        damaged_b3hw = as_tensor(image_bhw3, self.device) * (1 - mask_b1hw)
        with torch.inference_mode():
            tokens = () if self.captions is None else (self.network.tokens(self.captions * len(mask_bhw)),)  # type: ignore[operator]
            output_b3hw = self.network(damaged_b3hw, mask_b1hw, *tokens).clamp(0, 1)
        output = output_b3hw.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return np.where(mask_bhw[..., None], output, image_bhw3)


def resized(painter: Painter, image: Image.Image, hole_hw: Mask) -> Filled:
    """Fill the hole in a copy of the whole image that is resized to the network's square, whatever the aspect."""
    side, pixels = painter.size, np.asarray(image)
    whole = Region(0, 0, image.width, image.height, side, side)
    output = painter(whole.seen(pixels)[None], whole.seen_mask(hole_hw)[None])[0]
    filled = np.where(hole_hw[..., None], whole.enlarged(output), pixels)
    made = {"resized": True, "network_px": side, "largest_cell_px": round(whole.scale, 2)}
    note = ""
    if image.size != (side, side):
        note = f"the whole image was resized to {side} x {side} px: a pixel of the fill covers " + (
            f"{image.width / side:.3g} x {image.height / side:.3g} px"
        )
    return Filled(Image.fromarray(filled), made, note)


def windowed(painter: Painter, image: Image.Image, hole_hw: Mask) -> Filled:
    """Fill the hole in windows, its widest parts first; what is filled is known to the windows of narrower parts."""
    pixels, left = np.array(image), hole_hw.copy()
    parts = []
    for part_hw, width in _parts(hole_hw, painter):
        region, places = _windows(part_hw, width, painter)
        seen, mask = region.seen(pixels), region.seen_mask(left)
        if painter.centred:
            seen, mask = _centred(seen, mask)
        output = region.enlarged(_blend(painter, seen, mask, places))
        there, here = region.inside(hole_hw.shape)
        pixels[there] = np.where(part_hw[there][..., None], output[here], pixels[there])
        left &= ~part_hw
        parts.append((region.scale, len(places), round(painter.size * region.scale)))
    made = {
        "resized": False,
        "network_px": painter.size,
        "largest_cell_px": round(max(scale for scale, _, _ in parts), 2),
        "parts": [
            {"windows": count, "window_px": side, "cell_px": round(scale, 2)} for scale, count, side in parts[:_LISTED]
        ],
        "parts_in_all": len(parts),
    }
    coarsest, _, side = max(parts)
    note = ""
    if coarsest > 1:
        note = (
            f"the hole is wide for a network of {painter.size} px: it was filled in windows of {side} px that were "
            f"resized to {painter.size}, so a pixel of the fill covers {coarsest:.3g} x {coarsest:.3g} px"
        )
    return Filled(Image.fromarray(pixels), made, note)


def _parts(hole_hw: Mask, painter: Painter) -> Iterator[tuple[Mask, float]]:
    """The connected parts of a hole and their widths, px, the widest first; those that fit a window come as one.

    The width is twice the largest distance to a known pixel: for a brush stroke it is that of the brush.
    """
    import cv2

    count, label_hw, stats, _ = cv2.connectedComponentsWithStats(hole_hw.astype(np.uint8), connectivity=8)
    widths = np.zeros(count)
    if painter.centred:
        widths[1:] = stats[1:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(1)
    else:
        np.maximum.at(widths, label_hw, 2 * cv2.distanceTransform(hole_hw.astype(np.uint8), cv2.DIST_C, 3))
    wide = [label for label in range(1, count) if painter.centred or LEAST_CONTEXT * widths[label] > painter.size]
    for label in sorted(wide, key=lambda label: -widths[label]):
        yield label_hw == label, float(widths[label])
    narrow_hw = hole_hw & ~np.isin(label_hw, wide)
    if narrow_hw.any():
        yield narrow_hw, 1.0


def _windows(part_hw: Mask, width: float, painter: Painter) -> tuple[Region, list[tuple[int, int]]]:
    """The region around a part of a hole, and (top, left) of the windows in it, in px that the network sees."""
    size = painter.size
    if painter.centred:  # rounding can add a pixel on either side of a hole that takes half the side at most
        scale = width / (size // 2 - 2) if width > size // 2 else 1.0
    else:
        # A window that is larger than the photograph would show mirrored context alone.
        scale = max(size, min(CONTEXT * width, max(LEAST_CONTEXT * width, min(part_hw.shape)))) / size
    axes = []
    for axis, whole in enumerate(part_hw.shape):
        (place,) = np.nonzero(part_hw.any(1 - axis))
        first, last = int(place[0]), int(place[-1]) + 1
        seen = max(size, -(-(last - first) // scale) + size - int(size / LEAST_CONTEXT))
        length = round(seen * scale)
        start = round((first + last - length) / 2)
        if not painter.centred and length <= whole:
            start = min(max(start, 0), whole - length)
        axes.append((start, length, int(seen)))
    (top, height, seen_height), (left, wide, seen_width) = axes
    region = Region(left, top, wide, height, seen_width, seen_height)
    mask = region.seen_mask(part_hw)
    places = [(y, x) for y in starts(seen_height, size, size // 4) for x in starts(seen_width, size, size // 4)]
    return region, [(y, x) for y, x in places if mask[y : y + size, x : x + size].any()]


def _centred(seen: Pixels, mask: Mask) -> tuple[Pixels, Mask]:
    """A window whose hole is in the centre alone; other missing pixels get the mean colour of the known ones."""
    side = mask.shape[0]
    edge = np.ones((side, side), dtype=bool)
    edge[side // 4 : side - side // 4, side // 4 : side - side // 4] = False
    known = ~mask
    colour = seen[known].mean(0).round().astype(np.uint8) if known.any() else np.uint8(128)
    return np.where((mask & edge)[..., None], colour, seen), mask & ~edge


def _blend(painter: Painter, seen: Pixels, mask: Mask, places: list[tuple[int, int]]) -> Pixels:
    """The filled region: where windows overlap, the mean of their outputs, weighted by the distance to their edges."""
    size, weight = painter.size, ramp(painter.size)[..., None]
    total, weights = np.zeros(seen.shape, np.float32), np.zeros((*mask.shape, 1), np.float32)
    at_once = max(1, AT_ONCE // size**2)
    for first in range(0, len(places), at_once):
        at = [(slice(y, y + size), slice(x, x + size)) for y, x in places[first : first + at_once]]
        outputs = painter(np.stack([seen[place] for place in at]), np.stack([mask[place] for place in at]))
        for place, output in zip(at, outputs, strict=True):
            total[place] += weight * output
            weights[place] += weight
    filled = (total / np.maximum(weights, 1)).round().clip(0, 255).astype(np.uint8)
    return np.where(mask[..., None] & (weights > 0), filled, seen)
