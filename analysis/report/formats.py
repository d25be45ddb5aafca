"""Writes a report as HTML, Markdown, LaTeX, CSV and Parquet, its figures as SVG and PDF, and for a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.claims import judge as claims
from analysis.report import figures, render
from analysis.report.content import Report
from analysis.report.latex import tabular
from analysis.report.page import html, markdown
from analysis.report.paper import captions
from analysis.report.paper.paper_text import TerminalTables
from analysis.report.sections import by_epoch_and_mask, details, pareto, robustness, threshold_curves
from analysis.statistics import factors
from sweeps.errors import SweepError
from sweeps.results.columns import on_protocol
from sweeps.store.base import Store

if TYPE_CHECKING:
    from rich.console import Group


__all__ = ["FORMATS", "csv", "files", "html", "markdown", "parquet", "publish", "terminal", "tex", "write"]


def csv(report: Report) -> str:
    """The table in long form, with numbers in full precision."""
    return render.to_csv(report.table)


def tex(report: Report) -> str:
    """Tables for a paper, with booktabs and siunitx: the main ones, by epoch, by test set, by two factors."""
    name = report.study.name
    question = str(report.study.plan.get("question") or name)
    parts = [tabular.NEEDS]
    for paper in report.papers:
        label = name if paper.title == "Results" else f"{name} {paper.title.lower()}"
        parts.append(tabular.paper(paper, f"{question} {paper.title}.", label))
    further = [("by epoch", one) for one in by_epoch_and_mask.by_epoch(report.study)]
    further += [("by test set", one) for one in by_epoch_and_mask.by_mask(report.study) if one.rows]
    for number, (title, one) in enumerate(further, 1):
        caption = f"{render.metric_heading(one.metric)} {title}"
        parts.append(
            tabular.grid(render.column_grid(one), caption, f"{name} columns {number}", [one.note] if one.note else [])
        )
    for number, cross in enumerate(report.crosses, 1):
        caption = f"{render.metric_heading(cross.metric)} by {cross.row_factor} and {cross.column_factor}"
        by = captions.on_protocol(report.study) if on_protocol(cross.metric) else []
        parts.append(tabular.grid(cross.grid(), caption, f"{name} by two factors {number}", [*cross.sentences(), *by]))
    return "\n".join(parts)


def parquet(report: Report) -> bytes:
    """All records of the finished trials: columns arm, seed, trial, epoch and the metrics, one row per epoch."""
    target = io.BytesIO()
    report.study.records.to_parquet(target, index=False)
    return target.getvalue()


def terminal(report: Report) -> Group:
    """Answer, table and verdicts for `rich.console.Console.print`."""
    from rich.console import Group
    from rich.text import Text

    first, *others = report.answer
    lines = [Text(first, style="bold"), *map(Text, others), Text()]
    styles = {claims.HOLDS: "green", claims.FAILS: "red", claims.UNDECIDED: "yellow", claims.NOT_TESTED: "dim"}
    judged = [
        Text.assemble((verdict.words, styles[verdict.verdict]), f"  {verdict.text}\n  {verdict.sentence}")
        for verdict in report.verdicts
    ]
    warnings = [Text(text, style="yellow") for text in details.warnings(report.study)]
    return Group(*lines, TerminalTables(report.papers, report.study.name), *warnings, *judged)


def _markdown_files(report: Report, stem: str) -> dict[str, bytes]:
    found = {f"{stem}.md": markdown(report).encode()}
    if report.curves:
        found[f"{stem}-curves.svg"] = report.curves
    if report.front:
        found[f"{stem}-pareto.svg"] = report.front
    if report.roc:
        found[f"{stem}-roc.svg"] = report.roc
    if report.falling:
        found[f"{stem}-robustness.svg"] = report.falling
    if report.grid:
        found[f"{stem}-pictures.png"] = report.grid.png
    worst = report.images.worst if report.images else []
    found |= {f"{stem}-worst-{number}.png": one.png for number, one in enumerate(worst, 1) if one.png}
    if report.disputed:
        found[f"{stem}-disputed.png"] = report.disputed
    return found


def drawn(report: Report, form: str) -> dict[str, bytes]:
    """The figures of the report for a paper, by name. form: svg or pdf. Those without enough results are left out."""
    found = {
        "curves": figures.curves(report.study, form),
        "interaction": factors.plot(report.crosses[0], form) if report.crosses else None,
        "pareto": pareto.plot(report.pareto, form) if report.pareto else None,
        "roc": threshold_curves.plot(report.thresholds, form) if report.thresholds else None,
        "robustness": robustness.plot(report.robustness, form) if report.robustness else None,
    }
    return {name: data for name, data in found.items() if data}


def _figure_files(form: str) -> Callable[[Report, str], dict[str, bytes]]:
    return lambda report, stem: {f"{stem}-{name}.{form}": data for name, data in drawn(report, form).items()}


def _csv_files(report: Report, stem: str) -> dict[str, bytes]:
    """The table, and the points of the curves of detectors."""
    found = {f"{stem}.csv": csv(report)}
    if report.thresholds:
        found[f"{stem}-roc.csv"] = report.thresholds.csv()
    if report.robustness:
        found[f"{stem}-robustness.csv"] = robustness.csv(report.robustness)
    return {name: text.encode() for name, text in found.items()}


FORMATS: dict[str, Callable[[Report, str], dict[str, bytes]]] = {
    "html": lambda report, stem: {f"{stem}.html": html(report).encode()},
    "md": _markdown_files,
    "tex": lambda report, stem: {f"{stem}.tex": tex(report).encode()},
    "parquet": lambda report, stem: {f"{stem}.parquet": parquet(report)},
    "csv": _csv_files,
    "svg": _figure_files("svg"),
    "pdf": _figure_files("pdf"),
}


def files(report: Report, formats: Iterable[str]) -> dict[str, bytes]:
    """The files of a report by name, `<study>.<format>`. Raises SweepError for an unknown format."""
    found: dict[str, bytes] = {}
    for name in formats:
        if name not in FORMATS:
            example = f"--format {next(iter(FORMATS))}"
            raise SweepError(f"format {name!r}", "there is no such report format", ", ".join(FORMATS), example)
        found |= FORMATS[name](report, report.study.name)
    return found


def write(report: Report, out: Path, formats: Iterable[str] = ("html",)) -> list[Path]:
    """Write a report's files into a folder, replacing older ones; returns their paths in the order of the formats.

    The folder is created if needed. Raises SweepError if it cannot be written.
    """
    made = files(report, formats)
    paths = [out / name for name in made]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, data in zip(paths, made.values(), strict=True):
            path.write_bytes(data)
    except OSError as error:
        raise SweepError(
            f"--out {str(out)!r}", error.strerror or str(error), "a writable folder", "--out FOLDER"
        ) from error
    return paths


def publish(report: Report, store: Store, formats: Iterable[str] = ("html",)) -> list[str]:
    """Write a report's files into a store under `reports/<name>/`; returns their keys."""
    made = {f"reports/{report.study.name}/{name}": data for name, data in files(report, formats).items()}
    for key, data in made.items():
        store.put(key, data)
    return list(made)
