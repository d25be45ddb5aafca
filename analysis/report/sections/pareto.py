"""Quality against cost: the Pareto front of the arms, for each cost that the sweep file names.

The front is that of the means over seeds; the plot shows their intervals, because an arm behind the front by less than
its interval may be on it. Parameters of discriminators do not count, but their time and memory do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis import wording
from analysis.report import figures
from analysis.statistics.intervals import Interval, exact_value
from analysis.study import Study
from sweeps.results import columns as record_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PARAMETERS = "parameters"
_LABELS = {PARAMETERS: "parameters"}


@dataclass(frozen=True)
class ParetoPoint:
    """One arm."""

    arm: str
    trains: bool
    quality: Interval
    cost: Mapping[str, Interval]
    """By the name of the cost."""
    front: frozenset[str]
    """The costs for which the arm is on the Pareto front."""


@dataclass(frozen=True)
class Pareto:
    """A quality metric against one or more costs."""

    quality: str
    costs: list[str]
    points: list[ParetoPoint]
    """Best quality first."""
    notes: list[str]
    """Sentences for the caption."""

    @property
    def digits(self) -> int:
        return wording.decimals(point.quality for point in self.points)

    def cost_digits(self, cost: str) -> int:
        return wording.decimals(point.cost.get(cost) for point in self.points)


def label(cost: str) -> str:
    """'parameters', 'time per epoch (s)'."""
    unit = "" if cost == PARAMETERS else wording.unit(cost)
    return _LABELS.get(cost) or wording.label(cost) + (f" ({unit})" if unit else "")


def build(study: Study) -> Pareto | None:
    """Build the comparison; None if the sweep does not ask for it or fewer than two trained arms have results.

    Arms with other test images or masks than the baseline are left out, and so are costs that no trained arm has.
    """
    options = study.plan["report"].get("pareto")
    if not options:
        return None
    quality, costs = options["quality"], options["cost"]
    group = next(names for names in study.groups if study.baseline in names)
    found = {name: interval for name in group if (interval := study.interval(name, quality))}
    if sum(study.arm(name).trains for name in found) < 2:
        return None
    spent = {name: _costs(study, name, costs) for name in found}
    costs = [cost for cost in costs if any(study.arm(name).trains and cost in spent[name] for name in found)]
    sign = wording.sign(quality)

    def beaten(name: str, cost: str) -> bool:
        """Whether another arm dominates: no worse in quality and cost, and better in one of them."""
        here = (-sign * found[name].mean, spent[name][cost].mean)
        others = ((-sign * found[other].mean, spent[other][cost].mean) for other in found if cost in spent[other])
        return any(there != here and there[0] <= here[0] and there[1] <= here[1] for there in others)

    points = [
        ParetoPoint(
            name,
            study.arm(name).trains,
            found[name],
            spent[name],
            frozenset(cost for cost in spent[name] if not beaten(name, cost)),
        )
        for name in sorted(found, key=lambda name: -sign * found[name].mean)
    ]
    return Pareto(quality, costs, points, _notes(study, group, costs)) if costs else None


def _costs(study: Study, arm: str, costs: list[str]) -> dict[str, Interval]:
    """The costs of an arm by name."""
    spent = {}
    for cost in costs:
        interval = _parameters(study, arm) if cost == PARAMETERS else study.interval(arm, cost)
        if interval is not None:
            spent[cost] = interval
    return spent


def _parameters(study: Study, arm: str) -> Interval | None:
    keys = [key for key in study.arm(arm).trials.values() if key in study.results]
    counts = [study.results[key].get("facts", {}).get("parameters") for key in keys]
    return next((exact_value(float(count)) for count in counts if count is not None), None)


def _notes(study: Study, group: list[str], costs: list[str]) -> list[str]:
    notes = [
        "* marks the Pareto front of the means over seeds: no other arm is at least as good at the same or lower cost."
    ]
    if PARAMETERS in costs:
        notes.append("Parameters are those of the network, without discriminators.")
    if record_columns.PEAK_MEMORY_MB in costs:
        notes.append(
            "On a CPU, peak memory is that of the process, which trains several trials in turn: for all trials but the "
            "first it is an upper bound."
        )
    if left := [name for name in study.names if name not in group]:
        names = wording.listing(map(wording.quoted, left))
        notes.append(f"Left out, because they are tested on other images or masks: {names}.")
    return notes


# --- the picture ------------------------------------------------------------------------------------------------------


def plot(pareto: Pareto, form: str = "svg") -> bytes:
    """A panel per cost on a logarithmic axis: arms with intervals, the front as steps, untrained arms as levels."""
    with figures.drawing_settings():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(max(8.6, 4.3 * len(pareto.costs)), 3.9), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, len(pareto.costs), squeeze=False).flatten()
        handles: dict[str, object] = {}
        for ax, cost in zip(axes, pareto.costs, strict=True):
            handles = {**_panel(ax, pareto, cost), **handles}
        figures.legend(figure, None, handles)
        return figures.render_figure(figure, form)


def _panel(ax: Axes, pareto: Pareto, cost: str) -> dict[str, object]:
    """Draw one cost; returns the artist of each arm for the legend."""
    handles: dict[str, object] = {}
    for number, point in enumerate(pareto.points):
        colour = figures.PALETTE[number % len(figures.PALETTE)]
        mean, half = point.quality.mean, point.quality.half_width or 0.0
        if not point.trains:
            handles[point.arm] = ax.axhline(mean, color=colour, linewidth=1.3, linestyle=(0, (2, 2)), zorder=1.5)
        elif cost in point.cost:
            x = point.cost[cost]
            handles[point.arm] = ax.errorbar(
                x.mean,
                mean,
                half,
                x.half_width or 0.0,
                fmt="os^Dv"[number // len(figures.PALETTE) % 5],
                color=colour,
                markersize=7,
                markerfacecolor=colour if cost in point.front else figures.GROUND,
                elinewidth=1.2,
                zorder=3,
            )
    front = sorted((p.cost[cost].mean, p.quality.mean) for p in pareto.points if p.trains and cost in p.front)
    ax.step([x for x, _ in front], [y for _, y in front], where="post", color=figures.FAINT, linewidth=1.2, zorder=1)
    figures.style_axes(ax, pareto.quality)
    ax.set_xscale("log")
    ax.set_xlabel(label(cost), fontsize=9, color=figures.INK)
    ax.margins(x=0.08, y=0.08)
    return handles
