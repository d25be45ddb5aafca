"""Apply a detector to photographs at their own size: overlapping windows, blended as in `predict`.

The logit of a photograph is the highest of its windows, so a threshold that is chosen on such logits of the validation
photographs allows for the number of windows. Boxes and masks are those of the whole photograph: of a mask head the
pixels with a blended probability of 0.5 or more, of a box head the inside of the box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from trainables.detect import boxes
from trainables.detect.inference import SplitPredictions, gather, predict_batches
from trainables.detect.metrics import Bools
from trainables.detect.output import DetectorOutput
from trainables.detect.pixel_ranking import PixelRanking
from trainables.forgery.native_images import NativeImages
from trainables.inference.scanning import scan_windows
from trainables.inference.user_images import Box
from trainables.training.distributed import Workers

Predict = Callable[[Tensor], DetectorOutput]
NOWHERE: Box = (0.0, 0.0, 0.0, 0.0)
"""The box of a map that is 0 everywhere."""


@dataclass(frozen=True)
class Seen:
    """What a detector finds in a photograph."""

    logit: float
    windows: int
    box: Box | None
    """As shares of the sides; None if the head gives no place."""
    map_hw: npt.NDArray[np.float32] | None
    """Probability of each pixel, by the mask head."""
    mask_hw: Bools | None
    """Pixels that are found; None if the head gives no place."""
    feature_f: Tensor | None


def look(predict: Predict, part: NativeImages, index: Tensor) -> Iterator[tuple[int, Seen]]:
    """What a detector finds in some photographs, with their indices.

    predict: without gradients, for images at the network's input size.
    """
    for i in index.tolist():
        yield i, _scanned(predict, part, i) if part.scanned else _same(predict, part, i)


def _scanned(predict: Predict, part: NativeImages, i: int) -> Seen:
    image = Image.fromarray(part.photograph[i].permute(1, 2, 0).contiguous().numpy())
    scan = scan_windows(predict, image, part.window, part.image_n3hw.shape[2], part.image_n3hw.device)
    logit = float(scan.logit_rc.max())
    if scan.level is None:
        return Seen(logit, scan.windows, None, None, None, scan.feature_f)
    box, shape = scan.box() or NOWHERE, tuple(part.hole[i].shape)
    if not scan.gives_mask:
        return Seen(logit, scan.windows, box, None, _inside(box, shape), scan.feature_f)
    map_hw = scan.map_hw
    if map_hw.shape != shape:
        map_hw = np.asarray(cv2.resize(map_hw, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return Seen(logit, scan.windows, box, map_hw, map_hw >= 0.5, scan.feature_f)


def _same(predict: Predict, part: NativeImages, i: int) -> Seen:
    """The answer for the whole photograph."""
    _, output = next(predict_batches(predict, part, torch.tensor([i])))
    logit = float(output.logit_b[0].double())
    if output.box_b4 is None:
        return Seen(logit, 1, None, None, None, None)
    x1, y1, x2, y2 = boxes.ordered(output.box_b4.float()).clamp(0, 1)[0].tolist()
    return Seen(logit, 1, (x1, y1, x2, y2), None, _inside((x1, y1, x2, y2), tuple(part.hole[i].shape)), None)


def _inside(box: Box, shape: tuple[int, ...]) -> Bools:
    """The pixels whose centres lie inside a box."""
    (x1, y1, x2, y2), (height, width) = box, shape
    row_h, column_w = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    inside: Bools = np.outer((row_h >= y1) & (row_h < y2), (column_w >= x1) & (column_w < x2))
    return inside


def predict_photographs(predict: Predict, part: NativeImages, workers: Workers) -> SplitPredictions:
    """Predictions for all photographs. Workers divide them, and each receives the whole result."""
    n, device = len(part), part.image_n3hw.device
    columns = torch.zeros(n, 9, dtype=torch.float64)  # logit, IoU, box (4), pixel counts (3)
    kinds = torch.zeros(2, dtype=torch.float64, device=device)  # whether the detector gives a box, and a mask
    ranking = PixelRanking(device)
    true_n4 = part.box_n4.double().cpu()
    for i, seen in look(predict, part, workers.part(torch.arange(n))):
        columns[i, 0] = seen.logit
        if seen.box is None or seen.mask_hw is None:
            continue
        kinds[0] = 1
        box_4, true_hw = torch.tensor(seen.box, dtype=torch.float64), part.hole[i].numpy()
        columns[i, 1], columns[i, 2:6] = boxes.iou(box_4[None], true_n4[i][None])[0], box_4
        counts = (seen.mask_hw & true_hw, seen.mask_hw & ~true_hw, ~seen.mask_hw & true_hw)
        columns[i, 6:9] = torch.tensor([float(count.sum()) for count in counts])
        if seen.map_hw is not None:
            kinds[1] = 1
            if part.label_n[i] > 0.5:
                map_11hw = torch.from_numpy(seen.map_hw)[None, None].to(device)
                ranking.add(map_11hw, part.hole[i][None, None].to(device))
    return gather(part, columns.to(device), kinds, ranking, workers)


def maps(predict: Predict, part: NativeImages) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """The map of each photograph, at least 0 where a pixel counts as found; none for a detector without places."""
    for i, seen in look(predict, part, torch.arange(len(part))):
        if seen.mask_hw is not None:
            yield i, (seen.mask_hw.astype(np.float32) if seen.map_hw is None else seen.map_hw) - np.float32(0.5)


def recorded(predict: Predict, part: NativeImages) -> dict[str, npt.NDArray[np.generic]]:
    """Arrays for `outputs.npz`: logits, windows, and features of the window with the highest logit."""
    found = [seen for _, seen in look(predict, part, torch.arange(len(part)))]
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "logit": np.array([seen.logit for seen in found], dtype=np.float32),
        "windows": np.array([seen.windows for seen in found], dtype=np.int32),
    }
    features = [seen.feature_f.half() for seen in found if seen.feature_f is not None]
    if features:
        arrays["feature"] = torch.stack(features).numpy()
    return arrays
