"""LaTeX tables with booktabs and siunitx, at the size at which they are set: nothing is scaled.

A table that is wider than the text of LaTeX's `article`, the narrowest of the usual ones, is set as blocks of columns
below each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analysis.report import render
from analysis.report.latex.latex_text import UNICODE, breakable, escape, width, wrapped
from analysis.report.paper.paper_table import Figure, PaperRow, PaperTable
from analysis.report.render import TextGrid
from analysis.report.tables import BEST, TIED

NEEDS = f"% needs \\usepackage{{booktabs,siunitx}} and \\usepackage[T1]{{fontenc}}\n{UNICODE}\n"
"""First lines of a file of tables."""
_TEXT = 37.5
"""Width of the text in em of \\small: 345 pt of `article` at 10 pt are 38.3 em; the rest is for what is estimated."""
_NAMES = 12.0
"""Largest width of the names before their lines are broken, in em."""
_LONG_WORD = 30
"""Letters of a word in the notes from which on it may be broken."""
_GAP = 0.9
"""Width between two columns, in em."""
_BOLD = 0.55
"""About the width of a digit, by which bold figures may be wider."""
_THOUSANDS = "group-digits=integer,group-minimum-digits=5,group-separator={,}"
"""The separators of `wording.fixed`."""
_NUMBER = re.compile(r"[+−-]?\d+(\.\d+)?")


def paper(table: PaperTable, caption: str, label: str) -> str:
    """A main table as a `table` environment. caption: of the file. label: the table's `\\ref` label."""
    columns = [_column(table, number) for number in range(len(table.heads))]
    names = min(_NAMES, max((width(row.name) for row in table.rows), default=0.0))
    blocks = table.blocks(names, [column.width + _GAP for column in columns], _TEXT)
    lines = [
        "\\begin{table}",
        "\\centering\\small\\setlength{\\tabcolsep}{4pt}\\setlength{\\belowcaptionskip}{5pt}",
        f"\\sisetup{{separate-uncertainty=true,detect-weight=true,retain-explicit-plus=true,{_THOUSANDS}}}",
        f"\\caption{{{escape(caption)}}}\\label{{tab:{re.sub('[^a-z0-9-]', '-', label)}}}",
    ]
    if table.lead:
        lines.append(f"{{\\footnotesize\\raggedright {breakable(' '.join(table.lead), _LONG_WORD)}\\par}}\\smallskip")
    start = 0
    for number, block in enumerate(blocks):
        shown = columns[start : start + len(block.heads)]
        start += len(block.heads)
        lines += [*(["\\par\\medskip"] if number else []), *_tabular(block, shown, names)]
    if table.sentences:
        lines.append("\\par\\smallskip")
        lines.append(
            f"{{\\footnotesize\\raggedright {breakable(' '.join(map(_sentence, table.sentences)), _LONG_WORD)}\\par}}"
        )
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def _sentence(text: str) -> str:
    """A note on a table in which bold type marks the best figures."""
    return text.replace("● ", "Bold: ", 1) if text.startswith("● ") else text


def grid(cells: TextGrid, caption: str, label: str, notes: Iterable[str] = ()) -> str:
    """A grid as a `table` environment, names in the first column."""
    rows = [PaperRow(name, [Figure(text) for text in texts]) for name, *texts in cells.body]
    corner, *heads = cells.head
    return paper(PaperTable("", corner, heads, rows, list(notes)), caption, label)


# --- columns ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    """How the figures of a column are set."""

    spec: str
    """Of the tabular."""
    width: float
    """In em, with its heading."""
    number: bool
    """Whether siunitx sets it, so that other texts need braces."""
    two: bool
    """Whether intervals are set in a column of their own."""


