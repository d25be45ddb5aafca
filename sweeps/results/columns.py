"""What a record's columns are called, in which unit they are, and which of them two runs may differ in.

A record is one row: what a trial reported at one epoch. Its columns are `epoch`, `<split>/<metric>` with the split one
of `train`, `val`, `test`, and `sys/<measure>` for what depends on the machine and the moment. Two runs of the same
trial on the same kind of machine agree in every column but those under `sys/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

SCHEMA = 1
"""Version of everything that is written to a store. A store with a higher one is refused: see `check_schema`."""

EPOCH = "epoch"
SPLITS = ("train", "val", "test")
SYSTEM = "sys"

TIME_S = "sys/time_s"
"""Seconds that this epoch took: training and evaluation, the checkpoint aside."""
IMAGES_PER_S = "sys/images_per_s"
"""Training images per second within this epoch, evaluation aside."""
PEAK_MEMORY_MB = "sys/peak_memory_mb"
"""Highest resident memory of the process so far (on a GPU: of the allocator), in 2**20 bytes."""

Record = Mapping[str, float | int]

EXTRA: dict[str, tuple[str, str, str]] = {
    **{
        f"lpips_{name}": ("", "min", f"learned perceptual similarity by {network}, at 64 px or more")
        for name, network in (("alex", "AlexNet"), ("vgg", "VGG16"), ("squeeze", "SqueezeNet 1.1"))
    },
    "kid_squeezenet": ("", "min", "kernel distance on features of SqueezeNet 1.0, not Inception's; at 64 px or more"),
    "fid": ("", "min", "Fréchet Inception distance to the images; too large with few of them"),
}
"""Scores that `report.extra` asks for: by trained networks, of the test split after the last epoch alone."""
_METRICS: dict[str, tuple[str, str, str]] = {
    # name: (unit, direction of better, meaning)
    "psnr_db": ("dB", "max", "mean over images of the PSNR, capped at 100 dB"),
    "l1": ("", "min", "mean absolute error, images in [0, 1]"),
    "l2": ("", "min", "mean squared error, images in [0, 1]"),
    "sse255": ("", "min", "sum of squared errors of an image, values in 0 to 255"),
    "ssim": ("", "max", "structural similarity, 11x11 window, sigma 1.5, data range 1"),
    "dice_soft": ("", "max", "2 sum(pq) / (sum p + sum q) of the values; below 1 for a perfect output"),
    "dice_squared": ("", "max", "2 sum(pq) / (sum p^2 + sum q^2) of the values; 1 for a perfect output"),
    "dice_binary": ("", "max", "Dice coefficient of the values above 0.5"),
    "iou": ("", "max", "intersection over union of the values above 0.5"),
    "cross_entropy": ("nats", "min", "mean cross entropy of the values; above 0 also for a perfect output"),
    **EXTRA,
    "hole_fraction": ("", "", "share of missing pixels"),
    "spread": ("", "max", "mean absolute difference of two fills drawn for one image, over hole pixels and pairs"),
    "caption_hits": ("", "max", "share of filled images for which the judge finds their own caption among all"),
    "caption_hits_real": ("", "", "the same of the untouched images: what the judge can find"),
    "images": ("", "", "number of images"),
    "matching": ("", "min", "weighted sum of the matching losses, in batches of 64 images and captions"),
    **{
        f"{way}_r{k}": ("", "max", f"share of {asked} with the right {way} among the best {k} of the split")
        for way, asked in (("text", "images"), ("image", "captions"))
        for k in (1, 5, 10)
    },
}
_DETECTION: dict[str, tuple[str, str, str]] = {
    "precision": ("", "max", "share of inpainted images among those said to be"),
    "recall": ("", "max", "share of the inpainted images that are found"),
    "f1": ("", "max", "harmonic mean of precision and recall of the inpainted images"),
    "accuracy": ("", "max", "share of images whose label is right"),
    "auc": ("", "max", "area under the ROC curve of the label"),
    "eer": ("", "min", "equal error rate: where as many are missed as falsely found"),
    "tpr_at_fpr_1": ("", "max", "share of inpainted images found where 1 % of the others are"),
    "fpr_authentic": ("", "min", "share of untouched photographs said to be inpainted"),
    "fpr_fake_real": ("", "min", "share of photographs that passed an inpainter without a hole said to be inpainted"),
    "fpr_pasted": ("", "min", "share of photographs with their own pixels pasted said to be inpainted"),
    "fpr_resaved": ("", "min", "share of photographs with a saved part pasted said to be inpainted"),
    "ece": ("", "min", "expected calibration error of the probability, 15 bins"),
    "threshold": ("", "", "probability from which on F1 is best on the validation images"),
    "mean_iou": ("", "max", "mean IoU of the boxes of inpainted images"),
    "mean_iou_tp": ("", "max", "mean IoU of the boxes of those inpainted images that are found"),
    "iou_above_50": ("", "max", "share of inpainted images whose box has an IoU above 0.5"),
    "pixel_f1": ("", "max", "mean F1 of the pixels of inpainted images"),
    "pixel_iou": ("", "max", "mean IoU of the pixels of inpainted images"),
    "average_precision_pixel": ("", "max", "average precision of the pixels of inpainted images"),
}
_TUNED = re.compile(r"(?P<metric>precision|recall|f1|accuracy)_tuned(?=$|_on_)")
_REGIONS = {
    "_hole": "hole pixels only",
    "_seam": "hole pixels that touch a known one",
    "_raw": "the network's output without compositing",
    "_crop": "the centre crop that 003_4e78e639d4f1fa33 scores, its visible ring included",
    "_pooled": "from the error pooled over all images",
    "_best_draw": "the best of several fills drawn for one image",
    "_mean_draw": "mean over several fills drawn for one image",
    "_wrong_text": "each image filled as the caption of another one says",
}
_SHARE = re.compile(r"_share_(?P<low>\d+)_(?P<high>\d+)$")
_SHARP = re.compile(r"_sharp_(?P<third>low|mid|high)$")
_THIRDS = {"low": "least", "mid": "middling", "high": "most"}
_ON = re.compile(r"_on_(?P<label>[a-z][a-z0-9]*)$")
_OF_A_DISCRIMINATOR: dict[str, tuple[str, str, str]] = {
    # Better for the discriminator: near 1 of the generated images it finds the generator out, whatever else it learns.
    "loss": ("", "min", "binary cross entropy on logits, hinge or squared loss, of real and generated images added"),
    "accuracy_real": ("", "max", "share of its scores of real images that say real, while training"),
    # With the mask as its target the right score is "real" around the holes: `ModelConfig.masked_target`.
    "accuracy_fake": ("", "max", "share of its scores of generated images that say generated, while training"),
    "r1": ("", "", "squared norm of the gradient of its scores by a real image, mean over images"),
    "gradient_norm": ("", "", "Euclidean norm of its gradient, mean over steps"),
}
_DISCRIMINATOR = re.compile(rf"discriminator(?P<which>_[a-z0-9_]+?)??_(?P<what>{'|'.join(_OF_A_DISCRIMINATOR)})$")
_TRAINING: dict[str, tuple[str, str, str]] = {
    "loss": ("", "min", "weighted sum of the loss terms, in the model's own value range"),
    "gradient_norm": ("", "", "Euclidean norm of the network's gradient, mean over steps"),
    "saturated": ("", "min", "share of the output's values within 0.005 of 0 or 1; near 1 where a GAN has collapsed"),
}
_SYSTEM: dict[str, tuple[str, str, str]] = {
    "time_s": ("s", "min", "an epoch, training and evaluation, the checkpoint aside"),
    "images_per_s": ("images/s", "max", "training images a second, evaluation aside"),
    "peak_memory_mb": ("MiB", "min", "highest memory so far: resident, or of the GPU's allocator"),
}
_LOSS_TERM = ("", "min", "loss term before its weight, in the model's own value range")
_COLUMN = re.compile(rf"^({'|'.join(SPLITS)}|{SYSTEM})/[a-z0-9_]+$")


def is_column(name: str) -> bool:
    """Whether `name` can be a column of a record."""
    return name == EPOCH or bool(_COLUMN.match(name))


def same_numbers(record: Record) -> dict[str, float | int]:
    """The part of a record that two runs of one trial must agree in, to the last bit."""
    return {name: value for name, value in record.items() if not name.startswith(SYSTEM + "/")}


def describe(column: str) -> tuple[str, str, str]:
    """(unit, 'max' or 'min' or '' for the better direction, meaning) of a column; empty strings where unknown."""
    split, _, name = column.partition("/")
    if split == SYSTEM:
        return _SYSTEM.get(name, _UNKNOWN)
    if split == "train":
        return _of_training(name)
    only_of_test = (
        name in EXTRA
        or any(of.search(name) for of in (_SHARE, _SHARP, _ON, _TUNED))
        or name.endswith(("_wrong_text", "_draw", "spread"))
    )
    return _UNKNOWN if only_of_test and split != "test" else _of_images(name)


_UNKNOWN = ("", "", "")


def under_mask(column: str) -> tuple[str, str] | None:
    """(column without its mask, label) of a score under one of `test_masks`: `test/l1_on_lines`."""
    match = _ON.search(column)
    return (column[: match.start()], match["label"]) if match else None


def _of_training(name: str) -> tuple[str, str, str]:
    """What a training step records: loss terms in the model's own range, and how a GAN fares."""
    if match := _DISCRIMINATOR.match(name):
        unit, better, meaning = _OF_A_DISCRIMINATOR[match["what"]]
        return unit, better, f"{(match['which'] or '').replace('_', ' ').strip()} discriminator: {meaning}".strip()
    return _TRAINING.get(name, _LOSS_TERM)  # which terms there are is for `trainables/inpaint/losses.py` to say


