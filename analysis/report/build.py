"""Builds the report of a study: reads it from the store, judges its claims, makes its table."""

from __future__ import annotations

from analysis import study as studies
from analysis.claims import judge as claims
from analysis.report import answer, tables
from analysis.report.content import Report
from sweeps.store.base import Store


def build(store: Store, name: str, now: float | None = None) -> Report:
    """Read a study from the store and build its report; a study without finished trials has one too.

    now: seconds since 1970 against which the heartbeats of running trials are measured.
    Raises SweepError for an unknown name.
    """
    study = studies.read(store, name, now)
    verdicts = claims.judge(study)
    return Report(study, tables.build(study), verdicts, answer.answer(study, verdicts))
