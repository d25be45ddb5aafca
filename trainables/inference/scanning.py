"""Scans a photograph with a detector that was trained on small squares, in overlapping windows at its own resolution.

Each window has the size of the detector's image set and is resized to the network's input, as in training. Scores and
maps are blended where windows overlap. Where a network has a mask or box head, the place is the largest connected
region of the blended map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from trainables.detect.inference import locate_hole
from trainables.detect.output import DetectorOutput
from trainables.detect.perturbations import resize
from trainables.inference.user_images import Box
from trainables.inference.windows import Pixels, Region, as_tensor, ramp, starts

MOST_WINDOWS = 4000
"""Most windows of a photograph; a larger one is scanned with less overlap, and then at a smaller scale."""
AT_ONCE = 2**20
"""Most pixels of one batch at the size of the network's input."""

OF_MASK = "probability of each pixel, by the mask head"

Floats = npt.NDArray[np.float32]
Predict = Callable[[Tensor], DetectorOutput]


@dataclass(frozen=True)
class Scan:
    """What a detector finds in the windows of a photograph, upright."""

    logit_rc: npt.NDArray[np.float64]
    """Logit of each window, by row and column."""
    tops: list[int]
    lefts: list[int]
    """Places of the windows, px of the scanned photograph."""
    side: int
    """Side of a window, px of the scanned photograph."""
    scale: float
    """Side of a pixel of the scanned photograph, px of the file."""
    map_hw: Floats
    """Blended map in [0, 1] of the scanned photograph."""
    made: str
    """What the map shows."""
    level: float | None
    """From this value on, a pixel of the map belongs to a region; None if the head gives no place."""
    exact: Box | None
    """The box of a box head, as shares of the sides, if the only window is the whole photograph."""
    feature_f: Tensor | None = None
    """The features that the network's last linear layer sees in the window with the highest logit."""

    @property
    def gives_mask(self) -> bool:
        return self.made == OF_MASK

    @property
    def windows(self) -> int:
        return self.logit_rc.size

    def box(self) -> Box | None:
        """x1 y1 x2 y2 of the largest connected region of the map, as shares of the sides."""
        return self.exact or (None if self.level is None else largest_region(self.map_hw, self.level))

    def summary(self) -> dict[str, Any]:
        """What each window saw, for JSON."""
        probability_rc = 1 / (1 + np.exp(-self.logit_rc.clip(-500, 500)))
        return {
            "window_px": round(self.side * self.scale, 2),
            "tops": [round(top * self.scale, 2) for top in self.tops],
            "lefts": [round(left * self.scale, 2) for left in self.lefts],
            "probabilities": [[round(float(value), 4) for value in row] for row in probability_rc],
            "scale": round(self.scale, 3),
        }


def set_size(config: Mapping[str, Any]) -> int:
    """Side of the images of a detector's set, px. config: resolved."""
    data = config["data"]
    size: int = data["forged"]["images"]["size"] if data.get("forged") else data["set"]["size"]
    return size


def largest_region(map_hw: Floats, level: float) -> Box | None:
    """x1 y1 x2 y2 of the largest connected region of at least `level`, as shares of the sides; None if it has none."""
    import cv2

    count, _, stats, _ = cv2.connectedComponentsWithStats((map_hw >= level).astype(np.uint8), connectivity=8)
    if count < 2:
        return None
    height, width = map_hw.shape
    left, top, wide, high, _ = (int(value) for value in stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax()])
    return left / width, top / height, (left + wide) / width, (top + high) / height


def scan(network: nn.Module, config: Mapping[str, Any], image: Image.Image) -> Scan:
    """Apply a detector to all windows of an upright RGB image. config: the trial's resolved configuration."""

    def predict(image_b3hw: Tensor) -> DetectorOutput:
        with torch.inference_mode():
            output: DetectorOutput = network(image_b3hw)
            return output

    device = next(network.parameters()).device
    return scan_windows(predict, image, set_size(config), config["data"]["input_size"], device)


