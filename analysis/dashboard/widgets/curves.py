"""Curves over epochs as Plotly figures: means with bands or single seeds, smoothing, log axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis import wording
from analysis.dashboard import theme
from analysis.report import figures
from analysis.study import Study
from sweeps.results import columns as record_columns

CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d"]}
"""Configuration of Plotly's own buttons."""
_POINTS = 400
"""Maximum number of points of a line; longer histories are thinned for the browser."""
_MOST_LINES = 200
"""Maximum number of lines of single seeds."""


def columns(study: Study) -> list[str]:
    """Metrics with a curve, those of the report first."""
    known = [name for name in study.records.columns if name not in ("arm", "seed", "trial", record_columns.EPOCH)]
    first = [name for name in [*figures.curve_columns(study), *study.metrics] if name in known]
    return list(dict.fromkeys([*first, *sorted(known)]))


def title(column: str) -> str:
    unit = wording.unit(column)
    hint = {"max": "higher is better", "min": "lower is better", "": ""}[wording.better(column)]
    return wording.label(column) + (f", {unit}" if unit else "") + (f" ({hint})" if hint else "")


def study_figure(
    study: Study, column: str, arms: Sequence[str], seeds: bool, smooth: int, log: bool, dark: bool
) -> tuple[go.Figure, str]:
    """A figure of a sweep, and a sentence on what it leaves out, or ''. smooth: epochs of the moving mean."""
    figure = go.Figure()
    rows_of = {str(arm): rows for arm, rows in study.records.groupby("arm", sort=False)}
    lines = 0
    for number, name in enumerate(study.names):
        rows = rows_of.get(name)
        if name not in arms or rows is None or column not in rows or not rows[column].notna().any():
            continue
        colour, dash = theme.arm_colour(number), theme.arm_dash(number)
        if not study.arm(name).trains:
            figure.add_hline(float(rows[column].dropna().iloc[0]), line={"color": colour, "dash": "dot", "width": 1.5})
            figure.add_trace(_line([None], [None], name, colour, "dot"))
            continue
        if seeds:
            for _, one in rows.groupby("seed"):
                if lines < _MOST_LINES:
                    known = one[one[column].notna()]
                    trace = _line(
                        known[record_columns.EPOCH], _smoothed(known[column], smooth), name, colour, dash, 1.0, 0.45
                    )
                    figure.add_trace(trace.update(showlegend=False, legendgroup=name))
                    lines += 1
        mean, low, high = figures.bands(rows, column)
        if not seeds:
            figure.add_trace(_band(low, high, smooth, colour, name))
        line = _line(mean.index, _smoothed(mean, smooth), name, colour, dash, 2.2).update(legendgroup=name)
        figure.add_trace(line.update(mode="lines" if len(mean) > 1 else "markers", marker={"size": 8}))
    _axes(figure, title(column), log, dark)
    return figure, f"Only the first {_MOST_LINES} seeds are drawn." if lines >= _MOST_LINES else ""


def add_running(
    figure: go.Figure,
    study: Study,
    running: Mapping[tuple[str, int], Mapping[str, Sequence[Any]]],
    column: str,
    arms: Sequence[str],
    smooth: int,
) -> None:
    """Add the trials that are not finished, in the colours of their arms. running: {(arm, seed): columns}."""
    for (arm, seed), columns in running.items():
        pairs = zip(columns[record_columns.EPOCH], columns.get(column, ()), strict=False)
        known = [(epoch, value) for epoch, value in pairs if value is not None]
        if arm in arms and known:
            number = study.names.index(arm)
            values = pd.Series([value for _, value in known], dtype=float)
            epochs = [epoch for epoch, _ in known]
            name, colour = f"{arm}, seed {seed}, running", theme.arm_colour(number)
            line = _line(epochs, _smoothed(values, smooth), name, colour, "solid", 1.0)
            figure.add_trace(line.update(mode="lines+markers", marker={"size": 4}, showlegend=False))


