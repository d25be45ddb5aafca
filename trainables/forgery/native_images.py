"""Labelled photographs at their own size, and the windows that a detector is trained on.

A window is drawn for each photograph and epoch: of an inpainted one around a pixel of the hole, of another anywhere. A
photograph that is smaller than a window is continued by mirroring, as in `predict`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainables.detect.boxes import masks_to_boxes
from trainables.forgery.forged_images import LabelledImages
from trainables.inference.windows import Region

DRAWS = 3
"""Random numbers in [0, 1) of a window: of the pixel of the hole, the row and the column."""


@dataclass(frozen=True)
class NativeImages(LabelledImages):
    """Photographs that keep their size.

    The columns of `LabelledImages` hold them resized to a square of a window's side, which only pictures show; boxes
    are shares of the photograph's sides.
    """

    photograph: list[Tensor]
    """(3, h, w) uint8, on the CPU."""
    hole: list[Tensor]
    """(h, w) bool, True in the hole."""
    scanned: bool = True
    """Whether a detector sees windows; False for one that gives the same answer for every image."""

    @property
    def window(self) -> int:
        """Side of a window, px."""
        return self.mask_n1hw.shape[2]

    def windows(self, index: Tensor, draw_b3: Tensor) -> LabelledImages:
        """A window of each of these photographs, on their device. draw_b3: DRAWS random numbers for each."""
        places = [
            region(self.hole[i].numpy(), self.window, draw)
            for i, draw in zip(index.tolist(), draw_b3.tolist(), strict=True)
        ]
        device = self.label_n.device
        few = LabelledImages.take(self._without_photographs(), index.to(device))
        if not places:
            return few
        chosen = list(zip(index.tolist(), places, strict=True))
        image_bhw3 = np.stack([place.of(self.photograph[i].permute(1, 2, 0).numpy()) for i, place in chosen])
        mask_b1hw = torch.from_numpy(np.stack([place.of(self.hole[i].numpy()) for i, place in chosen])).unsqueeze(1)
        return replace(
            few,
            image_n3hw=torch.from_numpy(image_bhw3).permute(0, 3, 1, 2).to(device),
            mask_n1hw=mask_b1hw.to(device),
            box_n4=masks_to_boxes(mask_b1hw).to(device),
        )

    def _without_photographs(self) -> LabelledImages:
        return LabelledImages(**{name: getattr(self, name) for name in LabelledImages.__dataclass_fields__})


def region(hole_hw: npt.NDArray[np.bool_], side: int, draw: list[float]) -> Region:
    """The window that three random numbers choose: it contains a pixel of the hole, if there is one."""
    (pixel, *shares), places = draw, np.flatnonzero(hole_hw)
    at = np.unravel_index(places[int(pixel * len(places))], hole_hw.shape) if len(places) else None
    starts = []
    for axis, share in enumerate(shares):
        last = max(0, hole_hw.shape[axis] - side)
        first = 0 if at is None else min(last, max(0, int(at[axis]) - side + 1))
        last = last if at is None else min(last, int(at[axis]))
        starts.append(first + int(share * (last - first + 1)))
    top, left = starts
    return Region(left, top, side, side, side, side)


def fingerprint(*parts: NativeImages) -> str:
    """SHA-256 over the pixels, masks and labels of the splits, in their order."""
    digest = hashlib.sha256()
    for part in parts:
        for pixels, hole, label in zip(part.photograph, part.hole, part.label_n.tolist(), strict=True):
            digest.update(f"{tuple(pixels.shape)} {label}".encode())
            digest.update(pixels.contiguous().numpy().data)
            digest.update(hole.contiguous().numpy().data)
    return digest.hexdigest()
