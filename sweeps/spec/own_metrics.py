"""Columns of a sweep: those that its file may name, and those that a user's metric, program or task adds."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from sweeps.errors import SweepError
from sweeps.results import columns
from sweeps.spec.schema import COMMAND, OWN_CODE, SweepSpec
from sweeps.spec.sections.report import BEST
from sweeps.spec.sections.seeds import HalfWidth, SeedsUntil
from sweeps.spec.yaml_document import Place

TASKS = ("inpaint", "detect")
"""The tasks whose trials compute users' metrics."""
Fail = Callable[[Place, str, str, str], SweepError]
"""Makes the error about the value at a place, as `Sweep.error` does."""
_LABEL = re.compile(r"[a-z][a-z0-9_]*$")


def read(spec: SweepSpec, error: Fail) -> dict[str, dict[str, Any]]:
    """{label: {name: ..., options}} of the entries that are no metrics of ours; a label names the columns.

    error: `Sweep.error`; raised for an unknown name, and for a label that no column can have.
    """
    found: dict[str, dict[str, Any]] = {}
    for i, entry in enumerate(spec.report.extra):
        section = {"name": entry} if isinstance(entry, str) else entry
        name = section["name"]
        place = ("report", "extra", i)
        if isinstance(entry, str) and entry in columns.DETECTION_EXTRA:
            if spec.task != TASKS[1]:
                why = f"it scores detectors, and trials of task {spec.task} detect nothing"
                raise error(place, why, f"task {TASKS[1]}", "remove it from `report.extra`")
            continue
        if isinstance(entry, str) and entry in columns.EXTRA:
            if spec.task != TASKS[0]:
                why = f"it scores filled images, and trials of task {spec.task} do not fill images"
                raise error(place, why, f"task {TASKS[0]}", "remove it from `report.extra`")
            continue
        if not re.match(OWN_CODE, name) and name not in entry_points(group="inpaint_sweeps.metrics").names:
            ours = columns.DETECTION_EXTRA if spec.task == TASKS[1] else tuple(columns.EXTRA)
            allowed = f"{', '.join(ours)}, or a metric of your own: ./FILE.py, ./FILE.py:NAME, package.module:NAME"
            near = difflib.get_close_matches(name, ours, 1)
            example = "pixel_auc" if spec.task == TASKS[1] else "kid_squeezenet"
            fix = f"did you mean `{near[0]}`?" if near else f"{example}, or leave it out"
            raise error(place, "there is no such score", allowed, fix)
        if spec.task not in TASKS:
            why = f"trials of task {spec.task} compute no metrics of a user's"
            raise error(place, why, f"tasks {' and '.join(TASKS)}", "remove it from `report.extra`")
        label = label_of(name)
        if problem := _problem(label, found):
            fix = f"name another function: def my_{re.sub('[^a-z0-9_]', '_', label.lower())}(...)"
            raise error(place, problem, "lower-case letters, digits and _, and a name of its own", fix)
        found[label] = section
    return found


def label_of(name: str) -> str:
    """The label of a metric as it is named in a sweep file: of its function, else of its file."""
    path, colon, item = name.rpartition(":")
    return item if colon and path else re.sub(r"\.py$", "", name.rpartition("/")[2])


def _problem(label: str, others: Mapping[str, Any]) -> str:
    """Why the columns of a metric cannot have this label; '' if they can."""
    column = f"test/{label}"
    if not _LABEL.match(label):
        return f"its columns would be called {column}, and columns have other names"
    if label in others:
        return f"two metrics are called {label}, and each needs a column of its own"
    if columns.has_meaning(column) or columns.has_suffix(column):
        return f"the column {column} has a meaning already"
    return ""


def declare(metrics: Mapping[str, Any], place: Place, error: Fail) -> None:
    """Declare the columns of a program or of a user's task: {column: better direction}.

    place: of `metrics` in the sweep file, or of the task whose file declares them. Raises SweepError for a direction
    that contradicts the meaning of a name.
    """
    for column, better in metrics.items():
        usual = columns.usual_direction(column) if columns.is_column(str(column)) else ""
        if usual and better in ("max", "min") and better != usual:
            raise error(
                place if place == ("task",) else (*place, column),
                f"{better!r} of {column} contradicts the meaning of this name: {columns.describe(column)[2]}",
                f"{usual}, or a name with another meaning",
                f"{column}: {usual}",
            )
    columns.declare(metrics)


