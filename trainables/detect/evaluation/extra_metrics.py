"""Metrics of detectors that a sweep asks for by `report.extra`, on the test images and on every further test set.

    balanced_accuracy       mean of the true positive and the true negative rate, at a probability of 0.5
    ..._tuned               the same, or `fpr_authentic`, at the threshold that is best on the validation images

Metrics of the map of a mask head, or of the filled box, are means over inpainted images whose hole is not the whole:

    pixel_f1_best           F1 at the threshold that is best for the image, which nobody knows: an upper limit
    pixel_f1_best_either    the better of that of the map and of the inverted map (Guillaro et al. 2023, TruFor, whose
                            code takes a map that is dark in the hole as well)
    pixel_f1_no_border      F1 at a probability of 0.5 without the pixels beside the hole's edge, whose label is
                            uncertain: as in TruFor's code, 7 px on its inside and 5 px on its outside of an image of
                            256 px, and in proportion of others; at least 1 px and none
    mean_iou_region         IoU of the true box with that of the largest connected region of at least 0.5: a box around
                            all such pixels, as in `mean_iou`, grows with every stray one
    pixel_auc               area under the ROC curve of the image's pixels
    pixel_fpr_authentic     share of the pixels above 0.5, mean over untouched photographs

Where all values of a map are equal, its best F1 is that of the whole image. A metric that cannot be computed is left
out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import maximum_filter, minimum_filter
from torch import Tensor

from trainables.detect.evaluation import photographs
from trainables.detect.inference import locate_hole, predict_batches
from trainables.detect.metrics import Bools, Floats, LabelledPredictions, at_threshold
from trainables.detect.output import DetectorOutput
from trainables.forgery.forged_images import LabelledImages
from trainables.forgery.native_images import NativeImages

IMAGES = ("balanced_accuracy", "balanced_accuracy_tuned", "fpr_authentic_tuned")
"""Metrics of the labels."""
PIXELS = (
    *("pixel_f1_best", "pixel_f1_best_either", "pixel_f1_no_border", "pixel_auc", "pixel_fpr_authentic"),
    "mean_iou_region",
)
"""Metrics of the pixels: means of a value for each image."""
NAMES = (*IMAGES, *PIXELS)
BORDER = (15 / 256, 11 / 256)
"""Windows of the filters that find the pixels inside and outside of a hole that are not beside its edge, in sides."""

Map = npt.NDArray[Any]


def of_labels(predictions: LabelledPredictions, threshold: float | None, names: Sequence[str]) -> dict[str, float]:
    """The asked metrics of IMAGES that can be computed. threshold: the logit chosen on the validation images."""
    label_n, logit_n = predictions.label_n, predictions.logit_n
    if not predictions.finite:
        return {}
    values: dict[str, float] = {}
    for end, least in (("", 0.0), ("_tuned", threshold)):
        if least is None:
            continue
        if label_n.any() and not label_n.all():
            recall = at_threshold(logit_n, label_n, least)["recall"]
            values[f"balanced_accuracy{end}"] = (recall + float((logit_n[~label_n] < least).mean())) / 2
        authentic_n = np.array([kind == "real" for kind in predictions.kind]) & ~label_n
        if authentic_n.any():
            values[f"fpr_authentic{end}"] = float((logit_n[authentic_n] >= least).mean())
    return {name: value for name, value in values.items() if name in names}


def of_pixels(
    predict: Callable[[Tensor], DetectorOutput], part: LabelledImages, names: Sequence[str]
) -> dict[str, Floats]:
    """The asked metrics of PIXELS for each image, NaN where they are not defined; none for a detector without places.

    predict: applied to images at the network's input size.
    """
    asked = [name for name in PIXELS if name in names]
    values = {name: np.full(len(part), np.nan) for name in asked}
    if isinstance(part, NativeImages):
        for n, map_hw in photographs.maps(predict, part) if asked else ():
            found = _of_image(map_hw, part.hole[n].numpy(), part.kind[n] == "real", bool(part.label_n[n] > 0.5))
            for name in asked:
                values[name][n] = found.get(name, np.nan)
        return values if any(np.isfinite(value_n).any() for value_n in values.values()) else {}
    for index, output in predict_batches(predict, part, torch.arange(len(part))) if asked else ():
        _, mask_b1hw, logit_b1hw = locate_hole(output, part.mask_n1hw.shape[2])
        if mask_b1hw is None:
            return {}
        map_b1hw = mask_b1hw.float() - 0.5 if logit_b1hw is None else logit_b1hw
        true_b1hw = part.mask_n1hw[index.to(part.mask_n1hw.device)]
        for n, map_hw, true_hw in zip(
            index.tolist(), map_b1hw[:, 0].cpu().numpy(), true_b1hw[:, 0].cpu().numpy(), strict=True
        ):
            found = _of_image(map_hw, true_hw, part.kind[n] == "real", bool(part.label_n[n] > 0.5))
            for name in asked:
                values[name][n] = found.get(name, np.nan)
    return values


def means(values: Mapping[str, Floats]) -> dict[str, float]:
    """The mean of each metric over the images for which it is defined."""
    return {name: float(np.nanmean(value_n)) for name, value_n in values.items() if np.isfinite(value_n).any()}


def _of_image(map_hw: Map, true_hw: Bools, authentic: bool, inpainted: bool) -> dict[str, float]:
    if authentic:
        return {"pixel_fpr_authentic": float((map_hw >= 0).mean())}
    if not inpainted or true_hw.all() or not true_hw.any():
        return {}
    map_n, true_n = map_hw.ravel(), true_hw.ravel()
    best = best_f1(map_n, true_n)
    found = {
        "pixel_f1_best": best,
        "pixel_f1_best_either": max(best, best_f1(-map_n, true_n)),
        "pixel_auc": pixel_auc(map_n, true_n),
        "mean_iou_region": _box_iou(largest_region(map_hw >= 0), true_hw),
    }
    inside_hw, outside_hw = without_border(true_hw)
    if inside_hw.any():
        detected_hw = map_hw >= 0
        right, wrong = int((detected_hw & inside_hw).sum()), int((detected_hw & outside_hw).sum())
        found["pixel_f1_no_border"] = 2 * right / (right + wrong + int(inside_hw.sum()))
    return found


def best_f1(map_n: Map, true_n: Bools) -> float:
    """The highest F1 of the pixels over all thresholds; pixels of equal values are above the same thresholds."""
    order = np.argsort(-map_n, kind="stable")
    right_n = np.cumsum(true_n[order])
    f1_n = 2 * right_n / (np.arange(1, len(map_n) + 1) + right_n[-1])
    sorted_n = map_n[order]
    ends_n = np.append(sorted_n[1:] != sorted_n[:-1], True)
    return float(f1_n[ends_n].max())


def pixel_auc(map_n: Map, true_n: Bools) -> float:
    """Area under the ROC curve of the pixels; a tie counts as half. Both classes must occur."""
    order = np.argsort(map_n, kind="stable")
    sorted_n, positive_n = map_n[order], true_n[order]
    ends = np.flatnonzero(np.append(sorted_n[1:] != sorted_n[:-1], True))
    right = np.diff(np.cumsum(positive_n)[ends], prepend=0).astype(np.float64)
    wrong = np.diff(np.cumsum(~positive_n)[ends], prepend=0).astype(np.float64)
    below = np.cumsum(wrong) - wrong
    return float((right * (below + wrong / 2)).sum() / (right.sum() * wrong.sum()))


def largest_region(detected_hw: Bools) -> Bools:
    """The largest connected region, by edges and corners; nothing of an empty map."""
    count, region_hw, stats, _ = cv2.connectedComponentsWithStats(detected_hw.astype(np.uint8), connectivity=8)
    if count < 2:
        return detected_hw
    return np.asarray(region_hw == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))


def _box_iou(a_hw: Bools, b_hw: Bools) -> float:
    """IoU of the boxes around two regions, in pixels; 0 if one of them is empty."""
    if not a_hw.any() or not b_hw.any():
        return 0.0
    ends = [[(places.min(), places.max() + 1) for places in np.nonzero(one)] for one in (a_hw, b_hw)]
    sides = [max(0, min(a[1], b[1]) - max(a[0], b[0])) for a, b in zip(*ends, strict=True)]
    both = int(sides[0] * sides[1])
    areas = [int((y[1] - y[0]) * (x[1] - x[0])) for y, x in ends]
    return both / (sum(areas) - both)


def without_border(true_hw: Bools) -> tuple[Bools, Bools]:
    """(inside, outside) of a hole without the pixels beside its edge."""
    inner, outer = (2 * round((share * len(true_hw) - 1) / 2) + 1 for share in BORDER)  # odd
    inside_hw: Bools = minimum_filter(true_hw, max(3, inner), mode="nearest")
    outside_hw: Bools = ~maximum_filter(true_hw, outer, mode="nearest")
    return inside_hw, outside_hw
