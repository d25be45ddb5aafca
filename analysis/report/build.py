"""The report of a study: one page that leads with the answer, as a self-contained HTML file and in other formats."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from analysis import study as studies
from analysis.claims import judge as claims
from analysis.claims.judge import Verdict
from analysis.report import answer, figures, latex, page, render, tables
from analysis.report.sections import by_epoch_and_mask, details, images, pareto, pictures
from analysis.report.tables import Table
from analysis.statistics import factors
from analysis.study import Study
from sweeps.errors import SweepError
from sweeps.store.base import Store

if TYPE_CHECKING:
    from rich.console import Group


@dataclass(frozen=True, eq=False)
class Report:
    """What a study found, ready to be written. answer: sentences, the first of which is the answer."""

    study: Study
    table: Table
    verdicts: list[Verdict]
    answer: list[str]

    @cached_property
    def curves(self) -> bytes | None:
        """Curves over epochs as SVG."""
        return figures.curves(self.study)

    @cached_property
    def grid(self) -> pictures.Grid | None:
        """The pictures of every arm side by side as PNG."""
        return pictures.picture_grid(self.study)

    @cached_property
    def images(self) -> images.Images | None:
        """The worst and the disputed test images, and the means over all."""
        return images.look(self.study)

    @cached_property
    def disputed(self) -> bytes | None:
        """The disputed images for every arm as PNG, where they were redrawn."""
        return images.disputed_grid(self.study, self.images)

    @cached_property
    def crosses(self) -> list[factors.CrossTable]:
        """Each metric by two factors, where the study has two."""
        return [table for metric in self.study.metrics if (table := factors.cross(self.study, metric))]

    @cached_property
    def interaction(self) -> bytes | None:
        """The first of them as a plot, SVG."""
        return factors.plot(self.crosses[0]) if self.crosses else None

    @cached_property
    def pareto(self) -> pareto.Pareto | None:
        """Quality against cost, where the sweep asks for it."""
        return pareto.build(self.study)

    @cached_property
    def front(self) -> bytes | None:
        """The same as a picture, SVG."""
        return pareto.plot(self.pareto) if self.pareto else None

    def html(self) -> str:
        """One file with everything in it; needs no network and no script."""
        return page.html(self)

    def markdown(self) -> str:
        """The report as Markdown; `files` puts the figures that it names beside it."""
        return page.markdown(self)

    def csv(self) -> str:
        """The table in long form, numbers with all their digits."""
        return render.comma_separated(self.table)

    def latex(self) -> str:
        """The tables for a paper, with booktabs: the main one, by epoch, by what was tested on, by two factors."""
        name = self.study.name
        parts = [latex.table(self.table, str(self.study.plan.get("question") or name), name)]
        further = [("by epoch", one) for one in by_epoch_and_mask.by_epoch(self.study)]
        further += [("by what was tested on", one) for one in by_epoch_and_mask.by_mask(self.study) if one.rows]
        for number, (title, one) in enumerate(further, 1):
            caption = f"{render.metric_heading(one.metric)} {title}"
            parts.append(latex.grid(render.columns(one), caption, f"{name} columns {number}"))
        for number, cross in enumerate(self.crosses, 1):
            caption = f"{render.metric_heading(cross.metric)} by {cross.row_factor} and {cross.column_factor}"
            parts.append(latex.grid(cross.grid(), caption, f"{name} by two factors {number}", cross.sentences()))
        return "\n".join(parts)

    def parquet(self) -> bytes:
        """Every record of the finished trials: columns arm, seed, trial, epoch and the metrics, a row an epoch."""
        target = io.BytesIO()
        self.study.records.to_parquet(target, index=False)
        return target.getvalue()

    def terminal(self) -> Group:
        """Answer, table and verdicts for `rich.console.Console.print`."""
        from rich.console import Group
        from rich.text import Text

        first, *others = self.answer
        lines = [Text(first, style="bold"), *map(Text, others), Text()]
        styles = {claims.HOLDS: "green", claims.FAILS: "red", claims.UNDECIDED: "yellow"}
        told = [
            Text.assemble((verdict.verdict, styles[verdict.verdict]), f"  {verdict.text}\n  {verdict.sentence}")
            for verdict in self.verdicts
        ]
        warned = [Text(text, style="yellow") for text in details.warnings(self.study)]
        return Group(*lines, render.terminal(self.table, self.study.name), *warned, *told)


def build(store: Store, name: str, now: float | None = None) -> Report:
    """Read a study and judge it. now: seconds since 1970, by which running trials are told from dead ones.

    Raises SweepError for an unknown name. A study without any finished trial has a report too, which says so.
    """
    study = studies.read(store, name, now)
    verdicts = claims.judge(study)
    return Report(study, tables.build(study), verdicts, answer.answer(study, verdicts))


# --- files ------------------------------------------------------------------------------------------------------------


def _markdown_files(report: Report, stem: str) -> dict[str, bytes]:
    found = {f"{stem}.md": report.markdown().encode()}
    if report.curves:
        found[f"{stem}-curves.svg"] = report.curves
    if report.front:
        found[f"{stem}-pareto.svg"] = report.front
    if report.grid:
        found[f"{stem}-pictures.png"] = report.grid.png
    worst = report.images.worst if report.images else []
    found |= {f"{stem}-worst-{number}.png": one.png for number, one in enumerate(worst, 1) if one.png}
    if report.disputed:
        found[f"{stem}-disputed.png"] = report.disputed
    return found


FORMATS: dict[str, Callable[[Report, str], dict[str, bytes]]] = {
    "html": lambda report, stem: {f"{stem}.html": report.html().encode()},
    "md": _markdown_files,
    "tex": lambda report, stem: {f"{stem}.tex": report.latex().encode()},
    "parquet": lambda report, stem: {f"{stem}.parquet": report.parquet()},
    "csv": lambda report, stem: {f"{stem}.csv": report.csv().encode()},
}


def files(report: Report, formats: Iterable[str]) -> dict[str, bytes]:
    """The files of a report by name, `<study>.<format>`; a SweepError names a format that there is none of."""
    found: dict[str, bytes] = {}
    for name in formats:
        if name not in FORMATS:
            raise SweepError(
                f"format {name!r}", "no report is written in it", ", ".join(FORMATS), f"--format {next(iter(FORMATS))}"
            )
        found |= FORMATS[name](report, report.study.name)
    return found


def write(report: Report, out: Path, formats: Iterable[str] = ("html",)) -> list[Path]:
    """Write a report's files into a folder, which is made, over older ones; the paths, the first format's first."""
    made = files(report, formats)
    paths = [out / name for name in made]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, data in zip(paths, made.values(), strict=True):
            path.write_bytes(data)
    except OSError as error:
        raise SweepError(
            f"--out {str(out)!r}", error.strerror or str(error), "a folder that can be written", "--out ANOTHER"
        ) from error
    return paths


def publish(report: Report, store: Store, formats: Iterable[str] = ("html",)) -> list[str]:
    """Write a report's files into a store under `reports/<name>/`; their keys."""
    made = {f"reports/{report.study.name}/{name}": data for name, data in files(report, formats).items()}
    for key, data in made.items():
        store.put(key, data)
    return list(made)
