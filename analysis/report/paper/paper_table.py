"""The main tables as a paper prints them: arms in rows, metrics in columns; results first, then differences.

This is the one model of which HTML, Markdown, LaTeX and the terminal are renderings; nothing is computed after it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from analysis import wording
from analysis.report import render
from analysis.report.tables import Column, Row, Table, TableEntry
from analysis.statistics.intervals import Interval
from analysis.statistics.significance import Comparison

UNDERPOWERED, DIFFERS = "†", "*"
EFFECTS, RESULTS, DIFFERENCES = "Effects", "Results", "Differences"
PUBLISHED = "published"
"""Heading of the values that were published for the metric before."""
_MOST_NAMED = 4
"""So many arms are named in a sentence on their numbers of seeds; more are counted."""


@dataclass(frozen=True)
class Figure:
    """One cell, as the parts of a number."""

    mean: str = ""
    """'27.31'; with a plus sign if it is a difference. Empty if there is no number."""
    spread: str = ""
    """What follows the ±; empty if there is no interval."""
    bounds: str = ""
    """'[+0.98, +1.42]' of a difference; empty if there is no interval."""
    mark: str = ""
    """`tables.BEST`, `tables.TIED` or ''."""
    signs: tuple[str, ...] = ()
    """Numbers of footnotes, or `DIFFERS` or `UNDERPOWERED`."""
    hint: str = ""
    """More about the test of a difference, for formats that can show it on request."""
    value: float | None = None
    """The number itself, for formats that sort by it; None if there is none."""

    @property
    def number(self) -> str:
        """'27.31 ± 0.12', '+1.20 [+0.98, +1.42]', '–'."""
        return " ".join(filter(None, [self.mean or render.NOTHING, self.spread and f"± {self.spread}", self.bounds]))

    @property
    def text(self) -> str:
        """'● 27.31 ± 0.12', '0.0005 [1] [2]', '+1.20 [+0.98, +1.42] *'."""
        signs = (f"[{sign}]" if sign.isdigit() else sign for sign in self.signs)
        return " ".join(filter(None, [render.MARKS[self.mark], self.number, *signs]))


@dataclass(frozen=True)
class PaperRow:
    """One arm, or one metric if the table is transposed."""

    name: str
    figures: list[Figure]
    aside: str = ""
    """What the arm is, or which of its cells are missing."""
    incomplete: bool = False
    """Whether cells are missing."""


@dataclass(frozen=True)
class PaperTable:
    """A table of figures under plain-text headings."""

    title: str
    corner: str
    """Heading of the names."""
    heads: list[str]
    rows: list[PaperRow]
    notes: list[str]
    """Sentences for below the table; footnotes are not among them."""
    footnotes: Sequence[str] = ()
    """Numbered from 1."""
    transposed: bool = False
    lead: Sequence[str] = ()
    """Sentences for above the table."""

    @property
    def heading(self) -> str:
        """The title as a heading on a page."""
        return self.title + {DIFFERENCES: " from the baseline", EFFECTS: " of the factors"}.get(self.title, "")

    @property
    def sentences(self) -> list[str]:
        """Notes, then footnotes with their numbers."""
        return [*self.notes, *(f"[{number}] {note}" for number, note in enumerate(self.footnotes, 1))]

    def grid(self) -> render.TextGrid:
        """The table as plain text."""
        body = [[row.name, *(figure.text for figure in row.figures)] for row in self.rows]
        return render.TextGrid([self.corner, *self.heads], body)

    def blocks(self, names: float, widths: Sequence[float], limit: float) -> list[PaperTable]:
        """The table in blocks of columns that fit a limit; a metric and its published values are not separated.

        names: width of the names, which every block has. widths: that of each column.
        """
        starts = [number for number, head in enumerate(self.heads) if head != PUBLISHED]
        cuts: list[int] = []
        used = limit
        for start, end in zip(starts, [*starts[1:], len(self.heads)], strict=True):
            needed = sum(widths[start:end])
            if used + needed > limit:
                cuts.append(start)
                used = names
            used += needed
        return [self._columns(slice(a, b)) for a, b in zip(cuts, [*cuts[1:], len(self.heads)], strict=True)]

    def _columns(self, chosen: slice) -> PaperTable:
        rows = [replace(row, figures=row.figures[chosen]) for row in self.rows]
        return replace(self, heads=self.heads[chosen], rows=rows)


def paper_tables(table: Table, first: PaperTable | None = None) -> list[PaperTable]:
    """The results, then the differences from the baseline if there are any.

    first: the effects of factors, which precede them.
    """
    made = [*([first] if first else []), results(table)]
    if any(entry.difference for row in table.rows for entry in row.entries.values()):
        made.append(differences(table))
    return [_transposed(one) for one in made] if table.shape.transpose else made


def results(table: Table) -> PaperTable:
    """Our results, each with the published values beside it if there are any for its metric."""
    heads: list[str] = []
    digits = {column.metric: _digits(table, column) for column in table.columns}
    rows = [PaperRow(row.arm, [], _aside(row), render.incomplete(row)) for row in table.rows]
    for column in table.columns:
        heads += [render.heading(column), *([PUBLISHED] if column.theirs else [])]
        for row, made in zip(table.rows, rows, strict=True):
            entry = row.entries[column.metric]
            made.figures.append(_own(entry, digits[column.metric], table.shape.sd))
            if column.theirs:
                made.figures.append(_published(entry))
    first, *others = table.on_results
    notes = [first, *_numbers_of_seeds(table), *others]
    return PaperTable(RESULTS, "arm", heads, rows, notes, table.footnotes, lead=table.lead)


def differences(table: Table) -> PaperTable:
    """The arms minus their baselines, without the rows of the baselines."""
    tests = [entry.comparison for row in table.rows for entry in row.entries.values() if entry.comparison]
    mixed = not all(test.underpowered for test in tests)
    rows = [
        PaperRow(
            row.arm,
            [_difference(row.entries[column.metric], column.difference_digits, mixed) for column in table.columns],
        )
        for row in table.rows
        if not row.baseline
    ]
    heads = [render.heading(column) for column in table.columns]
    first, *others = table.on_differences
    return PaperTable(DIFFERENCES, "arm", heads, rows, [first, *_numbers_of_pairs(table), *others])


def _transposed(table: PaperTable) -> PaperTable:
    """Metrics in rows, arms in columns. A row of published values is named after its metric."""
    names, last = [], ""
    for head in table.heads:
        last = last if head == PUBLISHED else head
        names.append(f"{last}, {PUBLISHED}" if head == PUBLISHED else head)
    rows = [PaperRow(name, [row.figures[number] for row in table.rows]) for number, name in enumerate(names)]
    return replace(table, corner="metric", heads=[row.name for row in table.rows], rows=rows, transposed=True)


# --- cells ------------------------------------------------------------------------------------------------------------


def _own(entry: TableEntry, digits: int, sd: bool) -> Figure:
    if entry.ours is None:
        return Figure()
    half = _shown(entry.ours, sd).half_width
    spread = "" if half is None else wording.fixed(half, digits)
    return Figure(wording.fixed(entry.ours.mean, digits), spread, mark=entry.mark, value=entry.ours.mean)


def _digits(table: Table, column: Column) -> int:
    entries = [row.entries[column.metric].ours for row in table.rows]
    return wording.decimals(None if one is None else _shown(one, table.shape.sd) for one in entries)


def _shown(interval: Interval, sd: bool) -> Interval:
    """The interval whose half-width follows the ±."""
    if not sd or interval.sd is None:
        return interval
    return replace(interval, low=interval.mean - interval.sd, high=interval.mean + interval.sd)


def _published(entry: TableEntry) -> Figure:
    if not entry.published:
        return Figure()
    signs = tuple(map(str, entry.notes))
    return Figure(render.published_text(entry), signs=signs, value=entry.published[0].value)


def _difference(entry: TableEntry, digits: int, mixed: bool) -> Figure:
    return difference_figure(entry.difference, entry.comparison, digits, mixed)


def difference_figure(gap: Interval | None, test: Comparison | None, digits: int, mixed: bool) -> Figure:
    """A difference with its interval and the sign of its test.

    mixed: whether only some tests of the table are underpowered, so that these are marked.
    """
    if gap is None:
        return Figure()
    sign = ""
    if test is not None:
        sign = (UNDERPOWERED if mixed else "") if test.underpowered else DIFFERS if test.differs else ""
    return Figure(
        wording.fixed(gap.mean, digits, plus=True),
        bounds=wording.brackets(gap, digits, plus=True),
        signs=(sign,) if sign else (),
        hint=_hint(test) if test else "",
        value=gap.mean,
    )


def _hint(test: Comparison) -> str:
    effect = "undefined" if test.effect is None else f"{test.effect:.2f}"
    method = "t test" if test.photographs else "sign-flip"
    return (
        f"{method} p {test.p:.2g}, {test.adjusted_p:.2g} adjusted for {test.family} comparisons; "
        f"better in {100 * test.improvement:.0f} % of pairs; Hedges’ g {effect}"
    )


# --- sentences --------------------------------------------------------------------------------------------------------


def _aside(row: Row) -> str:
    return ", ".join(filter(None, [row.kind, render.cells_done(row) if render.incomplete(row) else ""]))


def _numbers_of_seeds(table: Table) -> list[str]:
    """'n = 8; n = 6 for “net” (6 of 8, 1 failed, 1 running).', and the arms that have no result."""
    numbers: dict[tuple[str, str], int] = {}
    asides: dict[str, str] = {}
    for row in table.rows:
        for metric, entry in row.entries.items():
            if entry.ours is not None and not entry.ours.exact:
                numbers[row.arm, metric] = entry.ours.n
        if render.incomplete(row):
            asides[row.arm] = render.cells_done(row)
    words = _numbers(numbers, "n", asides)
    told = {arm for arm, _ in numbers}
    none = [f"{wording.quoted(arm)} ({aside})" for arm, aside in asides.items() if arm not in told]
    return [*words, *([f"Without a result: {wording.listing(none)}."] if none else [])]


def _numbers_of_pairs(table: Table) -> list[str]:
    numbers = {
        (row.arm, metric): entry.difference.n
        for row in table.rows
        for metric, entry in row.entries.items()
        if entry.difference is not None and not entry.difference.exact
    }
    return _numbers(numbers, "n", {})


def _numbers(numbers: dict[tuple[str, str], int], sign: str, asides: dict[str, str]) -> list[str]:
    """One sentence on how many seeds or pairs stand behind the figures: the usual number, then the exceptions.

    numbers: by arm and metric. asides: what to say of an arm in brackets.
    """
    if not numbers:
        return []
    usual = Counter(numbers.values()).most_common(1)[0][0]
    groups: dict[tuple[int, str], list[str]] = {}
    for arm in dict.fromkeys(arm for arm, _ in numbers):
        of_arm = {metric: n for (name, metric), n in numbers.items() if name == arm}
        alike = len(set(of_arm.values())) == 1
        for metric, n in of_arm.items():
            if n != usual:
                groups.setdefault((n, "" if alike else f" in {wording.label(metric)}"), []).append(arm)
        if alike and usual in of_arm.values() and arm in asides:
            groups.setdefault((usual, ""), []).append(arm)
    parts = [f"{sign} = {usual}"]
    for (n, where), arms in groups.items():
        parts.append(f"{sign} = {n}{where} for {_named(dict.fromkeys(arms), asides)}")
    return [f"{'; '.join(parts)}."]


def _named(arms: Iterable[str], asides: dict[str, str]) -> str:
    names = [wording.quoted(arm) + (f" ({asides[arm]})" if arm in asides else "") for arm in arms]
    if len(names) > _MOST_NAMED:
        return f"{wording.listing([*names[: _MOST_NAMED - 1], f'{len(names) - _MOST_NAMED + 1} others'])}"
    return wording.listing(names)
