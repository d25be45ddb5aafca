"""ROC and precision-recall curves of detectors, from the scores of single test images; seeds as a band.

ROC curves are averaged vertically: the mean over seeds of the true positive rate at each false positive rate (Fawcett
2006, Pattern Recognition Letters 27:861), with straight lines between the thresholds of a seed. Precision at a recall
is that of the highest threshold which reaches it, since straight lines between points of a precision-recall curve are
too optimistic (Davis and Goadrich 2006). Bands are pointwise 95 % intervals over the seeds, cut off at 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import csv_text, wording
from analysis.detection.image_scores import OWN, Floats, SetScores
from analysis.report import figures
from analysis.statistics.intervals import t_quantile
from analysis.study import Study
from sweeps.results import columns as record_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GRID = np.linspace(0, 1, 101)
"""The false positive rates, or recalls, at which curves are averaged."""
ROC, PRECISION_RECALL = "roc", "precision_recall"
_AXES = {
    ROC: ("ROC", "false positive rate", "true positive rate"),
    PRECISION_RECALL: ("Precision and recall", "recall", "precision"),
}


@dataclass(frozen=True, eq=False)
class Band:
    """One curve of one arm at the points of GRID."""

    mean: Floats
    low: Floats
    """NaN with fewer than `figures.BAND_FROM` seeds, as is `high`."""
    high: Floats


@dataclass(frozen=True, eq=False)
class ThresholdCurves:
    """The curves of all arms on one test set."""

    label: str
    """The test set; `OWN` for that of `data`."""
    bands: dict[str, dict[str, Band]]
    """By arm, then ROC and PRECISION_RECALL."""
    seeds: dict[str, int]
    """Number of seeds by arm."""
    trained: dict[str, bool]
    share: float
    """Share of inpainted images, the precision of a guess; NaN where arms differ."""
    missing: list[str]
    """Arms without scores of single images."""
    notes: list[str]
    """Which arms can be compared."""

    def sentences(self) -> list[str]:
        """The caption."""
        counts = sorted({n for n in self.seeds.values() if n > 1})
        found = ["One evaluation of each arm."]
        if counts:
            over = f"Mean over seeds (n = {wording.listing(map(str, counts))})"
            bands = "; bands are 95 % intervals over seeds at each point" if counts[-1] >= figures.BAND_FROM else ""
            few = f" of arms with at least {figures.BAND_FROM}" if bands and counts[0] < figures.BAND_FROM else ""
            single = "; other lines are of one evaluation" if 1 in self.seeds.values() else ""
            found = [f"{over}{bands}{few}{single}."]
        if self.label != OWN:
            found.append(f"On the test set `{self.label}`.")
        if not all(self.trained.values()):
            found.append("Broken lines: arms without training.")
        found += ["Dotted grey lines: a guess.", *self.notes]
        if self.missing:
            names = wording.listing(map(wording.quoted, self.missing))
            found.append(f"Without curves, since their trials stored no scores of single images: {names}.")
        return found

    def csv(self) -> str:
        """All points: arm, curve, x, mean, low, high, number of seeds."""
        rows: list[Sequence[object]] = [("arm", "curve", "x", "mean", "low", "high", "n")]
        for arm, bands in self.bands.items():
            for kind, band in bands.items():
                points = zip(GRID, band.mean, band.low, band.high, strict=True)
                rows += [(arm, kind, *(_number(value) for value in point), self.seeds[arm]) for point in points]
        return csv_text.to_csv(rows)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def build(study: Study) -> ThresholdCurves | None:
    """The curves on the test set of the report's first metric; None if no trial stored scores of single images."""
    if study.plan.get("task") != "detect":
        return None
    label = record_columns.without_test_set(study.metrics[0])[1] or OWN
    bands: dict[str, dict[str, Band]] = {}
    seeds: dict[str, int] = {}
    shares: set[float] = set()
    for arm in study.arms:
        scores = study.image_scores.scores(arm.name, label)
        both = [one for one in scores.values() if one.label_n.any() and not one.label_n.all()]
        both = both[:1] if arm.exact else both
        if both:
            curves = [_curves(one) for one in both]
            bands[arm.name] = {kind: _band(np.stack([one[kind] for one in curves])) for kind in _AXES}
            seeds[arm.name] = len(both)
            shares |= {round(float(one.label_n.mean()), 6) for one in both}
    if not bands:
        return None
    missing = [name for name in study.names if name not in bands and study.values(name, study.metrics[0])]
    trained = {arm.name: arm.trains for arm in study.arms if arm.name in bands}
    share = shares.pop() if len(shares) == 1 else float("nan")
    notes = figures.on_groups(study, study.metrics[0], bands)
    return ThresholdCurves(label, bands, seeds, trained, share, missing, notes)


def _curves(scores: SetScores) -> dict[str, Floats]:
    """Both curves of one network at the points of GRID."""
    order = np.argsort(-scores.logit_n, kind="stable")
    logit_n, label_n = scores.logit_n[order], scores.label_n[order]
    ends = np.append(np.flatnonzero(logit_n[1:] != logit_n[:-1]), len(logit_n) - 1)
    right, wrong = np.cumsum(label_n)[ends], np.cumsum(~label_n)[ends]
    false_k, first = np.unique(np.insert(wrong / wrong[-1], 0, 0.0), return_index=True)
    true_k = np.maximum.reduceat(np.insert(right / right[-1], 0, 0.0), first)
    precision, recall = right / (right + wrong), right / right[-1]
    reached = np.minimum(np.searchsorted(recall, GRID - 1e-12), len(recall) - 1)
    reached[0] = np.flatnonzero(right > 0)[0]  # no threshold at all has no precision
    return {ROC: np.interp(GRID, false_k, true_k), PRECISION_RECALL: precision[reached]}


def _band(curve_sk: Floats) -> Band:
    n = len(curve_sk)
    mean = curve_sk.mean(axis=0)
    if n < figures.BAND_FROM:
        return Band(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan))
    half = t_quantile(n) * curve_sk.std(axis=0, ddof=1) / np.sqrt(n)
    return Band(mean, np.clip(mean - half, 0, 1), np.clip(mean + half, 0, 1))


# --- the picture ------------------------------------------------------------------------------------------------------


def plot(curves: ThresholdCurves, form: str = "svg") -> bytes:
    """Both curves side by side, a line for each arm."""
    with figures.drawing_settings():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9.6, 4.7), layout="constrained")
        FigureCanvasAgg(figure)
        handles: dict[str, Any] = {}
        for ax, kind in zip(figure.subplots(1, 2), _AXES, strict=True):
            handles = _panel(ax, curves, kind)
        figures.legend(figure, None, handles)
        return figures.render_figure(figure, form)


def _panel(ax: Axes, curves: ThresholdCurves, kind: str) -> dict[str, Any]:
    handles: dict[str, Any] = {}
    guess = GRID if kind == ROC else np.full_like(GRID, curves.share)
    ax.plot(GRID, guess, color=figures.FAINT, linewidth=1.0, linestyle=":", zorder=1)
    for number, (arm, bands) in enumerate(curves.bands.items()):
        band = bands[kind]
        style = figures.line_style(number) if curves.trained[arm] else {**figures.line_style(number), "linestyle": "--"}
        (handles[arm],) = ax.plot(GRID, band.mean, linewidth=1.6, **style)
        ax.fill_between(GRID, band.low, band.high, color=style["color"], alpha=0.18, linewidth=0)
    title, across, up = _AXES[kind]
    figures.style_panel(ax, title, across, up)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.01)
    return handles
