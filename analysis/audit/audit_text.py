"""An audit as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis import wording
from analysis.audit.audit import POWER, Audit, Pair

if TYPE_CHECKING:
    import rich.console

    from analysis.statistics.intervals import Interval

_GROUPS = 6
_PAIRS = 15
"""Groups and pairs that the text has; all are in the JSON."""
TWO_RUNS = 2.77
"""Two single runs with equal true values and a standard deviation of s differ by less than 2.77 s in 95 % of cases."""


def _digits(audit: Audit) -> int:
    return max(0, wording.decimals(method.mean for method in audit.methods))


def terminal(audit: Audit) -> rich.console.Group:
    """Tables and sentences that rich can print."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = [_ranking(audit)]
    if audit.tested:
        parts.append(_pairs(audit))
    return Group(*parts, *(Text(sentence) for sentence in sentences(audit)))


def _ranking(audit: Audit) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    digits = _digits(audit)
    heads = ["method", "n", f"{audit.table.metric}, 95 % interval", "rank"]
    heads += ["first in resamples"] if audit.same_order is not None else []
    table = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for method in audit.methods:
        value = _with_half_width(f"{method.mean.mean:.{digits}f}", method.mean, digits)
        rank = f"{method.best_rank}" + (f" to {method.worst_rank}" if method.worst_rank > method.best_rank else "")
        cells: list[Any] = [Text(method.name), f"{method.mean.n:,}", value, rank if audit.tested else "-"]
        table.add_row(*cells, *([f"{method.first:.0%}"] if method.first is not None else []))
    return table


def _pairs(audit: Audit) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    digits, unit = _digits(audit), audit.table.unit
    heads = ("better", "worse", "difference", "p (Holm)", "smallest", f"{unit}s needed", "correlation")
    table = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for pair in audit.pairs[:_PAIRS]:
        style = "bold" if pair.decided else ""
        difference = _with_half_width(f"{pair.difference.mean:+.{digits}f}", pair.difference, digits)
        cells = (Text(pair.better), Text(pair.worse), difference, _p(pair))
        power = (_or_dash(pair.smallest, digits), _needed(pair))
        table.add_row(*cells, *power, _or_dash(pair.correlation, 2), style=style)
    return table


def _with_half_width(mean: str, interval: Interval, digits: int) -> str:
    half = interval.half_width
    return mean if half is None else f"{mean} ± {half:.{digits}f}"


def _p(pair: Pair) -> str:
    if pair.adjusted_p is None:
        return "-"
    return "< 0.001" if pair.adjusted_p < 0.001 else f"{pair.adjusted_p:.3f}"


def _or_dash(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _needed(pair: Pair) -> str:
    if pair.adjusted_p is None or pair.difference.mean == 0:
        return "-"
    return "more than 10,000" if pair.needed is None else f"{pair.needed:,}"


def sentences(audit: Audit) -> list[str]:
    """What the table decides, what it leaves open, and what would decide it."""
    table, found = audit.table, []
    if not audit.tested:
        return _of_single_values(audit)
    decided, pairs = sum(pair.decided for pair in audit.pairs), len(audit.pairs)
    higher = "higher" if audit.goal == "max" else "lower"
    test = f"sign-flip test, paired by {table.unit}, corrected for all pairs by Holm; {higher} is better"
    differ = "differs" if decided == 1 else "differ"
    found.append(f"{decided} of {wording.count(pairs, 'pair')} {differ} beyond chance ({test}).")
    if pairs > _PAIRS:
        found.append(f"{pairs - _PAIRS} more pairs are in the output of --json.")
    found += [f"These {len(group)} cannot be told apart: {', '.join(group)}." for group in audit.ties[:_GROUPS]]
    if len(audit.ties) > _GROUPS:
        found.append(f"{len(audit.ties) - _GROUPS} more such groups are in the output of --json.")
    if audit.same_order is not None and audit.tau is not None:
        words = f"Resampling the {table.unit}s keeps the whole order in {audit.same_order:.0%} of 2,000 resamples"
        found.append(f"{words}; the rank correlation with it is {audit.tau:.2f} on average (Kendall).")
    if decided < pairs and min(method.mean.n for method in audit.methods) < _least(audit):
        few = (
            f"With fewer than {_least(audit)} {table.unit}s, this test of {wording.count(pairs, 'pair')} cannot decide"
        )
        found.append(f"{few}, however large a difference is.")
    found.append(
        f"'smallest' and '{table.unit}s needed': the true difference that this table would show with {POWER:.0%} "
        f"probability, and how many {table.unit}s would show the measured one."
    )
    return found


def _least(audit: Audit) -> int:
    from analysis.statistics import significance

    return significance.seeds_needed(sum(pair.adjusted_p is not None for pair in audit.pairs))


def _of_single_values(audit: Audit) -> list[str]:
    unit, digits = audit.table.unit, _digits(audit)
    best, second = audit.methods[:2]
    gap = abs(best.mean.mean - second.mean.mean)
    many = max(method.mean.n for method in audit.methods)
    why = "one value for each method (n = 1)" if many == 1 else f"no two methods with values of the same {unit}s"
    return [
        f"Nothing is tested: there is {why}, so nothing tells a difference between methods from one between {unit}s.",
        f"What can be said: {best.name} is {gap:.{digits}f} ahead of {second.name}. Two single runs that differ by "
        f"chance alone are up to {TWO_RUNS} standard deviations apart in 95 % of cases, so that this gap would mean "
        f"something only if the standard deviation over {unit}s were below {gap / TWO_RUNS:.{digits}f}.",
        f"Measure it: at least {_seeds_for_all(audit)} {unit}s of every method, the same ones for all.",
    ]


def _seeds_for_all(audit: Audit) -> int:
    from analysis.statistics import significance

    return significance.seeds_needed(len(audit.pairs))
