"""The table as LaTeX with booktabs: an arm a row, for each metric ours, published and difference."""

from __future__ import annotations

import re

from analysis import render
from analysis.tables import BEST, Column, Row, Table

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
    """Text that LaTeX shows as it is, on one line."""
    return _SPECIAL.sub(lambda found: _SIGNS[found[0]], " ".join(text.split()))


def table(table: Table, caption: str, label: str) -> str:
    """A `table` environment that needs the packages booktabs, graphicx and (for \\textquotedbl) fontenc with T1.

    It is scaled down to the width of the text where it is wider. label: what `\\ref` finds it by.
    """
    groups = [_headings(column) for column in table.columns]
    spans = " & ".join(f"\\multicolumn{{{len(names)}}}{{c}}{{{name}}}" for name, names in groups)
    rules, start = [], 3
    for _, names in groups:
        rules.append(f"\\cmidrule(lr){{{start}-{start + len(names) - 1}}}")
        start += len(names)
    heads = " & ".join(name for _, names in groups for name in names)
    notes = [*table.caption, *(f"[{number}] {note}" for number, note in enumerate(table.footnotes, start=1))]
    lines = [
        "% needs \\usepackage{booktabs,graphicx} and \\usepackage[T1]{fontenc}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escape(caption)}}}\\label{{tab:{re.sub('[^a-z0-9-]', '-', label)}}}",
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"\\begin{{tabular}}{{ll{'r' * (start - 3)}}}",
        "\\toprule",
        f" & & {spans} \\\\",
        "".join(rules),
        f"Arm & Seeds & {heads} \\\\",
        "\\midrule",
        *(_row(table, row) for row in table.rows),
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
        ours = escape(f"{render.MARKS[entry.mark]} {render.ours(entry, column)}".strip())
        cells.append(f"\\textbf{{{ours}}}" if entry.mark == BEST else ours)
        if column.theirs:
            notes = ", ".join(map(str, entry.notes))
            cells.append(escape(render.theirs(entry)) + (f"\\textsuperscript{{{notes}}}" if notes else ""))
        cells.append(escape(render.difference(entry, column, row)))
    return "{}" + " & ".join(cells) + " \\\\"  # {}: after a line's end, LaTeX reads [ and * as its options
