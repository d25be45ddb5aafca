"""Optuna's own figures of a search, from a study that is rebuilt from the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from analysis import wording
from analysis.dashboard import theme
from sweeps.search.history import silence_optuna
from sweeps.search.search import Search

FIGURES = ("history", "parallel coordinates", "slices", "importances", "Pareto front")
_LEAST = {"history": 1, "parallel coordinates": 2, "slices": 2, "importances": 4, "Pareto front": 1}
"""Smallest number of complete suggestions for a figure."""


def figure_kinds(search: Search) -> list[str]:
    """Figures of a search: a Pareto front needs several metrics, importances need several parameters."""
    several = len(search.spec.metrics) > 1
    parameters = {name for ask in search.asks() for name in ask.overrides}
    return [
        kind
        for kind in FIGURES
        if (kind != "Pareto front" or several) and (kind != "importances" or len(parameters) > 1)
    ]


def missing_suggestions(search: Search, kind: str) -> int:
    """Number of complete suggestions that a figure still needs; 0 if it can be drawn."""
    return max(0, _LEAST[kind] - sum(ask.state == "complete" for ask in search.asks()))


def figure(search: Search, kind: str, metric: str, dark: bool) -> Any:
    """A figure of a search, for one of its metrics."""
    import optuna

    at = search.spec.metrics.index(metric)
    words = wording.label(metric)
    study = search.study()
    draw: dict[str, Callable[[], Any]] = {
        "history": lambda: optuna.visualization.plot_optimization_history(study, target=_of(at), target_name=words),
        "parallel coordinates": lambda: optuna.visualization.plot_parallel_coordinate(
            study, target=_of(at), target_name=words
        ),
        "slices": lambda: optuna.visualization.plot_slice(study, target=_of(at), target_name=words),
        "importances": lambda: optuna.visualization.plot_param_importances(
            study,
            evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
            target=None if len(search.spec.metrics) == 1 else _of(at),
            target_name=words,
        ),
        "Pareto front": lambda: optuna.visualization.plot_pareto_front(
            study, target_names=[wording.label(name) for name in search.spec.metrics]
        ),
    }
    with silence_optuna():
        drawn = theme.style_figure(draw[kind](), dark, 440)
    return drawn.update_layout(title_text="")


def _of(at: int) -> Callable[[Any], float]:
    return lambda trial: float(trial.values[at])


def suggestions_table(search: Search) -> pd.DataFrame:
    """Every suggestion with its state, metrics and parameters."""
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
                **{str(name): _format(value) for name, value in ask.overrides.items()},
            }
        )
    return pd.DataFrame(rows)


def _format(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