def check_columns(spec: SweepSpec, error: Fail, labels: Mapping[str, Any], own: Mapping[str, str]) -> None:
    """Raise SweepError for a column that no trial reports, in the report, a claim or a search, or that may not select.

    labels: of users' metrics. own: the columns that a user's task declares; empty for the tasks of this package.
    """

    program = spec.base.get("metrics") if spec.task == COMMAND else None
    declared = [*own, *(program if isinstance(program, Mapping) else ())]
    ours = {*declared, *(f"{split}/{label}" for split in ("val", "test") for label in labels)}

    def is_known(column: str) -> bool:
        """Not by what other sweeps have declared in this process."""
        if own and column.startswith(("val/", "test/")):
            return column in own
        mine = column in ours or columns.without_test_set(column)[0] in ours
        if program and column.startswith(("val/", "test/")):
            return mine
        return columns.is_column(column) and (mine or columns.has_meaning(column))

    def unknown_metric(place: Place, column: str) -> SweepError:
        names = [f"test/{name}_on_{columns.PROTOCOL}" for name in columns.metrics() if "/" not in name]
        near = difflib.get_close_matches(column, names, 1)
        return error(
            place,
            f"no protocol has the metric of {column!r}",
            f"e.g. test/psnr_db_on_{columns.PROTOCOL}, test/ssim_on_{columns.PROTOCOL}; "
            "`sweeps describe PROTOCOL` lists the metrics of one",
            f"did you mean `{near[0]}`?" if near else "name a metric of the protocol",
        )

    pareto = spec.report.pareto
    for place, column in named_columns(spec):
        if not is_known(column):
            if columns.on_protocol(column) and not declared:
                raise unknown_metric(place, column)
            raise error(
                place,
                f"no trial reports {column!r}",
                ", ".join(declared) or "e.g. test/psnr_db, test/l2, test/ssim, val/psnr_db",
                "sweeps list metrics prints every column with its meaning",
            )
    is_own = pareto is not None and pareto.quality.removeprefix("test/") in labels  # its file tells the direction
    if pareto and not is_own and not (pareto.quality.startswith("test/") and columns.describe(pareto.quality)[1]):
        place = ("report", "pareto", "quality")
        why = f"{pareto.quality!r} is not a test column with a better direction"
        raise error(place, why, "e.g. test/psnr_db_hole", "quality: test/psnr_db_hole")

    def why_not(column: str) -> str:
        test = column.startswith("test/")
        return "selecting on the test split would bias the test results" if test else "no trial reports it"

    for metric in spec.search.metrics if spec.search else ():
        if metric != "parameters" and not (metric.startswith("val/") and is_known(metric)):
            why = why_not(metric)
            allowed = ", ".join(one for one in declared if one.startswith("val/")) or "val/psnr_db, val/l2, ..."
            raise error(("search", "metric"), f"{metric!r}: {why}", f"{allowed}, or parameters", "metric: val/psnr_db")
    for column in spec.search.constraints if spec.search else ():
        if column != "parameters" and not (column.startswith(("val/", f"{columns.SYSTEM}/")) and is_known(column)):
            raise error(
                ("search", "constraints", column),
                f"{column!r}: {why_not(column)}",
                "parameters, a validation column, sys/time_s, sys/peak_memory_mb or sys/images_per_s",
                "constraints: {parameters: {most: 5.0e6}}",
            )


def named_columns(spec: SweepSpec) -> list[tuple[Place, str]]:
    """The columns that a sweep file names in its report, its claims and its seeds, each with its place."""
    best, pareto = BEST.match(spec.report.at), spec.report.pareto
    named: list[tuple[Place, str]] = [(("report", "metrics", i), m) for i, m in enumerate(spec.report.metrics)]
    named += [(("claims", i, "metric"), c.metric) for i, c in enumerate(spec.claims) if c.metric is not None]
    if isinstance(spec.seeds, SeedsUntil) and isinstance(spec.seeds.until, HalfWidth):
        named.append((("seeds", "until", "metric"), spec.seeds.until.metric))
    named += [(("claims", i, "above"), c.above) for i, c in enumerate(spec.claims) if isinstance(c.above, str)]
    named += [(("claims", i, "like"), c.like) for i, c in enumerate(spec.claims) if c.like is not None]
    named += [(("report", "at"), best["column"])] if best else []
    return named + ([(("report", "pareto", "quality"), pareto.quality)] if pareto else [])
