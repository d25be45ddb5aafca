"""Builds the report of a study: reads it from the store, judges its claims, makes its table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from analysis import studies
from analysis.claims import added_seeds
from analysis.claims import judge as claims
from analysis.report import answer, tables
from analysis.report.content import Report
from analysis.report.paper.shape import Shape
from sweeps.store.base import Store


def build(
    store: Store, name: str, now: float | None = None, notes: Iterable[str] = (), shape: Shape | None = None
) -> Report:
    """Read a study from the store and build its report; a study without finished trials has one too.

    now: seconds since 1970 against which the heartbeats of running trials are measured.
    notes: sentences on the results, for every table. shape: the layout of the main tables.
    Raises SweepError for an unknown name, and for columns that no finished trial has.
    """
    study = added_seeds.with_outcome(studies.read(store, name, now))
    study = replace(study, notes=(*study.notes, *notes))
    verdicts = claims.judge(study)
    return Report(study, tables.build(study, shape), verdicts, answer.answer(study, verdicts))
