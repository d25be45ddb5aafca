"""The scores of every test image on every test set, from which a report computes intervals over photographs.

`image_scores.npz` is written after the last epoch. Legend: n images of a test set, s photographs of all sets together.

    sources             (s,) names of the photographs
    kinds               (5,) names of the kinds of images
    threshold           () the logit that is best on the validation images; absent if there is none
    SET.logit           (n,) logit of "inpainted"
    SET.label           (n,) True for inpainted images
    SET.kind            (n,) index in `kinds`
    SET.source          (n,) index in `sources`: the photograph that the image was made from
    SET.hole_share      (n,) share of the pixels in the hole
    SET.sharpness       (n,) sharpness of the fill relative to the photograph there; NaN without a hole
    SET.iou             (n,) IoU of the boxes; absent if the detector gives no place, as is
    SET.pixels          (n, 3) true positive, false positive and false negative pixels
    SET.<metric>        (n,) a metric of `extra_metrics.PIXELS`, if asked for; NaN where it is not defined

SET is `own` for the test images of `data`, the label of a test set, or that of changed images as in `_on_` columns.
No array has pickles, and equal values give equal bytes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from trainables.detect.change_config import changed_sets
from trainables.detect.dataset import DetectDataset
from trainables.detect.inference import SplitPredictions
from trainables.detect.metrics import Floats
from trainables.forgery.forged_images import KINDS, LabelledImages

FILE = "image_scores.npz"
OWN = "own"


def parts(data: DetectDataset) -> dict[str, LabelledImages]:
    """The images of every test set by label, as in `_on_` columns; those of a change with the pixels before it."""
    found = {OWN: data.test, **data.others}
    for label, change in data.changes.items():
        for name in changed_sets(change):
            found[label if name == OWN else f"{name}_{label}"] = found[name]
    return found


def pack(
    predictions: Mapping[str, SplitPredictions],
    images: Mapping[str, LabelledImages],
    threshold: float | None,
    extra: Mapping[str, Mapping[str, Floats]],
) -> bytes:
    """Content of `image_scores.npz`.

    predictions, images: by label of the test set.
    extra: values of further metrics for each image, by label and metric.
    """
    place = {source: i for i, source in enumerate(sorted({name for part in images.values() for name in part.source}))}
    arrays: dict[str, npt.NDArray[np.generic]] = {"sources": np.array(list(place)), "kinds": np.array(KINDS)}
    if threshold is not None:
        arrays["threshold"] = np.array(threshold, dtype=np.float64)
    for label, predicted in predictions.items():
        labelled, part = predicted.labelled, images[label]
        columns: dict[str, npt.NDArray[np.generic]] = {
            "logit": labelled.logit_n,
            "label": labelled.label_n,
            "kind": np.array([KINDS.index(kind) for kind in part.kind], dtype=np.uint8),
            "source": np.array([place[source] for source in part.source], dtype=np.int32),
            "hole_share": labelled.hole_share_n,
            "sharpness": labelled.sharpness_n,
        }
        if labelled.iou_n is not None and labelled.pixel_n3 is not None:
            columns |= {"iou": labelled.iou_n, "pixels": labelled.pixel_n3.astype(np.int32)}
        arrays |= {f"{label}.{name}": array for name, array in {**columns, **extra.get(label, {})}.items()}
    target = io.BytesIO()
    np.savez_compressed(target, allow_pickle=False, **arrays)
    return target.getvalue()