def histories_figure(
    histories: Mapping[str, Mapping[str, Sequence[Any]]], column: str, dark: bool, log: bool
) -> go.Figure:
    """A figure with a line per trial. histories: {label: columns over epochs}."""
    figure = go.Figure()
    for number, (name, history) in enumerate(histories.items()):
        pairs = [
            (e, v) for e, v in zip(history.get("epoch", []), history.get(column, []), strict=False) if v is not None
        ]
        if pairs:
            epochs, values = zip(*pairs, strict=True)
            mode = "lines+markers" if len(pairs) < 12 else "lines"
            line = _line(epochs, values, name, theme.arm_colour(number), theme.arm_dash(number), 2.2)
            figure.add_trace(line.update(mode=mode))
    _axes(figure, title(column), log, dark)
    figure.update_layout(showlegend=len(histories) > 1)
    return figure


def trace_figure(trace: Mapping[str, Any], dark: bool) -> go.Figure:
    """The loss terms of the steps before a divergence; a term that is no longer finite ends with a cross."""
    figure = go.Figure()
    steps = list(trace.get("steps") or ())
    positive = True
    for number, (name, values) in enumerate((trace.get("terms") or {}).items()):
        known = [(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
        if not known:
            continue
        positive = positive and all(value > 0 for _, value in known)
        across, up = [step for step, _ in known], [value for _, value in known]
        width = 2.0 if number else 6.0  # the sum, which the only term of a loss would cover
        line = _line(across, up, name, theme.arm_colour(number), theme.arm_dash(number), width)
        figure.add_trace(line.update(mode="lines+markers", marker={"size": 5}))
        if values[-1] is None:
            end = _line(steps[-1:], up[-1:], f"{name} is not finite", theme.arm_colour(number), "solid")
            figure.add_trace(end.update(mode="markers", marker={"symbol": "x", "size": 10}, showlegend=False))
    _axes(figure, "Loss terms by step", positive, dark)
    figure.update_xaxes(title_text="step")
    return figure.update_layout(height=300)


def _axes(figure: go.Figure, words: str, log: bool, dark: bool) -> None:
    theme.style_figure(figure, dark, 420)
    figure.update_layout(title_text=words, hovermode="x unified", legend=theme.LEGEND)
    figure.update_xaxes(title_text="epoch", showgrid=False, tickformat=",d", minallowed=0)
    figure.update_xaxes(**theme.whole_ticks(figure))
    figure.update_yaxes(type="log" if log else "linear")
    up = [one for trace in figure.data for one in (() if trace.y is None else trace.y) if one is not None and one > 0]
    if log and up and max(up) < 100 * min(up):
        figure.update_yaxes(dtick="D2")  # 1, 2, 5, in place of all digits


def _line(
    x: Iterable[Any], y: Iterable[Any], name: str, colour: str, dash: str, width: float = 2.0, opacity: float = 1.0
) -> go.Scatter:
    across, up = _thinned(list(x), list(y))
    line = {"color": colour, "dash": dash, "width": width}
    return go.Scatter(x=across, y=up, name=_safe(name), mode="lines", line=line, opacity=opacity)


def _band(low: pd.Series[float], high: pd.Series[float], smooth: int, colour: str, name: str) -> go.Scatter:
    known = low.notna() & high.notna()
    bottom, top = _smoothed(low[known], smooth), _smoothed(high[known], smooth)
    epochs, lower = _thinned(list(low.index[known]), list(bottom))
    _, upper = _thinned(list(high.index[known]), list(top))
    return go.Scatter(
        x=[*epochs, *epochs[::-1]],
        y=[*upper, *lower[::-1]],
        fill="toself",
        fillcolor=theme.tint(colour, 0.18),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=name,
        mode="lines",
    )


def _smoothed(values: pd.Series[float], epochs: int) -> list[float]:
    if epochs <= 1:
        return list(values)
    return list(pd.Series(list(values), dtype=float).rolling(epochs, min_periods=1).mean())


def _thinned(x: list[Any], y: list[Any]) -> tuple[list[Any], list[Any]]:
    if len(x) <= _POINTS:
        return x, y
    rows = np.unique(np.linspace(0, len(x) - 1, _POINTS).round().astype(int)).tolist()
    return [x[row] for row in rows], [y[row] for row in rows]


def _safe(name: str) -> str:
    """A name with escaped HTML, because Plotly interprets some tags."""
    return figures.shorten(name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
