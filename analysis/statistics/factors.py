"""Two-factor studies: a cross table, tests of main effects and interaction, and an interaction plot.

The factors are a grid's keys; if a grid crosses several arms, the arm is a factor too. Effects are tested by F tests in
the linear mixed model with both factors and their interaction as fixed effects and the seed as a random intercept
(Laird and Ware 1982). If every cell has every seed, this is the analysis of variance with the seed as a block, which is
exact; otherwise the model is fitted by REML, with the degrees of freedom of the block design. Arms without trainable
parameters do not depend on the seed and are left out of the tests.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis import wording
from analysis.report import figures, render
from analysis.statistics.intervals import Interval
from analysis.study import Study, StudyArm

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ARMS = "arm"
"""Name of the factor whose levels are the sweep's named arms."""
_LEAST_SEEDS = 2


@dataclass(frozen=True)
class Effect:
    """One row of the analysis of variance."""

    name: str
    f: float | None
    """F statistic; None, as is `p`, if the data leave it undefined."""
    freedom: tuple[int, int]
    """Degrees of freedom of numerator and denominator."""
    p: float | None


@dataclass(frozen=True)
class CrossTable:
    """One metric by two factors."""

    metric: str
    row_factor: str
    column_factor: str
    rows: list[str]
    """Levels of the row factor."""
    columns: list[str]
    """Levels of the column factor."""
    cells: Mapping[tuple[str, str], Interval]
    """Intervals by (row, column); cells without a finished trial are absent."""
    effects: list[Effect]
    note: str
    """How the effects were tested, or why they were not."""

    @property
    def digits(self) -> int:
        return wording.decimals(self.cells.values())

    def text(self, row: str, column: str) -> str:
        """'27.31 ± 0.12 (n=8)'."""
        return render.mean_text(self.cells.get((row, column)), self.digits)

    def grid(self) -> render.TextGrid:
        body = [[row, *(self.text(row, column) for column in self.columns)] for row in self.rows]
        return render.TextGrid([f"{self.row_factor} \\ {self.column_factor}", *self.columns], body)

    def sentences(self) -> list[str]:
        """The effects in words."""
        sentences = []
        for effect in self.effects:
            if effect.p is None or effect.f is None:
                sentences.append(f"{effect.name}: cannot be tested.")
                continue
            degrees = f"F({effect.freedom[0]}, {effect.freedom[1]}) = {effect.f:.3g}"
            p = "p < 0.001" if effect.p < 0.001 else f"p = {effect.p:.2g}"
            sentences.append(f"{effect.name}: {degrees}, {p}.")
        return [*sentences, self.note] if self.note else sentences


def cross(study: Study, metric: str) -> CrossTable | None:
    """The cross table of a metric; None unless the study has exactly two factors with two or more levels."""
    levels = {arm.name: _levels(arm) for arm in study.arms}
    names = list(dict.fromkeys(name for of_arm in levels.values() for name in of_arm))
    sizes = {name: len({of_arm.get(name) for of_arm in levels.values()}) for name in names}
    chosen = [name for name in names if sizes[name] > 1]
    if len(chosen) != 2 or not any(arm.factors for arm in study.arms):
        return None
    row, column = chosen
    cells = {
        (of_arm[row], of_arm[column]): interval
        for name, of_arm in levels.items()
        if row in of_arm and column in of_arm and (interval := study.interval(name, metric))
    }
    if not cells:
        return None
    rows, columns = (list(dict.fromkeys(one[name] for one in levels.values() if name in one)) for name in chosen)
    effects, note = _effects(study, metric, levels, row, column)
    return CrossTable(metric, _called(row), _called(column), rows, columns, cells, effects, note)


def _levels(arm: StudyArm) -> dict[str, str]:
    """The level of each factor: those of the grid's keys, and the arm's name without them."""
    cell = ", ".join(str(label) for label in arm.factors.values())
    named = "" if arm.name == cell else arm.name.removesuffix(f", {cell}") if cell else arm.name
    return {**({ARMS: named} if named else {}), **arm.factors}


def _called(name: str) -> str:
    return name.rpartition(".")[2].replace("_", " ")


