"""The grid of arms by seeds: the state of each cell in words, and its state or a metric as colour."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis import wording
from analysis.dashboard import theme
from analysis.study import Study
from sweeps.results.progress import EXTENDED, TrialState

NO_COLOUR = "state"
"""Choice of colours by state instead of by metric."""
_FINISHED = ("done", "cached")
MOST_ROWS = 400
"""Maximum number of arms that a page shows."""


@dataclass(frozen=True)
class GridCell:
    """The cell of an arm and a seed."""

    arm: str
    seed: int
    trial: str
    """Id of the trial."""
    state: str
    text: str
    value: float | None
    """Value of the metric; None if the trial has none yet."""


def cells(study: Study, states: Mapping[str, TrialState], metric: str) -> list[GridCell]:
    """Every cell in its current state. Unfinished trials have the value on validation."""
    first = min((plan.get("planned_at") or 0.0 for plan in study.versions), default=0.0)
    values = {arm: study.values(arm, metric) for arm in study.names}
    digits = _digits(list(values.values()))
    found = [_cell(study, cell, states, metric, values[cell.arm], digits, first) for cell in study.cells]
    return sortable(found)


def sortable(found: list[GridCell]) -> list[GridCell]:
    """Put blanks before shorter numbers of finished trials, so that a table that sorts texts sorts these numbers."""
    wide = max((len(cell.text) for cell in found if cell.state in _FINISHED), default=0)
    made = []
    for cell in found:
        mark, _, number = cell.text.partition(" ")
        padded = (
            f"{mark} {number.rjust(wide - len(mark) - 1)}"
            if cell.state in _FINISHED and cell.value is not None
            else cell.text
        )
        made.append(replace(cell, text=padded))
    return made


def _cell(
    study: Study,
    cell: Any,
    states: Mapping[str, TrialState],
    metric: str,
    values: Mapping[int, float],
    digits: int,
    planned: float,
) -> GridCell:
    now = states.get(cell.trial, cell.progress)
    state = now.words(cell.epochs)
    value = values.get(cell.seed)
    if state == "done":
        result = study.results.get((cell.trial, cell.epochs), {})
        state = "cached" if result.get("ended_at", planned) < planned else "done"
        text = wording.fixed(value, digits) if value is not None else "done"
    elif state in ("running", "interrupted", EXTENDED):
        value = now.record.get(f"val/{metric.partition('/')[2]}")
        word = "to extend " if state == EXTENDED else ""
        text = f"{word}{now.epoch or 0}/{cell.epochs}" + (
            f"  {wording.fixed(value, digits)}" if value is not None else ""
        )
    else:
        text = state
    return GridCell(cell.arm, cell.seed, cell.trial, state, f"{theme.STATES[state][2]} {text}", value)


def _digits(values: list[dict[int, float]]) -> int:
    """Number of decimals with which the values of a grid differ."""
    known = [value for by_seed in values for value in by_seed.values()]
    if not known:
        return 2
    spread = max(known) - min(known) or abs(known[0]) or 1.0
    return int(np.clip(2 - np.floor(np.log10(spread)), 1, 6))


def table(
    found: list[GridCell],
    arms: list[str],
    seeds: list[int],
    failed: Collection[str] = (),
    starred: Collection[str] = (),
) -> pd.DataFrame:
    """The texts of the cells: a row per arm and a column per seed.

    failed: arms whose search has no result. starred: trials with a star.
    """
    texts = {(cell.arm, cell.seed): cell.text + (" ★" if cell.trial in starred else "") for cell in found}
    empty = {arm: "search without a result" if arm in failed else "search not finished" for arm in arms}
    empty |= {cell.arm: "" for cell in found}  # a look gave the arm no more seeds
    rows = [[texts.get((arm, seed), empty[arm]) for seed in seeds] for arm in arms]
    return pd.DataFrame(rows, columns=[f"seed {seed}" for seed in seeds], index=pd.Index(arms, name="arm"))


def colours(found: list[GridCell], arms: list[str], seeds: list[int], metric: str, by_metric: bool) -> pd.DataFrame:
    """CSS for each cell, by its state or, for finished trials, by its value between the worst and the best one."""
    styles = {(cell.arm, cell.seed): _of_state(cell.state) for cell in found}
    finished = [cell for cell in found if cell.state in _FINISHED and cell.value is not None]
    sign = wording.sign(metric) or 1
    if by_metric and finished:
        order = np.array([sign * cell.value for cell in finished if cell.value is not None])
        low, high = np.quantile(order, 0.05), order.max()
        for cell, value in zip(finished, order, strict=True):
            share = 1.0 if high <= low else float((value - low) / (high - low))
            styles[cell.arm, cell.seed] = f"background-color: {theme.scale(min(max(share, 0.0), 1.0))}"
    return pd.DataFrame(
        [[styles.get((arm, seed), "") for seed in seeds] for arm in arms],
        columns=[f"seed {seed}" for seed in seeds],
        index=pd.Index(arms, name="arm"),
    )


def _of_state(state: str) -> str:
    strength = 0.08 if state == "queued" else 0.20
    return f"background-color: {theme.tint(theme.STATES[state][0], strength)}"