def _of_images(name: str) -> tuple[str, str, str]:
    """A metric of a split's images, of a region, of the images with a share of hole, or on other ones."""
    extra = []
    if match := _ON.search(name):
        name = name[: match.start()]
        detects = name in _DETECTION or _TUNED.search(name)
        extra.append(
            f"{'on the test set or after the change' if detects else 'under the test masks'} `{match['label']}`"
        )
    if match := _TUNED.search(name):
        extra.insert(0, "at the threshold chosen on the validation images")
        name = name[: match.end("metric")]
    if match := _SHARP.search(name):
        extra.append(f"inpainted images of the third with the {_THIRDS[match['third']]} sharp fills alone")
        name = name[: match.start()]
    if match := _SHARE.search(name):
        extra.append(f"images whose hole is above {match['low']} and up to {match['high']} % alone")
        name = name[: match.start()]
    if name in _DETECTION:
        unit, better, meaning = _DETECTION[name]
        return unit, better, "; ".join([meaning, *extra])
    while name not in _METRICS:
        suffix = next((s for s in _REGIONS if name.endswith(s)), None)
        if suffix is None:
            return _UNKNOWN
        extra.insert(0, _REGIONS[suffix])
        name = name.removesuffix(suffix)
    unit, better, meaning = _METRICS[name]
    return unit, better, "; ".join([meaning, *extra])


def share_of_hole(column: str) -> tuple[str, int, int] | None:
    """('test/psnr_db', 10, 20) for `test/psnr_db_share_10_20`: the column and the share in %; None for any other."""
    match = _SHARE.search(column)
    return (column[: match.start()], int(match["low"]), int(match["high"])) if match else None


def on_masks(column: str) -> str | None:
    """'lines' for `test/psnr_db_on_lines`, scored under those test masks; None for a trial's own masks."""
    match = _ON.search(column)
    return match["label"] if match else None