def _effects(
    study: Study, metric: str, levels: Mapping[str, Mapping[str, str]], row: str, column: str
) -> tuple[list[Effect], str]:
    """Tests of the main effects and the interaction, and a note on them."""
    data = pd.DataFrame(
        [
            (levels[arm.name][row], levels[arm.name][column], seed, value)
            for arm in study.arms
            if arm.trains and {row, column} <= levels[arm.name].keys()
            for seed, value in study.values(arm.name, metric).items()
        ],
        columns=["a", "b", "seed", "value"],
    )
    a, b, seeds = data["a"].nunique(), data["b"].nunique(), data["seed"].nunique()
    cells = len(data.groupby(["a", "b"]))
    left_out = f" {study.untrained.capitalize()} are left out." if any(not arm.trains for arm in study.arms) else ""
    if seeds < _LEAST_SEEDS or min(a, b) < 2 or cells < a * b or data["value"].nunique() < 2:
        return [], f"Testing effects needs {_LEAST_SEEDS} seeds and a trained arm in every cell.{left_out}"
    residual = len(data) - cells - (seeds - 1)
    names = (_called(row), _called(column), f"{_called(row)} × {_called(column)}")
    uneven = len(data) < cells * seeds
    tested = zip(names, (a - 1, b - 1, (a - 1) * (b - 1)), _wald(data, complete=not uneven), strict=True)
    effects = [_effect(name, df, f, residual) for name, df, f in tested]
    incomplete = "; some cells lack seeds" if uneven else ""
    return effects, f"F tests in a linear mixed model with the seed as random effect{incomplete}.{left_out}"


def _effect(name: str, df: int, f: float, residual: int) -> Effect:
    from scipy.special import fdtrc

    if residual < 1 or not np.isfinite(f):
        return Effect(name, None, (df, max(residual, 0)), None)
    return Effect(name, f, (df, residual), float(fdtrc(df, residual, f)))


def _wald(data: pd.DataFrame, complete: bool) -> list[float]:
    """F statistics of both main effects and the interaction, with sum-to-zero contrasts; NaN if the fit fails."""
    import statsmodels.formula.api as smf  # takes two seconds to import; other studies do not need it

    effects = "C(a, Sum) * C(b, Sum)"
    scaled = data.assign(value=(data["value"] - data["value"].mean()) / data["value"].std())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an estimated seed variance of 0, its lower bound, is a valid fit
        try:
            if complete:
                fitted = smf.ols(f"value ~ {effects} + C(seed)", scaled).fit()
            else:
                fitted = smf.mixedlm(f"value ~ {effects}", scaled, groups="seed").fit(reml=True)
            table: Any = fitted.wald_test_terms(scalar=True).table
        except np.linalg.LinAlgError:
            return [float("nan")] * 3
    if not (complete or fitted.converged):
        return [float("nan")] * 3
    terms = table.loc[["C(a, Sum)", "C(b, Sum)", "C(a, Sum):C(b, Sum)"]]
    return [float(f) for f in (terms["statistic"] if complete else terms["statistic"] / terms["df_constraint"])]


# --- the plot ---------------------------------------------------------------------------------------------------------


def plot(table: CrossTable, form: str = "svg") -> bytes:
    """Interaction plot: means with intervals, one line per row level over the column levels."""
    with figures.drawing_settings():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.6, 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        ax = figure.subplots()
        for number, row in enumerate(table.rows):
            _line(ax, table, row, number)
        figures.style_axes(ax, table.metric)
        ax.set_xlabel(table.column_factor, fontsize=9)
        ax.set_xticks(range(len(table.columns)), table.columns, parse_math=False)
        ax.margins(x=0.08)
        figures.legend(figure, None, {row: ax.lines[number] for number, row in enumerate(table.rows)})
        return figures.render_figure(figure, form)


def _line(ax: Axes, table: CrossTable, row: str, number: int) -> None:
    shift = 0.04 * (number - (len(table.rows) - 1) / 2)  # so that the intervals of two rows do not overlap
    known = [(x, table.cells[row, column]) for x, column in enumerate(table.columns) if (row, column) in table.cells]
    colour = figures.PALETTE[number % len(figures.PALETTE)]
    xs, ys = [x + shift for x, _ in known], [cell.mean for _, cell in known]
    halves = [cell.half_width or 0.0 for _, cell in known]
    (line,) = ax.plot(xs, ys, color=colour, linewidth=1.6, marker="o", markersize=4)
    line.set_linestyle("-" if any(halves) else (0, (2, 2)))
    for x, y, half in zip(xs, ys, halves, strict=True):
        ax.vlines(x, y - half, y + half, color=colour, linewidth=1.2)
