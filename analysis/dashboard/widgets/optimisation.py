"""Optuna's own figures of a search, from a study that is rebuilt from the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from analysis import wording
from analysis.dashboard import theme
from sweeps.search.arm_search import suggestion_key
from sweeps.search.history import silence_optuna
from sweeps.search.search import Search
from sweeps.store import layout
from sweeps.store.base import Store

FIGURES = ("history", "parallel coordinates", "slices", "importances", "Pareto front")
_BEST = "best so far"
_LEAST = {"history": 1, "parallel coordinates": 2, "slices": 2, "importances": 4, "Pareto front": 1}
"""Smallest number of complete suggestions for a figure."""


def figure_kinds(search: Search) -> list[str]:
    """Figures of a search: a Pareto front needs several metrics, importances need several keys."""
    several = len(search.spec.metrics) > 1
    keys = {name for ask in search.asks() for name in ask.overrides}
    return [
        kind for kind in FIGURES if (kind != "Pareto front" or several) and (kind != "importances" or len(keys) > 1)
    ]


def missing_suggestions(search: Search, kind: str) -> int:
    """Number of complete suggestions that a figure still needs; 0 if it can be drawn."""
    return max(0, _LEAST[kind] - sum(ask.state == "complete" for ask in search.asks()))


def figure(search: Search, kind: str, metric: str, dark: bool) -> Any:
    """A figure of a search over the configuration's own values, for one of its metrics. The best lines are dark."""
    from optuna import importance, visualization

    words = wording.label(metric)
    study = search.own_study(None if kind == "Pareto front" else metric)
    draw: dict[str, Callable[[], Any]] = {
        "history": lambda: visualization.plot_optimization_history(study, target_name=words),
        "parallel coordinates": lambda: visualization.plot_parallel_coordinate(study, target_name=words),
        "slices": lambda: visualization.plot_slice(study, target_name=words),
        "importances": lambda: visualization.plot_param_importances(
            study, evaluator=importance.PedAnovaImportanceEvaluator(), target_name=words
        ),
        "Pareto front": lambda: visualization.plot_pareto_front(
            study, target_names=[wording.label(name) for name in search.spec.metrics]
        ),
    }
    with silence_optuna():
        drawn = theme.style_figure(draw[kind](), dark, 440)
    if kind == "history":
        drawn.update_xaxes(title_text="suggestion", **theme.whole_ticks(drawn))
        drawn.for_each_trace(lambda trace: trace.update(name=_BEST), lambda trace: trace.name == "Best Value")
    return drawn.update_layout(title_text="", clickmode="event+select", legend=theme.LEGEND)


def suggestion_at(drawn: Any, point: Mapping[str, Any]) -> int | None:
    """The number of the suggestion that a selected point of a figure shows; None if it shows no single one."""
    trace, index = drawn.data[point["curve_number"]], point["point_index"]
    if trace.type != "scatter" or trace.mode != "markers":
        return None
    numbers = trace.x if trace.marker.color is None or isinstance(trace.marker.color, str) else trace.marker.color
    return int(numbers[index])


def trial_of(store: Store, sweep: str, arm: str, number: int) -> str:
    """Id of a suggestion's trial with the first tuning seed; '' if it has not begun."""
    trials: dict[str, str] = layout.get_json(store, suggestion_key(sweep, arm, number)) or {}
    return next((str(trial) for seed, trial in trials.items() if seed.isdigit()), "")


def suggestions_table(search: Search) -> pd.DataFrame:
    """Every suggestion with its state, metrics and values of the configuration."""
    metrics = [wording.label(metric) for metric in search.spec.metrics]
    rows = []
    for ask in search.asks():
        values = ask.values if ask.state == "complete" else [None] * len(metrics)
        state = {"complete": "done"}.get(ask.state, ask.state)
        rows.append(
            {
                "suggestion": ask.number,
                "state": f"{theme.STATES[state][2]} {ask.state}",
                **dict(zip(metrics, values, strict=False)),
                **{str(name): _cell(value) for name, value in ask.overrides.items()},
            }
        )
    return pd.DataFrame(rows)


def _cell(value: Any) -> Any:
    """A value that a table sorts as a number where it is one."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else json.dumps(value).strip('"')
