"""A table of rated fills for a terminal, and as LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis import wording
from analysis.report import render
from analysis.report.render import TextGrid
from analysis.scores.table import ScorePair, ScoreRow, ScoreTable, column

if TYPE_CHECKING:
    import rich.console

    from analysis.statistics.intervals import Interval

_GAP = 3
"""Letters between two columns in a terminal."""
_MOST_PAIRS = 12
"""Pairs of one metric that the text has; all are in the JSON."""


def _heading(metric: str) -> str:
    heading = render.metric_heading(column(metric)).removeprefix("test ")
    return f"balanced {heading}" if metric == "balanced_accuracy" else heading


def main_grid(table: ScoreTable) -> TextGrid:
    """A row for each fill, a column for each metric."""
    metrics = table.scores.metrics
    digits = {metric: wording.decimals(row.cells[metric] for row in table.rows) for metric in metrics}
    body = [[_name(row), *(_text(row.cells[metric], digits[metric]) for metric in metrics)] for row in table.rows]
    return TextGrid(["detections" if table.scores.detections else "fill", *map(_heading, metrics)], body)


def group_grid(table: ScoreTable) -> TextGrid | None:
    """A row for each kind of mask, a column for each fill, by the first metric; None if there is one kind of mask."""
    metric, groups = table.scores.metrics[0], list(table.rows[0].by_group)
    if not groups:
        return None
    cells = [[row.by_group[group][metric] for row in table.rows] for group in groups]
    digits = wording.decimals(cell for line in cells for cell in line)
    body = [[group, *(_text(cell, digits) for cell in line)] for group, line in zip(groups, cells, strict=True)]
    return TextGrid([f"hole, %: {_heading(metric)}", *map(_name, table.rows)], body)


def _name(row: ScoreRow) -> str:
    return row.name + (f" ({row.runs} seeds)" if row.runs > 1 else "")


def _text(interval: Interval | None, digits: int) -> str:
    return render.NOTHING if interval is None else wording.plus_minus(interval, digits)


def pair_grid(table: ScoreTable) -> TextGrid:
    """A row for each pair of fills by the first metric."""
    pairs = [pair for pair in table.pairs if pair.metric == table.scores.metrics[0]]
    digits = wording.decimals(pair.difference for pair in pairs)
    head = ["better", "worse", f"difference: {_heading(table.scores.metrics[0])}", "p (Holm)", "differ"]
    return TextGrid(head, [_pair(pair, digits) for pair in pairs[:_MOST_PAIRS]])


def _pair(pair: ScorePair, digits: int) -> list[str]:
    difference = wording.fixed(pair.difference.mean, digits, plus=True)
    half = pair.difference.half_width
    p = "< 0.001" if pair.test.adjusted_p < 0.001 else f"{pair.test.adjusted_p:.3f}"
    verdict = "yes" if pair.test.differs else "not shown"
    return [
        pair.better,
        pair.worse,
        difference + ("" if half is None else f" ± {wording.fixed(half, digits)}"),
        p,
        verdict,
    ]


def terminal(table: ScoreTable) -> rich.console.Group:
    """Tables and notes that rich can print."""
    from rich.console import Group
    from rich.text import Text

    grids = [main_grid(table), group_grid(table), pair_grid(table)]
    shown = [_FittedGrid(grid) for grid in grids if grid and grid.body]
    return Group(*shown, *(Text(note) for note in table.notes))


@dataclass(frozen=True)
class _FittedGrid:
    """A grid for a terminal; columns that do not fit its width stand in further blocks below, with the names again."""

    grid: TextGrid

    def __rich_console__(self, console: rich.console.Console, options: rich.console.ConsoleOptions) -> Any:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        widths = [
            max(len(cell) for cell in (*head.split(), *(cells[number] for cells in self.grid.body)))
            for number, head in enumerate(self.grid.head)
        ]
        for block in _blocks(widths, options.max_width):
            drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
            for number in block:
                drawn.add_column(Text(self.grid.head[number]), min_width=widths[number])
            for cells in self.grid.body:
                drawn.add_row(*(Text(cells[number]) for number in block))
            yield drawn


def _blocks(widths: Sequence[int], most: int) -> Iterator[list[int]]:
    """The columns of each block that fits `most` letters; the first column is in all of them."""
    block, used = [0], widths[0]
    for number, width in enumerate(widths[1:], 1):
        if len(block) > 1 and used + _GAP + width > most:
            yield block
            block, used = [0], widths[0]
        block, used = [*block, number], used + _GAP + width
    yield block


def latex(table: ScoreTable) -> str:
    """The tables with their notes, for booktabs and siunitx."""
    from analysis.report.latex import tabular

    name, parts = "mixed" if table.mixed else table.scores.protocol, [tabular.NEEDS]
    by = "different protocols" if table.mixed else f"the protocol {name}"
    named = "" if table.mixed else f" ({table.scores.hash})"
    kind = "Detections" if table.scores.detections else "Fills"
    grids: Sequence[tuple[TextGrid | None, str, str]] = (
        (main_grid(table), f"{kind} rated by {by}{named}.", name),
        (group_grid(table), f"{kind} rated by {by}, by the size of the hole.", f"{name}-groups"),
    )
    parts += [tabular.grid(grid, caption, label, table.notes) for grid, caption, label in grids if grid]
    return "\n".join(parts)
