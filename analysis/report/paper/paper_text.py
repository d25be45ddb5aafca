"""The main tables as Markdown and for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.report import render
from analysis.report.paper.paper_table import Figure, PaperTable
from analysis.report.tables import BEST

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

_MOST_NAME = 32
"""Letters of a name before it is folded, in a terminal that is not wide."""
_GAP = 2


def markdown(table: PaperTable) -> str:
    """In GitHub's Markdown, its columns padded so that it also reads as plain text; best figures are bold."""
    body = []
    for row in table.rows:
        texts = [f"**{one.text}**" if one.mark == BEST else one.text.replace("*", r"\*") for one in row.figures]
        body.append([render.escape(row.name), *texts])
    return render.padded(list(map(render.escape, [table.corner, *table.heads])), body, 1)


@dataclass(frozen=True)
class TerminalTables:
    """The tables for a terminal; what does not fit its width stands in further blocks below, with the names again."""

    tables: Sequence[PaperTable]
    title: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        for table in self.tables:
            name = " · ".join(filter(None, [self.title, table.title]))
            if table.lead:
                yield Text(" ".join(table.lead) + "\n")
            parts = _parts(table, options.max_width)
            for number, part in enumerate(parts):
                yield _drawn(part, name if number == 0 else "", _most_name(options.max_width))
            yield Text("\n".join(table.sentences) + "\n", style="dim")


def _parts(table: PaperTable, width: int) -> list[PaperTable]:
    """The table in parts whose columns fit a width."""
    widths = [
        max(_head_width(head), *(len(row.figures[number].text) for row in table.rows), 1) + _GAP
        for number, head in enumerate(table.heads)
    ]
    names = min(_most_name(width), max(len(_line(row.name)) for row in table.rows) if table.rows else 0) + 2 * _GAP
    return table.blocks(names, widths, width)


def _head_width(head: str) -> int:
    """A heading may be broken between words."""
    return max(map(len, head.split()), default=1)


def _most_name(width: int) -> int:
    return max(_MOST_NAME, width // 4)


def _drawn(table: PaperTable, title: str, most_name: int) -> Table:
    """Names are shown literally, without interpreting markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 1))
    shown.title = Text(title, style="bold") if title else None
    shown.add_column(table.corner, overflow="fold", max_width=most_name)
    for number, head in enumerate(table.heads):
        width = max((len(row.figures[number].text) for row in table.rows), default=1)
        shown.add_column(Text(head), justify="right", min_width=width)
    spreads = [max((len(row.figures[n].spread) for row in table.rows), default=0) for n in range(len(table.heads))]
    for row in table.rows:
        name = Text(_line(row.name), style="yellow" if row.incomplete else "")
        cells = [
            Text(_aligned(figure, spread), style="bold green" if figure.mark == BEST else "")
            for figure, spread in zip(row.figures, spreads, strict=True)
        ]
        shown.add_row(name, *cells)
    return shown


def _aligned(figure: Figure, spread: int) -> str:
    """The text of a figure, with blanks in place of a ± that others of its column have."""
    if not spread or figure.signs:
        return figure.text
    blanks = spread - len(figure.spread) + (0 if figure.spread else len(" ± "))
    return figure.text + " " * blanks


def _line(name: str) -> str:
    return " ".join(name.split())
