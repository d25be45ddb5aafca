"""Names, units and meanings of the columns of records.

A record is one row: what a trial reported at one epoch. Its columns are `epoch`; `<split>/<metric>` with the splits
`train`, `val` and `test`; and `sys/<measure>` for values that depend on the machine and its load. Two runs of a trial
on the same kind of machine agree in every column except those under `sys/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SCHEMA = 1
"""Version of every object in a store. Objects with a higher version are refused, see `sweeps.store.layout.load`."""

EPOCH = "epoch"
SPLITS = ("train", "val", "test")
SYSTEM = "sys"

TIME_S = "sys/time_s"
"""Seconds of an epoch: training and evaluation without the checkpoint."""
IMAGES_PER_S = "sys/images_per_s"
"""Training images per second within an epoch, without evaluation."""
PEAK_MEMORY_MB = "sys/peak_memory_mb"
"""Peak resident memory of the process so far (on a GPU: of the allocator), in 2**20 bytes."""

Record = Mapping[str, float | int]

EXTRA: dict[str, tuple[str, str, str]] = {
    **{
        f"lpips_{name}": ("", "min", f"learned perceptual distance by {network}, at 64 px or more")
        for name, network in (("alex", "AlexNet"), ("vgg", "VGG16"), ("squeeze", "SqueezeNet 1.1"))
    },
    "kid_squeezenet": ("", "min", "kernel distance of features of SqueezeNet 1.0, not Inception; at 64 px or more"),
    "fid": ("", "min", "Fréchet Inception distance to the images; biased upwards for few images"),
    "u_ids": ("", "max", "error rate of a linear classifier of fills and images by Inception's features; 0.5 at best"),
    "p_ids": ("", "max", "share of fills that this classifier takes for more real than their original; 0.5 at best"),
    "sharpness": ("", "max", "variance of the Laplacian in the holes, relative to the images: below 1 if blurrier"),
}
"""Metrics for `report.extra`, computed on the test split after the last epoch; most need trained networks."""
_METRICS: dict[str, tuple[str, str, str]] = {
    # name: (unit, better direction, meaning)
    "psnr_db": ("dB", "max", "mean over images of the PSNR, capped at 100 dB"),
    "l1": ("", "min", "mean absolute error, images in [0, 1]"),
    "l2": ("", "min", "mean squared error, images in [0, 1]"),
    "sse255": ("", "min", "sum of squared errors of an image, values in 0 to 255"),
    "ssim": ("", "max", "structural similarity, 11x11 window, sigma 1.5, data range 1"),
    "dice_soft": ("", "max", "2 sum(pq) / (sum p + sum q) of the values; below 1 even for a perfect output"),
    "dice_squared": ("", "max", "2 sum(pq) / (sum p^2 + sum q^2) of the values; 1 for a perfect output"),
    "dice_binary": ("", "max", "Dice coefficient of the values above 0.5"),
    "iou": ("", "max", "intersection over union of the values above 0.5"),
    "cross_entropy": ("nats", "min", "mean cross entropy of the values; above 0 even for a perfect output"),
    **EXTRA,
    "hole_fraction": ("", "", "share of missing pixels"),
    "spread": ("", "max", "mean absolute difference between two sampled fills of an image, over hole pixels and pairs"),
    "caption_hits": ("", "max", "share of filled images for which the judge picks their own caption among all"),
    "caption_hits_real": ("", "", "the same for the original images: an upper limit for the judge"),
    "images": ("", "", "number of images"),
    "matching": ("", "min", "weighted sum of the matching losses, in batches of 64 images and captions"),
    **{
        f"{target}_r{k}": ("", "max", f"share of {queries} with the right {target} among the best {k} of the split")
        for target, queries in (("text", "images"), ("image", "captions"))
        for k in (1, 5, 10)
    },
}
_DETECTION: dict[str, tuple[str, str, str]] = {
    "precision": ("", "max", "share of inpainted images among those detected"),
    "recall": ("", "max", "share of the inpainted images that are detected"),
    "f1": ("", "max", "harmonic mean of precision and recall of the inpainted images"),
    "accuracy": ("", "max", "share of images with the right label"),
    "auc": ("", "max", "area under the ROC curve of the label"),
    "eer": ("", "min", "equal error rate: where miss rate and false positive rate are equal"),
    "tpr_at_fpr_1": ("", "max", "true positive rate at a false positive rate of 1 %"),
    "fpr_authentic": ("", "min", "false positive rate on original photographs"),
    "fpr_fake_real": ("", "min", "false positive rate on photographs passed through an inpainter without a hole"),
    "fpr_pasted": ("", "min", "false positive rate on photographs with their own pixels pasted"),
    "fpr_resaved": ("", "min", "false positive rate on photographs with a re-saved part pasted"),
    "ece": ("", "min", "expected calibration error of the probability, 15 bins"),
    "threshold": ("", "", "threshold of the probability with the best F1 on the validation images"),
    "mean_iou": ("", "max", "mean IoU of the boxes of inpainted images"),
    "mean_iou_tp": ("", "max", "mean IoU of the boxes of the detected inpainted images"),
    "iou_above_50": ("", "max", "share of inpainted images whose box has an IoU above 0.5"),
    "pixel_f1": ("", "max", "mean F1 of the pixels of inpainted images"),
    "pixel_iou": ("", "max", "mean IoU of the pixels of inpainted images"),
    "average_precision_pixel": ("", "max", "average precision of the pixels of inpainted images"),
    "balanced_accuracy": ("", "max", "mean of the true positive and the true negative rate; if asked for"),
    "pixel_f1_best": ("", "max", "mean F1 of the pixels at the best threshold of each inpainted image; if asked for"),
    "pixel_f1_best_either": ("", "max", "the same, of the map or of the inverted map; if asked for"),
    "pixel_f1_no_border": ("", "max", "mean F1 of the pixels that are not beside the hole's edge; if asked for"),
    "mean_iou_region": ("", "max", "mean IoU of the boxes of the largest connected region; if asked for"),
    "pixel_auc": ("", "max", "mean area under the ROC curve of the pixels of an inpainted image; if asked for"),
    "pixel_fpr_authentic": ("", "min", "share of the pixels of original photographs that are detected; if asked for"),
}
DETECTION_EXTRA = (
    *("balanced_accuracy", "balanced_accuracy_tuned", "fpr_authentic_tuned"),
    *("pixel_f1_best", "pixel_f1_best_either", "pixel_f1_no_border", "pixel_auc", "pixel_fpr_authentic"),
    "mean_iou_region",
)
"""Metrics of detectors for `report.extra`, computed after the last epoch on every test set."""
_TUNED = re.compile(r"(?P<metric>precision|recall|f1|accuracy|fpr_authentic)_tuned(?=$|_on_)")
_REGIONS = {
    "_hole": "hole pixels only",
    "_seam": "hole pixels next to a known pixel",
    "_raw": "the network's output without compositing",
    "_crop": "the centre crop that 003_4e78e639d4f1fa33 scores, including its visible ring",
    "_pooled": "from the error pooled over all images",
    "_best_draw": "the best of several sampled fills of an image",
    "_mean_draw": "mean over several sampled fills of an image",
    "_wrong_text": "each image filled with the caption of another one",
}
_SHARE = re.compile(r"_share_(?P<low>\d+)_(?P<high>\d+)$")
_SHARP = re.compile(r"_sharp_(?P<third>low|mid|high)$")
_THIRDS = {"low": "least", "mid": "medium", "high": "most"}
_ON = re.compile(r"_on_(?P<label>[a-z][a-z0-9]*(_[a-z][a-z0-9]*)?)$")
"""The label of a test set, of a change of the test images, or of both, as `bench_jpeg50`."""
PROTOCOL = "protocol"
"""The label of the sweep's protocol: its images, holes and metrics."""
_OF_A_DISCRIMINATOR: dict[str, tuple[str, str, str]] = {
    # "max" and "min" are from the discriminator's view.
    "loss": ("", "min", "sum of its losses on real and generated images: cross entropy on logits, hinge or squared"),
    "accuracy_real": ("", "max", "share of its scores of real images that are right, during training"),
    # With the mask as its target, the right score around the holes is "real": an objective with a masked target.
    "accuracy_fake": ("", "max", "share of its scores of generated images that are right, during training"),
    "r1": ("", "", "squared norm of the gradient of its scores with respect to a real image, mean over images"),
    "gradient_norm": ("", "", "Euclidean norm of its gradient, mean over steps"),
}
_DISCRIMINATOR = re.compile(rf"discriminator(?P<which>_[a-z0-9_]+?)??_(?P<what>{'|'.join(_OF_A_DISCRIMINATOR)})$")
_TRAINING: dict[str, tuple[str, str, str]] = {
    "loss": ("", "min", "weighted sum of the loss terms, in the model's own value range"),
    "gradient_norm": ("", "", "Euclidean norm of the network's gradient, mean over steps"),
    "saturated": ("", "min", "share of the output's values within 0.005 of 0 or 1; near 1 if a GAN has collapsed"),
}
_SYSTEM: dict[str, tuple[str, str, str]] = {
    "time_s": ("s", "min", "time of an epoch: training and evaluation without the checkpoint"),
    "images_per_s": ("images/s", "max", "training images per second, without evaluation"),
    "peak_memory_mb": ("MiB", "min", "peak memory so far: resident, or of the GPU's allocator"),
}
_LOSS_TERM = ("", "min", "loss term before its weight, in the model's own value range")
_COLUMN = re.compile(rf"^({'|'.join(SPLITS)}|{SYSTEM})/[a-z0-9_]+$")


