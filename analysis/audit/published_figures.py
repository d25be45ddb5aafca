"""What the published figures of the source documents can decide: a row for each of their comparisons.

Every figure is of one training run, and no document says how much its runs differ. So no comparison can be tested; what
can be said is how small the standard deviation over seeds must be for the gap to mean something.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from analysis import wording
from analysis.audit.audit_text import TWO_RUNS
from analysis.claims import published

_BLOCK = "block="


@dataclass(frozen=True)
class PublishedComparison:
    """The figures of one metric in one table of a document."""

    document: str
    """The first three digits of its name."""
    table: str
    metric: str
    """With the split, and the block of the tables that do not say which split they are of."""
    figures: int
    """Number of figures, at all epochs."""
    variants: int
    """Number of different variants at the last epoch, each with one run."""
    gap: float | None
    """Between the best and the second at the last epoch, in the printed unit; None where nothing is compared."""

    @property
    def largest_sd(self) -> float | None:
        """The standard deviation over seeds from which on the gap is no larger than chance makes it; None: no gap."""
        return None if self.gap is None else self.gap / TWO_RUNS


def published_comparisons() -> Sequence[PublishedComparison]:
    """All published figures, each in one row."""
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = defaultdict(list)
    for row in published.read_figures():
        block = row["note"].split(";")[0].removeprefix(_BLOCK) if row["note"].startswith(_BLOCK) else ""
        of = ", ".join(part for part in (row["split"], block and f"{block} block") if part)
        groups[row["study"][:3], row["table"], f"{row['metric']}{f' ({of})' if of else ''}"].append(row)
    return [_comparison(*key, rows) for key, rows in groups.items()]


def _comparison(document: str, table: str, metric: str, rows: Sequence[dict[str, str]]) -> PublishedComparison:
    last = max((int(row["epoch"] or 0) for row in rows), default=0)
    final = {row["variant"]: float(row["value"]) for row in rows if int(row["epoch"] or 0) == last}
    sign = wording.sign(f"test/{rows[0]['metric']}")
    gap = None
    if len(final) > 1 and sign:
        best, second, *_ = sorted((sign * value for value in final.values()), reverse=True)
        gap = best - second
    return PublishedComparison(document, table, metric, len(rows), len(final), gap)
