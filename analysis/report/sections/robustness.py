"""How a detector's score falls with the strength of a change of the test images (`test_changes` over levels)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import csv_text, wording
from analysis.report import figures
from analysis.report.sections.by_epoch_and_mask import ColumnTable
from analysis.statistics.intervals import Interval
from analysis.study import Study
from sweeps.results import columns as record_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OWN = "own"
UNCHANGED = "none"
"""The level of the images as they are."""
_WORDS = {
    "jpeg": "JPEG quality",
    "webp": "WebP quality",
    "blur": "standard deviation of a Gaussian blur, px",
    "noise_sd": "standard deviation of noise, grey levels",
    "noise": "standard deviation of noise, grey levels",
    "resize": "factor of resizing",
}
_WEAKER_UPWARDS = ("jpeg", "webp")
"""Changes of which a larger level changes less."""
Step = tuple[str, str, Any]
"""(number of the step, option, value) of a change."""


@dataclass(frozen=True)
class RobustnessCurve:
    """One metric on one test set at the levels of one change."""

    metric: str
    test_set: str
    """Label of the test set; `OWN` for that of `data`."""
    change: str
    """What is changed, in words."""
    levels: list[str]
    """From `UNCHANGED` to the strongest."""
    rows: Mapping[str, list[Interval | None]]
    """By arm, one interval per level."""
    trained: Mapping[str, bool]
    notes: tuple[str, ...] = ()
    """Which arms can be compared."""

    @property
    def title(self) -> str:
        on = "" if self.test_set == OWN else f", on {self.test_set}"
        return f"{self.change[0].upper()}{self.change[1:]}{on}"

    def table(self) -> ColumnTable:
        """The values behind the curve."""
        rows = {name: [(one, "") for one in row] for name, row in self.rows.items()}
        return ColumnTable(self.metric, self.levels, rows, f"{self.title}.")


def curves(study: Study) -> list[RobustnessCurve]:
    """A curve for each change of the test images at two or more levels, in the first metric of the report that has it.

    A change with several steps is one curve where only one number of it varies.
    """
    if study.plan.get("task") != "detect":
        return []
    changes = study.arm(study.baseline).config.get("test_changes") or {}
    metrics = list(dict.fromkeys(record_columns.without_test_set(metric)[0] for metric in study.metrics))
    found = []
    for test_set, place, labels in _series(changes):
        column = {label: label if test_set == OWN else f"{test_set}_{label}" for label in labels}
        for metric in metrics:
            clean = metric if test_set == OWN else f"{metric}_on_{test_set}"
            columns = [clean, *(f"{metric}_on_{column[label]}" for label in labels)]
            rows = {name: [study.interval(name, one) for one in columns] for name in study.names}
            rows = {name: row for name, row in rows.items() if any(row[1:])}
            if rows:
                levels = [UNCHANGED, *(f"{value:g}" for value in labels.values())]
                trained = {name: study.arm(name).trains for name in rows}
                notes = tuple(figures.on_groups(study, clean, rows))
                found.append(RobustnessCurve(metric, test_set, place, levels, rows, trained, notes))
                break
    return found


def _series(changes: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, dict[str, float]]]:
    """(test set, words, level by label of the change from weak to strong) of each change at several levels."""
    found: dict[tuple[str, tuple[Step, ...], tuple[str, str]], dict[str, float]] = {}
    for label, change in changes.items():
        steps = _steps(change)
        for test_set in change.get("on") or [OWN]:
            for step in steps:
                if isinstance(step[2], int | float) and not isinstance(step[2], bool):
                    others = tuple(one for one in steps if one is not step)
                    found.setdefault((test_set, others, step[:2]), {})[label] = float(step[2])
    for (test_set, others, (number, option)), levels in found.items():
        if len(set(levels.values())) > 1:
            ordered = dict(sorted(levels.items(), key=lambda one: _strength(option, one[1])))
            yield test_set, _words(others, number, option), ordered


def _steps(change: Mapping[str, Any]) -> list[Step]:
    steps: Sequence[Mapping[str, Any]] = change.get("steps", [change])
    return [
        (str(number), option, value)
        for number, step in enumerate(steps)
        for option, value in step.items()
        if value is not None and option != "on"
    ]


def _strength(option: str, level: float) -> float:
    if option == "resize":
        return abs(math.log(level))
    return -level if option in _WEAKER_UPWARDS else level


def _words(others: Sequence[Step], number: str, option: str) -> str:
    """'JPEG quality', 'JPEG quality after resize 0.5'."""
    before = [f"{name} {value}" for at, name, value in others if at < number]
    after = [f"{name} {value}" for at, name, value in others if at > number]
    beside = [f"{name} {value}" for at, name, value in others if at == number]
    words = _WORDS.get(option, option.replace("_", " "))
    parts = [words, *(f"of {one}" for one in beside)]
    parts += [f"after {wording.listing(before)}"] if before else []
    parts += [f"before {wording.listing(after)}"] if after else []
    return " ".join(parts)


def sentences(study: Study, found: Sequence[RobustnessCurve]) -> list[str]:
    """The caption: what is drawn."""
    drawn = [one for curve in found for row in curve.rows.values() for one in row if one]
    what = "Mean over seeds" if any(one.n > 1 for one in drawn) else "One evaluation of each arm"
    sentences = [f"{what} by level, from the images as they are ({UNCHANGED}) to the strongest change{_bands(drawn)}."]
    if not all(trained for curve in found for trained in curve.trained.values()):
        sentences.append(f"Broken lines: {study.untrained}.")
    return [*sentences, *dict.fromkeys(note for curve in found for note in curve.notes)]


def _bands(drawn: Sequence[Interval]) -> str:
    """'; bands are 95 % intervals over seeds and test photographs'; empty if there is no band."""
    kinds = {(one.n > 1, one.photographs > 0) for one in drawn if _has_band(one)}
    words = {
        (True, True): "seeds and test photographs",
        (False, True): "test photographs, where there is one evaluation" if len(kinds) > 1 else "test photographs",
        (True, False): "seeds alone" if len(kinds) > 1 else "seeds",
    }
    over = [text for kind, text in words.items() if kind in kinds]
    few = any(1 < one.n < figures.BAND_FROM for one in drawn)
    least = f"; arms with fewer than {figures.BAND_FROM} seeds have none" if few and over else ""
    return f"; bands are 95 % intervals over {', or over '.join(over)}{least}" if over else ""


def _has_band(one: Interval | None) -> bool:
    """Whether the interval is drawn: two seeds give bands that fill the panel."""
    return one is not None and one.low is not None and (one.n == 1 or one.n >= figures.BAND_FROM)


def csv(found: Sequence[RobustnessCurve]) -> str:
    """All points: arm, metric, test set, change, level, mean, low, high, number of seeds."""
    rows: list[Sequence[object]] = [("arm", "metric", "test_set", "change", "level", "mean", "low", "high", "n")]
    for curve in found:
        for arm, row in curve.rows.items():
            for level, one in zip(curve.levels, row, strict=True):
                if one is not None:
                    values = (one.mean, one.low, one.high, one.n)
                    rows.append((arm, curve.metric, curve.test_set, curve.change, level, *values))
    return csv_text.to_csv(rows)


# --- the picture ------------------------------------------------------------------------------------------------------


def plot(found: Sequence[RobustnessCurve], form: str = "svg") -> bytes:
    """A panel for each change; levels at equal distances, since their units differ."""
    with figures.drawing_settings():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        wide = min(2, len(found))
        tall = -(-len(found) // wide)
        figure = Figure(figsize=(5.4 * wide if wide > 1 else 8.6, 3.5 * tall + 0.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(tall, wide, squeeze=False).flatten()
        handles: dict[str, Any] = {}
        for curve, ax in zip(found, axes, strict=False):
            handles = {**_panel(ax, curve), **handles}
        for ax in axes[len(found) :]:
            ax.set_axis_off()
        figures.legend(figure, axes[len(found)] if len(axes) > len(found) else None, handles)
        return figures.render_figure(figure, form)


def _panel(ax: Axes, curve: RobustnessCurve) -> dict[str, Any]:
    handles: dict[str, Any] = {}
    places = np.arange(len(curve.levels))
    for number, (arm, row) in enumerate(curve.rows.items()):
        mean = [math.nan if one is None else one.mean for one in row]
        bounds = [(one.low, one.high) if one and _has_band(one) else (math.nan, math.nan) for one in row]
        style = figures.line_style(number) if curve.trained[arm] else {**figures.line_style(number), "linestyle": "--"}
        (handles[arm],) = ax.plot(places, mean, linewidth=1.6, marker="o", markersize=3.5, **style)
        low, high = np.array(bounds, dtype=np.float64).T
        ax.fill_between(places, low, high, color=style["color"], alpha=0.18, linewidth=0)
    figures.style_panel(ax, wording.label(curve.metric), curve.title, "")
    ax.set_xticks(places, curve.levels)
    return handles