def _column(table: PaperTable, number: int) -> _Column:
    figures = [row.figures[number] for row in table.rows]
    numeric = not table.transposed and all(not one.mean or _is_number(one) for one in figures)
    two = numeric and any(one.bounds for one in figures)
    texts = [one.number if one.bounds and not two else _plain(one) for one in figures]
    wide = max((width(text) for text in texts), default=1.0)
    wide += _BOLD * any(one.mark == BEST for one in figures) + _GAP * any(
        one.signs or one.mark == TIED for one in figures
    )
    bounds = max((width(one.bounds) for one in figures), default=0.0) if two else 0.0
    head = max(map(width, wrapped(table.heads[number], wide + bounds)), default=0.0)
    spec = f"S[table-format={_format(figures)}]" if numeric else "r"
    return _Column(spec + ("@{\\,}l" if two else ""), max(wide + bounds, head), numeric, two)


def _is_number(figure: Figure) -> bool:
    """Whether siunitx can set a figure: a number without footnotes."""
    return _NUMBER.fullmatch(_ungrouped(figure.mean)) is not None and not any(map(str.isdigit, figure.signs))


def _ungrouped(number: str) -> str:
    """A number without separators of thousands: siunitx groups the digits itself."""
    return number.replace(",", "")


def _plain(figure: Figure) -> str:
    return figure.mean + (f" ± {figure.spread}" if figure.spread else "")


def _format(figures: Sequence[Figure]) -> str:
    """siunitx's format: digits before and after the point, and those of the uncertainty."""
    known = [one for one in figures if one.mean]
    sign = "+" if any(one.mean[0] in "+−-" for one in known) else ""
    whole = max((len(_ungrouped(one.mean).strip("+−-").partition(".")[0]) for one in known), default=1)
    digits = max((len(one.mean.partition(".")[2]) for one in known), default=0)
    half = max(
        (len(_ungrouped(one.spread).replace(".", "").lstrip("0")) or 1 for one in known if one.spread), default=0
    )
    return f"{sign}{whole}.{digits}" + (f"({half})" if half else "")


# --- lines ------------------------------------------------------------------------------------------------------------


def _tabular(table: PaperTable, columns: Sequence[_Column], names: float) -> list[str]:
    wide = any(width(row.name) > names for row in table.rows) or width(table.corner) > names
    first = f">{{\\raggedright\\arraybackslash}}p{{{names:.1f}em}}" if wide else "l"
    heads = [_heading(head, column) for head, column in zip(table.heads, columns, strict=True)]
    return [
        f"\\begin{{tabular}}{{@{{}}{first}{''.join(column.spec for column in columns)}@{{}}}}",
        "\\toprule",
        _line([breakable(table.corner), *heads]),
        "\\midrule",
        *(_line([breakable(row.name), *map(_cell, row.figures, columns)]) for row in table.rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]


def _heading(text: str, column: _Column) -> str:
    lines = [escape(line) for line in wrapped(text, column.width)]
    made = lines[0] if len(lines) == 1 else "\\shortstack[r]{" + " \\\\ ".join(lines) + "}"
    return f"\\multicolumn{{2}}{{r}}{{{made}}}" if column.two else f"{{{made}}}"


def _cell(figure: Figure, column: _Column) -> str:
    marks = {TIED: "\\rlap{$^{\\circ}$}"}.get(figure.mark, "")
    signs = "".join("*" if sign == "*" else escape(sign) for sign in figure.signs if not sign.isdigit())
    numbers = ", ".join(sign for sign in figure.signs if sign.isdigit())
    after = marks + signs + (f"\\textsuperscript{{{numbers}}}" if numbers else "")
    if not figure.mean:
        empty = escape(render.NOTHING)
        return f"{{{empty}}} &" if column.two else f"{{{empty}}}" if column.number else empty
    bold = "\\bfseries " if figure.mark == BEST else ""
    if not column.number:
        text = escape(figure.number if figure.bounds else _plain(figure))
        return (f"\\textbf{{{text}}}" if bold else text) + after
    number = _ungrouped(_plain(figure)).replace("−", "-").replace("±", "\\pm")
    if column.two:
        return f"{bold}{number} & {escape(figure.bounds)}{after}"
    return f"{bold}{number}" + (f" {{{after}}}" if after else "")


def _line(cells: Iterable[str]) -> str:
    return "{}" + " & ".join(cells) + " \\\\"  # {}: LaTeX would read a [ or * after \\ as an option