def is_column(name: str) -> bool:
    """Whether `name` can be a column of a record."""
    return name == EPOCH or bool(_COLUMN.match(name))


def metrics() -> dict[str, tuple[str, str, str]]:
    """(unit, better direction, meaning) of each metric, without its split or region; system measures as `sys/NAME`."""
    system = {f"{SYSTEM}/{name}": described for name, described in _SYSTEM.items()}
    training = {f"train/{name}": described for name, described in _TRAINING.items()}
    return {**_METRICS, **_DETECTION, **training, **system}


def regions() -> dict[str, str]:
    """The suffixes of a metric that limit it to a part of the images, with their meaning."""
    return dict(_REGIONS)


def column_pattern(splits: tuple[str, ...] = SPLITS) -> str:
    """A regular expression, valid in JavaScript as well, for the columns that `describe` knows.

    splits: only columns of these
    """
    regions = "|".join(re.escape(suffix) for suffix in _REGIONS)
    by_image = f"({'|'.join(map(re.escape, _METRICS))})({regions})*"
    labels = "(_share_[0-9]+_[0-9]+)?(_sharp_(low|mid|high))?(_tuned)?(_on_[a-z][a-z0-9]*(_[a-z][a-z0-9]*)?)?"
    of_images = f"({by_image}|({'|'.join(_DETECTION)})){labels}"
    parts = [f"{split}/{'[a-z0-9_]+' if split == 'train' else of_images}" for split in splits]
    if splits == SPLITS:
        parts.append(f"{SYSTEM}/({'|'.join(_SYSTEM)})")
    return f"^({'|'.join(parts)})$"


