"""Apply a detector to a split of labelled images, and collect its predictions with the labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.detect import boxes
from trainables.detect.metrics import Floats, LabelledPredictions
from trainables.detect.output import DetectorOutput
from trainables.detect.pixel_ranking import PixelRanking
from trainables.forgery.forged_images import LabelledImages
from trainables.inpaint.dataset import LAYOUT
from trainables.training.distributed import Workers

BATCH = 128


@dataclass(frozen=True)
class SplitPredictions:
    """Predictions of a detector for a whole split."""

    labelled: LabelledPredictions
    """Input of the metrics."""
    box_n4: Floats | None
    """Predicted boxes x1 y1 x2 y2 in [0, 1], ordered and clipped to the image; None if the detector gives no place."""


def predict_split(
    predict: Callable[[Tensor], DetectorOutput], part: LabelledImages, workers: Workers
) -> SplitPredictions:
    """Apply a network to all images of a split. Workers divide the images, and each receives the whole result."""
    n, device = len(part), part.image_n3hw.device
    columns = torch.zeros(n, 9, dtype=torch.float64, device=device)  # logit, IoU, box (4), pixel counts (3)
    ranking = PixelRanking(device)
    kinds = torch.zeros(2, dtype=torch.float64, device=device)  # whether the detector gives a box, and a mask
    for index, output in predict_batches(predict, part, workers.part(torch.arange(n, device=device))):
        at = index.to(device)
        size = part.mask_n1hw.shape[2]
        columns[at, 0] = output.logit_b.double()
        box_b4, mask_b1hw, mask_logit_b1hw = locate_hole(output, size)
        if box_b4 is None or mask_b1hw is None:
            continue
        kinds[0] = 1
        true_b1hw = part.mask_n1hw[at]
        columns[at, 1] = boxes.iou(box_b4, part.box_n4[at]).double()
        columns[at, 2:6] = box_b4.double()
        counts = (mask_b1hw & true_b1hw, mask_b1hw & ~true_b1hw, ~mask_b1hw & true_b1hw)
        columns[at, 6:9] = torch.stack([count.sum((1, 2, 3)).double() for count in counts], 1)
        if mask_logit_b1hw is not None:
            kinds[1] = 1
            positive = part.label_n[at] > 0.5
            ranking.add(mask_logit_b1hw[positive], true_b1hw[positive])
    return gather(part, columns, kinds, ranking, workers)


def gather(
    part: LabelledImages, columns: Tensor, kinds: Tensor, ranking: PixelRanking, workers: Workers
) -> SplitPredictions:
    """The predictions of all workers, each of which has filled its own rows and left the others at zero.

    columns: logit, IoU, box (4) and pixel counts (3) of each image. kinds: whether the detector gives a box, and a
        mask.
    """
    columns, kinds = workers.sum(columns), workers.sum(kinds)
    has_box, has_mask = (bool(kind) for kind in kinds.cpu())
    values = columns.cpu().numpy()
    labelled = LabelledPredictions(
        logit_n=values[:, 0],
        label_n=part.label_n.cpu().numpy() > 0.5,
        kind=part.kind,
        hole_share_n=part.hole_share_n.double().cpu().numpy(),
        sharpness_n=part.sharpness_n.double().cpu().numpy(),
        iou_n=values[:, 1] if has_box else None,
        pixel_n3=values[:, 6:] if has_box else None,
        average_precision_pixel=ranking.average_precision(workers) if has_mask else None,
    )
    return SplitPredictions(labelled, np.ascontiguousarray(values[:, 2:6]) if has_box else None)


def predict_batches(
    predict: Callable[[Tensor], DetectorOutput], part: LabelledImages, index_n: Tensor
) -> Iterator[tuple[Tensor, DetectorOutput]]:
    """Yield (index, output) of a network for some images of a split, batch by batch."""
    for index in torch.split(index_n, BATCH) if len(index_n) else ():
        pixels_b3hw = part.image_n3hw[index.to(part.image_n3hw.device)]
        yield index, predict(pixels_b3hw.to(torch.float32, memory_format=LAYOUT).div_(255))


def locate_hole(output: DetectorOutput, size: int) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """(box_b4, mask_b1hw, mask_logit_b1hw) of the predicted hole in images of `size` px.

    A mask head: the box encloses the pixels with a probability of 0.5 or more. A box head: the box is ordered and
    clipped to the image, the mask is its inside, and the logit is None. A label head: all three are None.
    """
    if output.mask_logit_b1hw is not None:
        logit_b1hw = output.mask_logit_b1hw.float()
        if logit_b1hw.shape[2] != size:
            logit_b1hw = F.interpolate(logit_b1hw, (size, size), mode="bilinear", align_corners=False, antialias=True)
        mask_b1hw = logit_b1hw >= 0
        return boxes.masks_to_boxes(mask_b1hw), mask_b1hw, logit_b1hw
    if output.box_b4 is not None:
        box_b4 = boxes.ordered(output.box_b4.float()).clamp(0, 1)
        return box_b4, boxes.boxes_to_masks(box_b4, size), None
    return None, None, None
