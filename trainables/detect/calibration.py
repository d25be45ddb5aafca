"""The threshold of a detector at a stated false positive rate, from authentic images.

A photograph that is scanned in windows counts as inpainted if any window does, so more windows need a higher threshold.
Two kinds of images can give it:

- Validation images (`at_rate`), mostly squares. If n images and the w windows of a photograph come in random order, no
  window exceeds the k-th highest image with probability (n choose k) / (n + w choose k), whatever the distribution.
  Windows of one photograph are alike, so its rate is rather lower. A threshold is never above the highest image: where
  that has a higher rate than was asked for, the rate is stated.
- Authentic photographs, scanned like the photograph in question (`of_photographs`): another photograph exceeds the
  k-th highest of m with probability k / (m + 1) at most (conformal prediction, Vovk et al. 2005). The only assumption
  is that all of them are exchangeable.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainables.detect.metrics import Floats
from trainables.errors import TrialError

RATE = 0.05
"""False positive rate on authentic images, unless stated otherwise."""
MOST_BYTES = 2**28
"""Largest size of an array of outputs when it is unpacked."""
VALIDATION, PHOTOGRAPHS, BEST_F1, HALF = (
    "validation images",
    "authentic photographs",
    "best F1 on validation",
    "probability 0.5",
)
"""What a threshold rests on: `origin` in JSON."""
_ROUNDING = 1 + 1e-9


@dataclass(frozen=True)
class Threshold:
    """From which logit on an image counts as inpainted."""

    logit: float
    origin: Mapping[str, Any]
    """How it was chosen, for JSON. `origin`: what it rests on; `statement`: the same in words."""
    note: str = ""
    """What limits it, in words; empty if it has the rate that was asked for."""

    @property
    def probability(self) -> float:
        return probability(self.logit)


def probability(logit: float) -> float:
    """Probability of being inpainted."""
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0


def at_rate(
    authentic_n: Floats, rate: float = RATE, windows: int = 1, validated: float = 1.0, photographs: int | None = None
) -> Threshold:
    """The lowest threshold with a false positive rate of at most `rate` on photographs of so many windows.

    authentic_n: logits of validation images that are not inpainted, at least one. Where they are too few for the rate,
    the threshold is just above the highest of them, and the origin and a note state the rate that they support.
    For a single window, at most this share of the validation images is above the threshold.

    validated: number of windows of each validation image, of which its logit is the highest. For photographs of as many
    windows, the threshold is that of the validation photographs themselves.
    photographs: number of photographs that the validation images are from, if known; for the statement alone.
    """
    level_n = np.sort(authentic_n)[::-1].astype(np.float64)
    n, ratio = len(level_n), windows / validated
    if ratio == 1:
        above = math.floor(rate * n * _ROUNDING)
        reached = rate if above else 1 / (n + 1)
    else:
        rate_k = 1 - np.cumprod((n - np.arange(n)) / (n + ratio - np.arange(n)))
        above = max(0, int((rate_k <= rate * _ROUNDING).sum()) - 1)
        reached = float(rate_k[above])
    limit = float(np.nextafter(level_n[above], np.inf)) if above < n else float(level_n[-1])
    origin = {
        "origin": VALIDATION,
        "false_positive_rate": rate,
        "supported_false_positive_rate": reached,
        "authentic_validation_images": n,
        "windows": windows,
    }
    if photographs is not None and photographs < n:
        origin["authentic_validation_photographs"] = photographs
    if validated != 1:
        origin["windows_of_validation_images"] = validated
    words = _of_validation(origin)
    note = "" if _has_rate(origin) else f"{words}, or authentic photographs (--authentic)"
    return Threshold(limit, {**origin, "statement": words}, note)


def _has_rate(origin: Mapping[str, Any]) -> bool:
    """Whether the images suffice for the false positive rate that was asked for."""
    found: bool = origin["supported_false_positive_rate"] <= origin["false_positive_rate"] * _ROUNDING
    return found


def _of_validation(origin: Mapping[str, Any]) -> str:
    rate, windows = origin["false_positive_rate"], origin["windows"]
    each = origin.get("windows_of_validation_images", 1)
    images = f"{origin['authentic_validation_images']:,} authentic validation images"
    if (photographs := origin.get("authentic_validation_photographs")) is not None:
        images += f" of {_photographs(photographs)}"
    if each != 1:
        images += f" of {each:.3g} windows on average"
    scanned = f" for {windows:,} windows" if windows > 1 else ""
    if _has_rate(origin):
        assumed = ", if the windows are like these images" if windows != each else ""
        return f"a false positive rate of {percent(rate)}{scanned}, from {images}{assumed}"
    needed = math.ceil(windows / each * (1 - rate) / rate)
    reached = percent(origin["supported_false_positive_rate"])
    return (
        f"the highest logit of {images}, which support a false positive rate of {reached}{scanned}; "
        f"{percent(rate)} needs {needed:,} of them"
    )


def percent(share: float) -> str:
    """A share in percent, for people."""
    return f"{100 * share:.3g} %"


def of_photographs(highest_m: Floats, rate: float = RATE) -> Threshold:
    """The threshold from authentic photographs, with a false positive rate of at most `rate` on photographs like them.

    highest_m: the highest logit of each photograph. Raises TrialError if there are too few for the rate.

    It is just above the k-th highest, with k = floor((m + 1) rate). If the photograph in question is exchangeable with
    them, its rank among m + 1 is uniform, and it exceeds the k-th highest of the others with probability k / (m + 1) at
    most, over the draw of all of them. For one set of m photographs, the rate has a beta distribution with this mean.
    """
    m = len(highest_m)
    rank = rank_at(m, rate)
    level_m = np.sort(highest_m)[::-1].astype(np.float64)
    reached = rank / (m + 1)
    origin = {
        "origin": PHOTOGRAPHS,
        "false_positive_rate": rate,
        "supported_false_positive_rate": reached,
        "authentic_photographs": m,
    }
    words = f"a false positive rate of {percent(reached)} on photographs like the {m:,} authentic ones that were given"
    return Threshold(float(np.nextafter(level_m[rank - 1], np.inf)), {**origin, "statement": words})


def rank_at(m: int, rate: float) -> int:
    """k, where the threshold for a rate is the k-th highest of m authentic photographs. TrialError if m is too few."""
    rank = min(m, math.floor((m + 1) * rate * _ROUNDING))
    if rank < 1:
        needed = math.ceil((1 / rate - 1) / _ROUNDING)
        lowest = math.ceil(1000 / (m + 1)) / 1000
        raise TrialError(
            f"{m:,} authentic photographs for a false positive rate of {rate:g}",
            f"with {_photographs(m)}, the lowest rate is {1 / (m + 1):.3g}",
            f"at least {needed:,} authentic photographs for this rate",
            f"add {_photographs(needed - m)}" + (f", or {_use(lowest)}" if lowest < 1 else ""),
        )
    return rank


def without_outputs(validated: float | None) -> Threshold:
    """The threshold for a trial that stored no outputs. validated: the probability with the best F1 on validation."""
    kind, words = (HALF, "a probability of 0.5") if validated is None else (BEST_F1, "the best F1 on validation")
    words += ", because the trial stored no validation outputs; its false positive rate is unknown"
    origin: dict[str, Any] = {"origin": kind, "false_positive_rate": None, "statement": words}
    if validated is None:
        return Threshold(0.0, {**origin, "probability": 0.5}, words)
    limited = min(max(validated, 1e-12), 1 - 1e-12)
    return Threshold(math.log(limited / (1 - limited)), {**origin, "best_f1_on_validation": True}, words)


@dataclass(frozen=True)
class Validation:
    """The validation images of a trial that are not inpainted. Legend: n images."""

    logit_n: Floats
    windows: float = 1.0
    """Mean number of windows of each; 1 if they were squares."""
    photographs: int | None = None
    """Number of photographs that they are from; None if it is not known."""

    def threshold(self, rate: float, windows: int) -> Threshold:
        """See `at_rate`."""
        return at_rate(self.logit_n, rate, windows, self.windows, self.photographs)


def validation(outputs: bytes, named: str) -> Validation:
    """The validation images that are not inpainted, of an `outputs.npz`; TrialError if it is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(outputs)) as archive:
            read = {f"val_{name}.npy" for name in ("logit", "label", "windows", "source")}
            if any(member.file_size > MOST_BYTES for member in archive.infolist() if member.filename in read):
                raise ValueError("it has arrays that are too large")
        with np.load(io.BytesIO(outputs)) as arrays:  # allow_pickle is off
            logit_n, authentic_n = arrays["val_logit"].astype(np.float64), arrays["val_label"] < 0.5
            windows_n = arrays["val_windows"][authentic_n] if "val_windows" in arrays else np.ones(1)
            sources = set(arrays["val_source"][authentic_n].tolist()) if "val_source" in arrays else None
        chosen_n: Floats = logit_n[authentic_n]
        if logit_n.ndim != 1 or not len(chosen_n) or not np.isfinite(chosen_n).all():
            raise ValueError("it has no finite logits of validation images that are not inpainted")
    except (ValueError, TypeError, IndexError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise TrialError(
            named,
            f"it does not hold the validation outputs: {error}",
            "an `outputs.npz` that a trial of task detect wrote",
            "sweeps run FILE --fresh with the file of its sweep",
        ) from error
    return Validation(chosen_n, float(max(1.0, windows_n.mean())), None if sources is None else len(sources))


def _photographs(number: int) -> str:
    return f"{number:,} photograph{'' if number == 1 else 's'}"


def _use(rate: float) -> str:
    """What to type for a false positive rate."""
    return f"use --fpr {rate:g}, in Python false_positive_rate={rate:g}"


def checked_rate(rate: float) -> float:
    """A false positive rate. Raises TrialError unless it is between 0 and 1."""
    if not 0 < rate < 1:
        raise TrialError(f"false positive rate {rate:g}", "it is not between 0 and 1", "0.001 to 0.5", _use(0.05))
    return rate