def same_numbers(record: Record) -> dict[str, float | int]:
    """The columns in which two runs of a trial must agree to the last bit."""
    return {name: value for name, value in record.items() if not name.startswith(SYSTEM + "/")}


def describe(column: str) -> tuple[str, str, str]:
    """(unit, better direction, meaning) of a column. The direction is 'max', 'min' or ''; all are '' if unknown."""
    return _describe(column) if has_meaning(column) else _declared(column)


def has_meaning(column: str) -> bool:
    """Whether the name of a column has a meaning in every sweep."""
    return _describe(column) != _UNKNOWN


def has_suffix(column: str) -> bool:
    """Whether a name ends like that of a metric of a part of the images, or of another test set."""
    return any(suffix.search(column) for suffix in (_SHARE, _SHARP, _ON))


def _describe(column: str) -> tuple[str, str, str]:
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


# --- columns of users' programs and metrics ---------------------------------------------------------------------------

_DECLARED: dict[str, tuple[str | None, str]] = {}
"""(better direction, meaning) of columns that sweeps have declared in this process. The direction is '' where two
contradict, and None as long as it is unknown."""
_UNITS = {"db": "dB", "s": "s", "ms": "ms", "mb": "MiB", "px": "px", "percent": "%", "nats": "nats"}
"""Units by the last word of a column's name."""


