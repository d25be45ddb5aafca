"""Tables as text: formats of single cells, and whole tables for a terminal, as Markdown and as CSV."""

from __future__ import annotations

import re
from dataclasses import dataclass

from analysis import csv_text, wording
from analysis.report.sections.by_epoch_and_mask import ColumnTable
from analysis.report.sections.by_hole_size import ShareTable
from analysis.report.sections.images import DisputedImages
from analysis.report.sections.pareto import Pareto, ParetoPoint
from analysis.report.sections.pareto import label as cost_label
from analysis.report.tables import BEST, Column, Row, Table, TableEntry
from analysis.statistics.intervals import Interval
from analysis.statistics.rank_agreement import Agreement
from sweeps.results.columns import on_protocol
from sweeps.results.progress import DAMAGED, STATES


@dataclass(frozen=True)
class TextGrid:
    """A table of unescaped plain text."""

    head: list[str]
    body: list[list[str]]
    """Rows; the first cell of each is a name."""


MARKS = {BEST: "●", "tied": "○", "": ""}
NOTHING = "–"
_ARROWS = {"max": "↑", "min": "↓", "": ""}


def heading(column: Column) -> str:
    return metric_heading(column.metric)


def metric_heading(metric: str) -> str:
    """'test PSNR (dB) ↑'; the arrow shows which direction is better."""
    unit = wording.unit(metric)
    parts = [wording.label(metric), f"({unit})" if unit else "", _ARROWS[wording.better(metric)]]
    return " ".join(part for part in parts if part)


def mean_text(found: Interval | None, digits: int) -> str:
    """'27.31 ± 0.12 (n=8)'."""
    if found is None:
        return NOTHING
    return f"{wording.plus_minus(found, digits)} ({_evidence(found)})"


def _evidence(found: Interval) -> str:
    """'n=8', 'exact', or 'one evaluation' of a value that depends on the test photographs, but not on the seed."""
    if not found.exact:
        return f"n={found.n}"
    return "one evaluation" if found.photographs else "exact"


def correlation_text(value: float | None) -> str:
    """'+0.87'."""
    return NOTHING if value is None else wording.fixed(value, 2, plus=True)


def cells_done(row: Row) -> str:
    """'8 of 8', '6 of 8, 1 failed, 1 running', or '1 for all' if one evaluation serves all seeds."""
    total = sum(row.states.values())
    if not total:
        return "search not finished" if row.waits else "search without a result"
    if row.exact and row.states["done"] == total:
        return "1 for all"
    others = [
        f"{row.states[s]} {s}" for s in ("failed", "running", "interrupted", "damaged", "queued") if row.states[s]
    ]
    return ", ".join([f"{row.states['done']} of {total}", *others])


def published_text(entry: TableEntry) -> str:
    """The published values, converted: '0.0005', or '0.0005 / 0.0006' if a document prints two."""
    return " / ".join(figure.text for figure in entry.published) or NOTHING


def incomplete(row: Row) -> bool:
    """Whether the arm lacks a result for a seed."""
    return row.states["done"] < sum(row.states.values()) or not row.states


# --- Markdown ---------------------------------------------------------------------------------------------------------


def escape(text: str) -> str:
    """Escape text for Markdown and put it on one line; characters without a meaning in their place are kept."""
    line = " ".join(text.split())
    line = re.sub(r"&(?=#?\w+;)", "&amp;", line).replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*|~$])", r"\\\1", line)
    line = re.sub(r"\](?=[(\[:])", r"\\]", line)
    line = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", line)
    return re.sub(r"^(?=[#+\-=\[])", r"\\", line)


def padded(head: list[str], body: list[list[str]], texts: int) -> str:
    """Cells as a padded Markdown table; the first `texts` columns are aligned to the left, the others to the right."""
    widths = [max(3, *map(len, cells)) for cells in zip(head, *body, strict=True)]
    rule = ["-" * width if number < texts else "-" * (width - 1) + ":" for number, width in enumerate(widths)]
    return "\n".join("| " + " | ".join(_pad(cells, widths, texts)) + " |" for cells in (head, rule, *body))


def _pad(cells: list[str], widths: list[int], texts: int) -> list[str]:
    return [
        text.ljust(width) if number < texts else text.rjust(width)
        for number, (text, width) in enumerate(zip(cells, widths, strict=True))
    ]


def shares_markdown(table: ShareTable) -> str:
    """One metric by hole fraction."""
    head = [" ".join(filter(None, [metric_heading(table.metric), "by hole fraction"])), *table.shares]
    images = ["test images", *table.images]
    body = [[escape(name), *(mean_text(found, table.digits) for found in row)] for name, row in table.rows.items()]
    return padded(head, [images, *body], 1)


def column_grid(table: ColumnTable) -> TextGrid:
    """One metric in several columns, with published values in square brackets."""
    body = [[name, *(with_published(*cell, table.digits) for cell in row)] for name, row in table.rows.items()]
    return TextGrid([metric_heading(table.metric), *table.headings], body)


def grid_markdown(grid: TextGrid) -> str:
    """A grid as a Markdown table, padded so that it also reads as plain text."""
    return padded(list(map(escape, grid.head)), [list(map(escape, line)) for line in grid.body], 1)


