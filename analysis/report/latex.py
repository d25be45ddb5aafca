"""LaTeX tables with booktabs: the main table (one row per arm; per metric ours, published, difference) and grids."""

from __future__ import annotations

import re
from collections.abc import Iterable

from analysis.report import render
from analysis.report.render import TextGrid
from analysis.report.tables import BEST, Column, Row, Table

_SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "·": r"$\cdot$",
    "●": r"$\bullet$",
    "○": r"$\circ$",
    "“": "``",
    "”": "''",
    "’": "'",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
_SPECIAL = re.compile("|".join(map(re.escape, _SIGNS)))


def escape(text: str) -> str:
    """Escape text for LaTeX and put it on one line."""
    return _SPECIAL.sub(lambda found: _SIGNS[found[0]], " ".join(text.split()))


def table(table: Table, caption: str, label: str) -> str:
    """The main table as a `table` environment, scaled down if it is wider than the text.

    Needs the packages booktabs, graphicx and (for \\textquotedbl) fontenc with T1. label: the table's `\\ref` label.
    """
    groups = [_headings(column) for column in table.columns]
    spans = " & ".join(f"\\multicolumn{{{len(names)}}}{{c}}{{{name}}}" for name, names in groups)
    rules, start = [], 3
    for _, names in groups:
        rules.append(f"\\cmidrule(lr){{{start}-{start + len(names) - 1}}}")
        start += len(names)
    heads = " & ".join(name for _, names in groups for name in names)
    notes = [*table.caption, *(f"[{number}] {note}" for number, note in enumerate(table.footnotes, start=1))]
    head = [f" & & {spans} \\\\", "".join(rules), f"Arm & Seeds & {heads} \\\\"]
    needs = "% needs \\usepackage{booktabs,graphicx} and \\usepackage[T1]{fontenc}\n"
    body = [_row(table, row) for row in table.rows]
    return needs + _floating(f"ll{'r' * (start - 3)}", head, body, notes, (caption, label))


def grid(cells: TextGrid, caption: str, label: str, notes: Iterable[str] = ()) -> str:
    """A grid as a `table` environment, names in the first column; needs the packages that `table` needs."""
    lines = [_line(map(escape, line)) for line in (cells.head, *cells.body)]
    return _floating("l" + "r" * (len(cells.head) - 1), lines[:1], lines[1:], notes, (caption, label))


def _floating(columns: str, head: list[str], body: list[str], notes: Iterable[str], named: tuple[str, str]) -> str:
    """The environment around rows of cells. columns: their alignment. named: (caption, label)."""
    caption, label = named
    lines = [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escape(caption)}}}\\label{{tab:{re.sub('[^a-z0-9-]', '-', label)}}}",
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        *head,
        "\\midrule",
        *body,
        "\\bottomrule",
        "\\end{tabular}}",
        *(f"\\par\\footnotesize\\raggedright {escape(note)}" for note in notes),
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _headings(column: Column) -> tuple[str, list[str]]:
    return escape(render.heading(column)), ["Ours", *(["Published"] if column.theirs else []), "Difference"]


def _row(table: Table, row: Row) -> str:
    cells = [escape(row.arm), escape(render.cells_done(row))]
    for column in table.columns:
        entry = row.entries[column.metric]
        ours = escape(f"{render.MARKS[entry.mark]} {render.own_text(entry, column)}".strip())
        cells.append(f"\\textbf{{{ours}}}" if entry.mark == BEST else ours)
        if column.theirs:
            notes = ", ".join(map(str, entry.notes))
            cells.append(escape(render.published_text(entry)) + (f"\\textsuperscript{{{notes}}}" if notes else ""))
        cells.append(escape(render.difference_text(entry, column, row)))
    return _line(cells)


def _line(cells: Iterable[str]) -> str:
    return "{}" + " & ".join(cells) + " \\\\"  # {}: LaTeX would read a [ or * after \\ as an option
