"""Files that a detector writes after its last epoch: predictions for each image, and pictures. No file has pickles.

`per_image.npz`, of the test images in their order: probability, label, box and true_box (n, 4; fractions of the
sides), iou (NaN for negatives), hole_share, sharpness. Detectors that predict only labels have no box, true_box and
iou.
`outputs.npz`, for each split of val, test and held (training images that a fold leaves out): <split>_logit,
<split>_label, <split>_source, and <split>_feature, the input of the network's last linear layer in float16. Of
photographs that are scanned in windows, also <split>_windows, their number, and the feature of the window with the
highest logit.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from trainables.detect.evaluation import photographs
from trainables.detect.inference import SplitPredictions, locate_hole, predict_batches
from trainables.detect.metrics import probability
from trainables.detect.output import DetectorOutput
from trainables.forgery.forged_images import LabelledImages
from trainables.forgery.native_images import NativeImages

SAMPLES = 8
LEAST_SIDE = 96
"""Smaller images are enlarged to at least this side, so that the probability on them is readable; px."""
TRUE, PREDICTED = (0, 200, 0), (220, 30, 30)
PER_IMAGE, OUTPUTS = "per_image.npz", "outputs.npz"

Predict = Callable[[Tensor], DetectorOutput]
Shown = tuple[list[float], list[Tensor | None], list[Tensor]]
"""Probability, box and heat map of each image; no heat maps without a mask head."""


def per_image(predictions: SplitPredictions, part: LabelledImages) -> bytes:
    """Content of `per_image.npz`; equal values give equal bytes."""
    labelled = predictions.labelled
    arrays: dict[str, npt.NDArray[np.float64]] = {
        "probability": probability(labelled.logit_n),
        "label": labelled.label_n.astype(np.float64),
        "hole_share": labelled.hole_share_n,
        "sharpness": labelled.sharpness_n,
    }
    if predictions.box_n4 is not None and labelled.iou_n is not None:
        arrays["box"], arrays["true_box"] = predictions.box_n4, part.box_n4.double().cpu().numpy()
        arrays["iou"] = np.where(labelled.label_n, labelled.iou_n, np.nan)
    return _packed({name: array.astype(np.float32) for name, array in arrays.items()})


def outputs(predict: Predict, parts: Mapping[str, LabelledImages]) -> bytes:
    """Content of `outputs.npz`."""
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for name, part in parts.items():
        if isinstance(part, NativeImages):
            columns = {**photographs.recorded(predict, part), "label": part.label_n.cpu().numpy()}
            columns["source"] = np.array(part.source)
            arrays |= {f"{name}_{column}": array for column, array in columns.items()}
            continue
        batches = [output for _, output in predict_batches(predict, part, torch.arange(len(part)))]
        arrays[f"{name}_logit"] = torch.cat([output.logit_b for output in batches]).float().cpu().numpy()
        arrays[f"{name}_label"] = part.label_n.cpu().numpy()
        arrays[f"{name}_source"] = np.array(part.source)
        features = [output.feature_bf.half().cpu() for output in batches if output.feature_bf is not None]
        if features:
            arrays[f"{name}_feature"] = torch.cat(features).numpy()
    return _packed(arrays)


def _packed(arrays: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    target = io.BytesIO()
    np.savez_compressed(target, allow_pickle=False, **arrays)
    return target.getvalue()


def worst(predictions: SplitPredictions, most: int = SAMPLES) -> Tensor:
    """Indices of the misclassified images with the largest errors, the worst first; ties keep the image order."""
    labelled = predictions.labelled
    margin = np.where(labelled.label_n, labelled.logit_n, -labelled.logit_n)
    order = np.argsort(margin, kind="stable")[:most]
    return torch.from_numpy(order[margin[order] < 0])


# --- pictures ---------------------------------------------------------------------------------------------------------


def pictures(predict: Predict, part: LabelledImages, index: Tensor) -> dict[str, bytes]:
    """PNG strips of images: with true boxes; with true and predicted boxes and the probability; heat maps of masks."""
    at = index.to(part.image_n3hw.device)
    if isinstance(part, NativeImages):
        probabilities, boxes, heats = _of_photographs(predict, part, index)
    else:
        probabilities, boxes, heats = _of_squares(predict, part, index)
    true = [box if label > 0.5 else None for box, label in zip(part.box_n4[at], part.label_n[at], strict=True)]
    shown = [_picture(image) for image in part.image_n3hw[at]]
    predicted = [box if p >= 0.5 else None for box, p in zip(boxes, probabilities, strict=True)]
    strips = {
        "truth.png": [_drawn(image, box, None) for image, box in zip(shown, true, strict=True)],
        "found.png": [
            _captioned(_drawn(image, box, other), f"{p:.2f}")
            for image, box, other, p in zip(shown, true, predicted, probabilities, strict=True)
        ],
    }
    if heats:
        strips["heat.png"] = [_picture((255 * heat.expand(3, -1, -1)).round().to(torch.uint8)) for heat in heats]
    return {name: _strip(each) for name, each in strips.items()}


def _of_squares(predict: Predict, part: LabelledImages, index: Tensor) -> Shown:
    output = next(iter(predict_batches(predict, part, index)))[1]
    box_b4, _, mask_logit_b1hw = locate_hole(output, part.image_n3hw.shape[2])
    probabilities: list[float] = output.logit_b.double().sigmoid().tolist()
    boxes: list[Tensor | None] = [None] * len(probabilities) if box_b4 is None else list(box_b4)
    return probabilities, boxes, [] if mask_logit_b1hw is None else list(mask_logit_b1hw.sigmoid())


def _of_photographs(predict: Predict, part: NativeImages, index: Tensor) -> Shown:
    """With heat maps that are resized to the squares that are shown."""
    side = part.image_n3hw.shape[2]
    seen = [one for _, one in photographs.look(predict, part, index)]
    heats = [torch.from_numpy(cv2.resize(one.map_hw, (side, side)))[None] for one in seen if one.map_hw is not None]
    probabilities = [float(probability(np.array(one.logit))) for one in seen]
    return probabilities, [None if one.box is None else torch.tensor(one.box) for one in seen], heats


def _picture(image_3hw: Tensor) -> Image.Image:
    image = Image.fromarray(image_3hw.permute(1, 2, 0).cpu().contiguous().numpy())
    factor = -(-LEAST_SIDE // image.width)
    return image.resize((factor * image.width, factor * image.height), Image.Resampling.NEAREST)


def _drawn(image: Image.Image, true_4: Tensor | None, predicted_4: Tensor | None) -> Image.Image:
    image = image.copy()
    draw = ImageDraw.Draw(image)
    for box, colour in ((true_4, TRUE), (predicted_4, PREDICTED)):
        if box is not None:
            x1, y1, x2, y2 = (round(float(value) * (image.width - 1)) for value in box)
            draw.rectangle((x1, y1, x2, y2), outline=colour, width=2)
    return image


def _captioned(image: Image.Image, text: str) -> Image.Image:
    """Write a text into the lower left corner, so that the image stays square like the tiles of the report."""
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, image.height - 13, 27, image.height), fill=(255, 255, 255))
    draw.text((2, image.height - 12), text, fill=(0, 0, 0))
    return image


def _strip(images: list[Image.Image]) -> bytes:
    paper = Image.new("RGB", (sum(image.width for image in images), images[0].height))
    left = 0
    for image in images:
        paper.paste(image, (left, 0))
        left += image.width
    target = io.BytesIO()
    paper.save(target, "PNG", compress_level=6)
    return target.getvalue()