def with_published(ours: Interval | None, theirs: str, digits: int) -> str:
    """'27.31 ± 0.12 (n=8) [19.09]', with the published value in square brackets."""
    return mean_text(ours, digits) + (f" [{theirs}]" if theirs else "")


def pareto_markdown(found: Pareto) -> str:
    """Arms, best first, with their quality and costs; a star marks the Pareto front."""
    head = ["", metric_heading(found.quality), *map(cost_label, found.costs)]
    body = [
        [
            escape(point.arm),
            mean_text(point.quality, found.digits),
            *(front_cell(found, point, cost) for cost in found.costs),
        ]
        for point in found.points
    ]
    return padded(head, body, 1)


def front_cell(found: Pareto, point: ParetoPoint, cost: str) -> str:
    """'12.4 ± 0.3 *': a cost of an arm, with a star if the arm is on the front of that cost."""
    spent = point.cost.get(cost)
    if spent is None:
        return NOTHING
    text = f"{spent.mean:,.0f}" if spent.exact else wording.plus_minus(spent, found.cost_digits(cost))
    return text + (" *" if cost in point.front else "")


def disputed_markdown(found: DisputedImages) -> str:
    """PSNR in the hole of each disputed image, one column each, and its standard deviation over arms."""
    body = [[escape(name), *(wording.fixed(value, 1) for value in row)] for name, row in found.rows.items()]
    body.append(["standard deviation", *(wording.fixed(value, 1) for value in found.spread)])
    return padded(["PSNR hole (dB)", *(f"image {number}" for number in found.images)], body, 1)


def agreement_markdown(found: Agreement) -> str:
    """The triangle of rank correlations; columns have the numbers of the rows."""
    if not found.metrics:
        return ""
    count = len(found.metrics)
    head = ["metric", *(str(number) for number in range(1, count + 1))]
    body = [
        [f"{number}. {escape(wording.label(metric))}", *map(correlation_text, row), *[""] * (count - number)]
        for number, (metric, row) in enumerate(zip(found.metrics, found.tau, strict=True), 1)
    ]
    return padded(head, body, 1)


# --- CSV --------------------------------------------------------------------------------------------------------------

PHOTOGRAPHS = "photographs"
CSV_COLUMNS = (
    *("arm", "metric", "unit", "better", "trains", "n", "mean", "sd", "low", "high", "mark"),
    *("difference", "difference_low", "difference_high", "difference_n"),
    *("p", "p_adjusted", "effect_size", "probability_of_improvement", "published", "published_notes"),
    *(state for state in STATES if state != DAMAGED),
)
_PROTOCOL = ("protocol", "protocol_hash")


def to_csv(table: Table) -> str:
    """The table in long form, a row per arm and metric; numbers in full precision, empty where unknown."""
    return csv_text.to_csv([csv_columns(table), *csv_rows(table)])


def csv_columns(table: Table) -> tuple[str, ...]:
    """`CSV_COLUMNS`, photographs that intervals cover and damaged cells if there are any, and the protocol."""
    further = (name for name in (PHOTOGRAPHS, DAMAGED) if any(_further(cell, name) for cell in _cells(table)))
    return (*CSV_COLUMNS, *further, *(_PROTOCOL if table.protocol else ()))


def csv_rows(table: Table) -> list[list[object]]:
    """The table in long form: values of `csv_columns` for each arm and metric; None where unknown."""
    further = [name for name in csv_columns(table)[len(CSV_COLUMNS) :] if name not in _PROTOCOL]
    return [
        [*_csv_row(*cell), *(_further(cell, name) for name in further), *_csv_protocol(table, cell[1])]
        for cell in _cells(table)
    ]


def _cells(table: Table) -> list[tuple[Row, Column]]:
    return [(row, column) for row in table.rows for column in table.columns]


def _further(cell: tuple[Row, Column], name: str) -> int:
    row, column = cell
    ours = row.entries[column.metric].ours
    return row.states[DAMAGED] if name == DAMAGED else ours.photographs if ours else 0


def _csv_protocol(table: Table, column: Column) -> list[object]:
    """Name and hash of the protocol that rated a column; None for the study's own test images."""
    if not table.protocol:
        return []
    return [table.protocol[key] if on_protocol(column.metric) else None for key in ("name", "hash")]


def _csv_row(row: Row, column: Column) -> list[object]:
    entry = row.entries[column.metric]
    mine, gap, test = entry.ours, entry.difference, entry.comparison
    return [
        row.arm,
        column.metric,
        wording.unit(column.metric),
        wording.better(column.metric),
        row.trains,
        *((mine.n, mine.mean, mine.sd, mine.low, mine.high) if mine else (0, None, None, None, None)),
        entry.mark,
        *((gap.mean, gap.low, gap.high, gap.n) if gap else (None, None, None, None)),
        *((test.p, test.adjusted_p, test.effect, test.improvement) if test else (None, None, None, None)),
        " / ".join(f"{figure.value:.10g}" for figure in entry.published),
        entry.published_notes,
        *(row.states[state] for state in STATES if state != DAMAGED),
    ]