def scan_windows(predict: Predict, image: Image.Image, own: int, side: int, device: torch.device) -> Scan:
    """Apply a detector to all windows of an upright RGB image.

    predict: without gradients. own: side of a window, px of the image. side: of the network's input, px.
    """
    size, step = _plan(image.size, own)
    pixels = np.asarray(image if size == image.size else image.resize(size, Image.Resampling.BOX))
    width, height = size
    tops, lefts = (starts(length, own, step) for length in (height, width))
    total_hw, weight_hw = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    regions = [Region(left, top, own, own, own, own) for top in tops for left in lefts]
    logits, found, at_once = [], None, max(1, AT_ONCE // max(own, side) ** 2)
    best, feature_f = -float("inf"), None
    for first in range(0, len(regions), at_once):
        some = regions[first : first + at_once]
        found = predict(network_input(np.stack([region.of(pixels) for region in some]), side, device))
        logit_b = found.logit_b.double().cpu()
        seen_bhw = _maps(found, own)
        logits.append(logit_b.numpy())
        if found.feature_bf is not None and float(logit_b.max()) > best:
            best, feature_f = float(logit_b.max()), found.feature_bf[int(logit_b.argmax())].cpu()
        for region, seen_hw in zip(some, seen_bhw, strict=True):
            there, here = region.inside(total_hw.shape)
            total_hw[there] += (seen_hw * ramp(own))[here]
            weight_hw[there] += ramp(own)[here]
    assert found is not None
    map_hw = total_hw / weight_hw
    made, level = _described(found, float(map_hw.max()))
    logit_rc = np.concatenate(logits).reshape(len(tops), len(lefts))
    exact = None
    if size == (own, own) and found.mask_logit_b1hw is None and (box_b4 := locate_hole(found, own)[0]) is not None:
        x1, y1, x2, y2 = box_b4[0].tolist()
        exact = (x1, y1, x2, y2)
    return Scan(logit_rc, tops, lefts, own, image.width / width, map_hw, made, level, exact, feature_f)


def network_input(image_bhw3: Pixels, side: int, device: torch.device) -> Tensor:
    """8-bit images of the set's size as the network sees them in training: image_b3hw in [0, 1] of `side` px."""
    return resize(as_tensor(image_bhw3, device).mul_(255), side).round().clamp(0, 255).div(255)


def _plan(size: tuple[int, int], own: int) -> tuple[tuple[int, int], int]:
    """(size of the scanned photograph, step of the windows) with at most MOST_WINDOWS windows."""
    for step in (own // 2, own):
        if len(starts(size[0], own, step)) * len(starts(size[1], own, step)) <= MOST_WINDOWS:
            return size, step
    scale = (size[0] * size[1] / (MOST_WINDOWS * own**2 / 2)) ** 0.5
    return (max(1, round(size[0] / scale)), max(1, round(size[1] / scale))), own


def _maps(found: DetectorOutput, own: int) -> npt.NDArray[np.float32]:
    """(b, own, own): the mask head's probabilities; else the label's, inside the box if there is one."""
    _, mask_b1hw, mask_logit_b1hw = locate_hole(found, own)
    if mask_logit_b1hw is not None:
        seen = mask_logit_b1hw[:, 0].sigmoid()
    else:
        seen = found.logit_b.float().sigmoid()[:, None, None].expand(-1, own, own)
        seen = seen if mask_b1hw is None else seen * mask_b1hw[:, 0]
    maps: npt.NDArray[np.float32] = seen.float().cpu().numpy()
    return maps


def _described(found: DetectorOutput, highest: float) -> tuple[str, float | None]:
    """(what the map shows, the value from which on a pixel belongs to a region)."""
    if found.mask_logit_b1hw is not None:
        return OF_MASK, 0.5 if highest >= 0.5 else max(highest / 2, 1e-6)
    if found.box_b4 is not None:
        return "probability of the windows, inside their boxes", max(highest / 2, 1e-6)
    return "probability of the windows", None
