"""What the same box for every image reaches: tables of boxes say it first, because many networks do no better."""

from __future__ import annotations

from collections.abc import Sequence

from analysis import wording
from analysis.study import Study
from analysis.wording import quoted
from sweeps.results import columns as record_columns

MODEL = "constant_box"
METRICS = ("mean_iou", "mean_iou_region", "iou_above_50", "pixel_f1", "pixel_iou")
"""Metrics of places; a constant box has none of the detected images alone that could be compared."""


def sentences(study: Study, metrics: Sequence[str]) -> list[str]:
    """For above a table: the values of the arms with a constant box, and the trained arms that are not clearly better.

    Empty unless the table has metrics of places and the study has such an arm with results.
    """
    if study.plan.get("task") != "detect":
        return []
    shown = [metric for metric in metrics if _plain(metric) in METRICS]
    found = []
    for box in (name for name in study.names if (study.arm(name).config.get("model") or {}).get("name") == MODEL):
        values = {metric: interval for metric in shown if (interval := study.interval(box, metric))}
        if not values:
            continue
        reached = [f"{wording.label(metric)} {wording.plus_minus(value)}" for metric, value in values.items()]
        found.append(f"The same box for every image ({quoted(box)}) reaches {wording.listing(reached)}.")
        for metric in values:
            found += _not_better(study, box, metric)
    return found


def _not_better(study: Study, box: str, metric: str) -> list[str]:
    group = next(names for names in study.groups_in(metric) if box in names)
    trained = [name for name in group if study.arm(name).trains and study.values(name, metric)]
    behind = [name for name in trained if not _is_better(study, name, box, metric)]
    if not behind:
        return []
    if behind == trained:
        return [f"No trained arm is clearly better in {wording.label(metric)}."]
    return [f"Not clearly better in {wording.label(metric)}: {wording.listing(map(quoted, behind))}."]


def _is_better(study: Study, name: str, box: str, metric: str) -> bool:
    gap = study.difference(name, box, metric)
    return gap is not None and gap.bounds is not None and gap.bounds[0] > 0


def _plain(metric: str) -> str:
    return record_columns.without_test_set(metric)[0].removeprefix("test/")
