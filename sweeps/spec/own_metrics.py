"""Entries of `report.extra` that name a user's metric: the sections of the configuration that they become."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from sweeps.errors import SweepError
from sweeps.results import columns
from sweeps.spec.schema import OWN_CODE, SweepSpec
from sweeps.spec.yaml_document import Place

TASKS = ("inpaint", "detect")
"""The tasks whose trials compute users' metrics."""
_LABEL = re.compile(r"[a-z][a-z0-9_]*$")


def read(spec: SweepSpec, error: Callable[[Place, str, str, str], SweepError]) -> dict[str, dict[str, Any]]:
    """{label: {name: ..., options}} of the entries that are no metrics of ours; a label names the columns.

    error: `Sweep.error`; raised for an unknown name, and for a label that no column can have.
    """
    found: dict[str, dict[str, Any]] = {}
    for i, entry in enumerate(spec.report.extra):
        section = {"name": entry} if isinstance(entry, str) else entry
        name = section["name"]
        if isinstance(entry, str) and entry in columns.EXTRA:
            continue
        place = ("report", "extra", i)
        if not re.match(OWN_CODE, name) and name not in entry_points(group="inpaint_sweeps.metrics").names:
            allowed = (
                f"{', '.join(columns.EXTRA)}, or a metric of your own: ./FILE.py, ./FILE.py:NAME, package.module:NAME"
            )
            raise error(place, "there is no such score", allowed, "kid_squeezenet, or leave it out")
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
