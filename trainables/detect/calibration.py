"""The threshold of a detector at a stated false positive rate, from the validation images that are not inpainted.

A photograph that is scanned in windows counts as inpainted if any window does, so more windows need a higher threshold.
Windows are taken as independent: a photograph of n windows is a false positive at the stated rate if a window is one
at 1 - (1 - rate)^(1/n). Windows of one photograph resemble each other, so the rate is rather lower than stated.
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
TAIL = 0.1
"""Share of the logits to which an exponential tail is fitted, where a rate needs more images than there are."""
LEAST_TAIL = 5
"""Fewest logits of that tail."""
MOST_BYTES = 2**28
"""Largest size of an array of outputs when it is unpacked."""


@dataclass(frozen=True)
class Threshold:
    """From which logit on an image counts as inpainted."""

    logit: float
    origin: Mapping[str, Any]
    """How it was chosen, for JSON."""

    @property
    def probability(self) -> float:
        return probability(self.logit)


def probability(logit: float) -> float:
    """Probability of being inpainted."""
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0


def at_rate(authentic_n: Floats, rate: float = RATE, windows: int = 1, validated: float = 1.0) -> Threshold:
    """The lowest threshold with a false positive rate of at most `rate` on photographs of so many windows.

    authentic_n: logits of validation images that are not inpainted, at least one. Where the rate of a window is below
    1 / n, the largest logits are continued by an exponential tail.

    validated: number of windows of each validation image, of which its logit is the highest. For photographs of as many
    windows, the threshold is that of the validation photographs themselves.
    """
    level_n = np.sort(authentic_n)[::-1].astype(np.float64)
    n = len(level_n)
    of_window = -math.expm1(math.log1p(-rate) * validated / windows)
    above = math.floor(of_window * n * (1 + 1e-9))
    origin = {
        "false_positive_rate": rate,
        "authentic_validation_images": n,
        "windows": windows,
        "extrapolated": above == 0,
    }
    if validated != 1:
        origin["windows_of_validation_images"] = validated
    if above:
        return Threshold(float(np.nextafter(level_n[above], np.inf)) if above < n else float(level_n[-1]), origin)
    tail = min(n - 1, max(LEAST_TAIL, round(TAIL * n)))
    start = level_n[tail]
    excess = float((level_n[:tail] - start).mean()) if tail else 0.0
    beyond = start + excess * math.log(max(tail, 1) / n / of_window)
    return Threshold(max(float(beyond), float(np.nextafter(level_n[0], np.inf))), origin)


def without_outputs(validated: float | None) -> Threshold:
    """The threshold for a trial that stored no outputs. validated: the probability with the best F1 on validation."""
    if validated is None:
        return Threshold(0.0, {"false_positive_rate": None, "probability": 0.5})
    limited = min(max(validated, 1e-12), 1 - 1e-12)
    return Threshold(math.log(limited / (1 - limited)), {"false_positive_rate": None, "best_f1_on_validation": True})


def authentic_logits(outputs: bytes, named: str) -> Floats:
    """The logits of the validation images that are not inpainted, of an `outputs.npz`; TrialError if it is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(outputs)) as archive:
            if max(archive.getinfo(f"val_{name}.npy").file_size for name in ("logit", "label")) > MOST_BYTES:
                raise ValueError("it has arrays that are too large")
        with np.load(io.BytesIO(outputs)) as arrays:  # allow_pickle is off
            logit_n, label_n = arrays["val_logit"].astype(np.float64), arrays["val_label"]
        chosen_n: Floats = logit_n[label_n < 0.5]
        if logit_n.ndim != 1 or not len(chosen_n) or not np.isfinite(chosen_n).all():
            raise ValueError("it has no finite logits of validation images that are not inpainted")
    except (ValueError, TypeError, IndexError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise TrialError(
            named,
            f"it does not hold the validation outputs: {error}",
            "an `outputs.npz` that a trial of task detect wrote",
            "sweeps run FILE --fresh with the file of its sweep",
        ) from error
    return chosen_n


def validated_windows(outputs: bytes) -> float:
    """Mean number of windows of the validation images that are not inpainted; 1 if they were squares."""
    with np.load(io.BytesIO(outputs)) as arrays:  # allow_pickle is off
        if "val_windows" not in arrays:
            return 1.0
        return float(max(1.0, arrays["val_windows"][arrays["val_label"] < 0.5].mean()))


def checked_rate(rate: float) -> float:
    """A false positive rate. Raises TrialError unless it is between 0 and 1."""
    if not 0 < rate < 1:
        raise TrialError(f"false positive rate {rate:g}", "it is not between 0 and 1", "0.001 to 0.5", "--fpr 0.05")
    return rate