def declare(metrics: Any) -> None:
    """Tell the columns of `metrics` in a configuration: {column: 'max' or 'min'} of a program, or {label: section} of a
    user's metrics, whose sections may have the direction as `better`. Anything else is ignored.

    Names that have a meaning here keep it. A column that two sweeps declare with opposite directions has none.
    """
    for name, given in metrics.items() if isinstance(metrics, Mapping) else ():
        if isinstance(given, Mapping):
            for split in ("val", "test"):
                _declare(f"{split}/{name}", given.get("better"), f"computed by the user's metric {name}")
        elif isinstance(name, str) and is_column(name) and given in ("max", "min"):
            _declare(name, given, "reported by the program")


def _declare(column: str, better: str | None, meaning: str) -> None:
    known = _DECLARED.get(column, (None, meaning))[0]
    agreed = better if known is None else known if better in (None, known) else ""
    _DECLARED[column] = (agreed, meaning)


def usual_direction(column: str) -> str:
    """The better direction of a column whose name has a meaning here; else ''."""
    return _describe(column)[1]


def without_test_set(column: str) -> tuple[str, str]:
    """A test column without the suffix of another test set, and the label of that set, '' if it has none."""
    on = _ON.search(column) if column.startswith("test/") else None
    return (column[: on.start()], on["label"]) if on else (column, "")


def _declared(column: str) -> tuple[str, str, str]:
    plain, label = (column, "") if column in _DECLARED else without_test_set(column)
    if plain not in _DECLARED:
        return _UNKNOWN
    better, meaning = _DECLARED[plain]
    meaning += f"; under the test masks or on the test set `{label}`" if label else ""
    return _UNITS.get(plain.rpartition("_")[2].rpartition("/")[2], ""), better or "", meaning


def under_mask(column: str) -> tuple[str, str] | None:
    """(column without the mask, label) of a metric under one of `test_masks`, such as `test/l1_on_lines`; else None."""
    match = _ON.search(column)
    return (column[: match.start()], match["label"]) if match and match["label"] != PROTOCOL else None


def _of_training(name: str) -> tuple[str, str, str]:
    """A column of training: a loss term in the model's own value range, or a statistic of a GAN."""
    if match := _DISCRIMINATOR.match(name):
        unit, better, meaning = _OF_A_DISCRIMINATOR[match["what"]]
        return unit, better, f"{(match['which'] or '').replace('_', ' ').strip()} discriminator: {meaning}".strip()
    return _TRAINING.get(name, _LOSS_TERM)  # `trainables/inpaint/losses.py` defines the terms


def _of_images(name: str) -> tuple[str, str, str]:
    """A metric of a split, optionally of a region, of images with a certain share of hole, or of another test set."""
    extra = []
    if match := _ON.search(name):
        name = name[: match.start()]
        detects = name in _DETECTION or _TUNED.search(name)
        first, _, second = match["label"].partition("_")
        if match["label"] == PROTOCOL:
            extra.append("on the images and holes of the sweep's protocol")
        elif second:
            extra.append(f"on the test set `{first}` after the change `{second}`")
        else:
            extra.append(f"{'on the test set or perturbation' if detects else 'under the test masks'} `{first}`")
    if match := _TUNED.search(name):
        extra.insert(0, "at the threshold chosen on the validation images")
        name = name[: match.end("metric")]
    if match := _SHARP.search(name):
        extra.append(f"only the third of inpainted images with the {_THIRDS[match['third']]} sharp fills")
        name = name[: match.start()]
    if match := _SHARE.search(name):
        extra.append(f"only images with a hole of more than {match['low']} and up to {match['high']} %")
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
    """('test/psnr_db', 10, 20) for `test/psnr_db_share_10_20`: column and range in %; None for other columns."""
    match = _SHARE.search(column)
    return (column[: match.start()], int(match["low"]), int(match["high"])) if match else None


def on_protocol(column: str) -> bool:
    """Whether a column is of the sweep's protocol, such as `test/psnr_db_on_protocol`."""
    return on_masks(column) == PROTOCOL


def on_masks(column: str) -> str | None:
    """'lines' for `test/psnr_db_on_lines`, a metric under those test masks; None for the trial's own masks."""
    match = _ON.search(column)
    return match["label"] if match else None
