"""Names of columns and formats of numbers, shared by the page, the terminal and the verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterable

from analysis.statistics.intervals import Interval
from sweeps.results import columns as record_columns
from sweeps.wording import count as count

_NAMES = {
    **{"psnr": "PSNR", "ssim": "SSIM", "l1": "L1", "l2": "L2", "db": "", "iou": "IoU", "f1": "F1"},
    **{
        "auc": "AUC",
        "eer": "equal error rate",
        "ece": "calibration error",
        "tpr": "true positive rate",
        "fpr": "false positive rate",
    },
    **{"sse255": "squared error in 0-255", "dice": "Dice", "lpips": "LPIPS", "kid": "KID"},
}
_PHRASES = {
    "tpr_at_fpr_1": "true positive rate at 1 % false positive rate",
    "iou_above_50": "IoU above 0.5",
    "u_ids": "U-IDS",
    "p_ids": "P-IDS",
    "iou_region": "iou_of the largest region",
    "iou_tp": "iou_of detected images",
    "pixel_fpr_authentic": "false positive rate of pixels of authentic images",
    "fpr_authentic": "false positive rate on authentic images",
    "fpr_pasted": "false positive rate on pasted controls",
    "fpr_resaved": "false positive rate on resaved controls",
    "pixel_f1_best_either": "pixel F1 at the best threshold of map or inverted map",
    "pixel_f1_best": "pixel F1 at the best threshold",
    "pixel_f1_no_border": "pixel F1 without the border",
    "sharp_low": "of the least sharp fills",
    "sharp_mid": "of fills of medium sharpness",
    "sharp_high": "of the sharpest fills",
}
"""Parts of a metric's name that are not worded word by word."""
_LABELS = {
    record_columns.TIME_S: "time per epoch",
    record_columns.IMAGES_PER_S: "training speed",
    record_columns.PEAK_MEMORY_MB: "peak memory",
}
_LEAST_DIGITS = 4
_MOST_DIGITS = 6
_COARSE = 5
_GROUPED_FROM = 5
"""Number of digits before the point from which on they are grouped."""
MINUS = "\u2212"


def label(column: str) -> str:
    """A column in words: 'test PSNR hole' for `test/psnr_db_hole`, '... at 10 to 20 % hole' for its `_share_10_20`."""
    if column in _LABELS:
        return _LABELS[column]
    if share := record_columns.share_of_hole(column):
        return f"{label(share[0])} at {share[1]} to {share[2]} % hole"
    split, _, metric = column.rpartition("/")
    for name, words in _PHRASES.items():
        metric = metric.replace(name, words)
    return " ".join(part for part in [split, *(_NAMES.get(word, word) for word in metric.split("_"))] if part)


def unit(column: str) -> str:
    return record_columns.describe(column)[0]


def better(column: str) -> str:
    """'max' if higher is better, 'min' if lower is, '' if unknown."""
    return record_columns.describe(column)[1]


def sign(column: str) -> int:
    """1 if higher is better, -1 if lower is, 0 if unknown."""
    return {"max": 1, "min": -1}.get(better(column), 0)


def with_unit(text: str, column: str) -> str:
    return f"{text} {unit(column)}".rstrip()


def decimals(intervals: Iterable[Interval | None]) -> int:
    """Number of decimals for a whole column; below zero: rounded to tens, hundreds and so on.

    The narrowest half-width gets two significant digits, or one if its first digit is 5 or more; the largest value gets
    at most six. Without intervals the largest value gets four significant digits. Only where that is 100,000 or more,
    ones are rounded, and no more than the narrowest half-width asks for and four digits of each value without one.
    """
    known = [interval for interval in intervals if interval is not None]
    largest = max((abs(interval.mean) for interval in known), default=0.0)
    halves = [interval.half_width for interval in known if interval.half_width]
    most = _MOST_DIGITS - 1 - _magnitude(largest)
    if halves:
        narrowest = min(halves)
        leading = narrowest / 10 ** _magnitude(narrowest)
        wanted = (0 if leading >= _COARSE else 1) - _magnitude(narrowest)
    else:
        wanted = _LEAST_DIGITS - 1 - _magnitude(largest)
    if most > 0:
        return max(0, min(wanted, most))
    alone = [abs(interval.mean) for interval in known if interval.mean and not interval.half_width]
    return min(0, max([wanted, *(_LEAST_DIGITS - 1 - _magnitude(value) for value in alone)]))


def _magnitude(value: float) -> int:
    return math.floor(math.log10(value)) if value > 0 else 0


def fixed(value: float, digits: int, plus: bool = False) -> str:
    """A number with fixed decimals and a typographic minus sign; never minus zero. plus: show the plus sign too.

    Numbers of five and more digits before the point are grouped by commas: '35,700,000', but '4000'.
    """
    text = f"{abs(value):.{digits}f}" if digits >= 0 else f"{round(abs(value), digits):.0f}"
    whole, point, decimals = text.partition(".")
    if len(whole) >= _GROUPED_FROM:
        text = f"{int(whole):,}{point}{decimals}"
    zero = not text.strip("0.")
    return (MINUS if value < 0 and not zero else "+" if plus and not zero else "") + text


def two_digits(value: float) -> str:
    """A positive number with two significant digits, without an exponent: '0.021', '130'."""
    return fixed(value, 1 - _magnitude(value)) if value else "0"


def plus_minus(interval: Interval, digits: int | None = None) -> str:
    """'27.31 ± 0.12', or the mean alone if there is no interval."""
    digits = decimals([interval]) if digits is None else digits
    half = interval.half_width
    return fixed(interval.mean, digits) + ("" if half is None else f" ± {fixed(half, digits)}")


def brackets(interval: Interval, digits: int | None = None, plus: bool = False) -> str:
    """'[0.98, 1.42]', or '' if there is no interval."""
    digits = decimals([interval]) if digits is None else digits
    if interval.low is None or interval.high is None:
        return ""
    return f"[{fixed(interval.low, digits, plus)}, {fixed(interval.high, digits, plus)}]"


def evidence(interval: Interval) -> str:
    """Number of values behind a mean: 'n = 8', or 'one evaluation' if it is exact."""
    if interval.exact:
        return "one evaluation" + (f" of {count(interval.photographs, 'photograph')}" if interval.photographs else "")
    return f"n = {interval.n}" + (", no interval" if interval.n == 1 else "")


def against(interval: Interval, column: str, other: str) -> str:
    """A difference from another arm in words: '1.20 dB better than “B” [0.98, 1.42]'."""
    if interval.exact and interval.mean == 0:
        return f"the same as {quoted(other)}"
    toward = interval if sign(column) >= 0 else interval.negated()
    up, down = ("better", "worse") if sign(column) else ("more", "less")
    word, toward = (up, toward) if toward.mean >= 0 else (down, toward.negated())
    digits = decimals([toward])
    size = with_unit(fixed(toward.mean, digits), column)
    return f"{size} {word} than {quoted(other)} {brackets(toward, digits)}".rstrip()


def listing(names: Iterable[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    parts = list(names)
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def quoted(name: str) -> str:
    """An arm's name within a sentence, on one line."""
    return f"“{' '.join(name.split())}”"


def duration(seconds: float) -> str:
    """'12 s', '8.4 min', '2.6 h'."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
