"""Build the report of a study: read it from the store, judge its claims, put its table together."""

from __future__ import annotations

from analysis import study as studies
from analysis.claims import judge as claims
from analysis.report import answer, tables
from analysis.report.content import Report
from sweeps.store.base import Store


def build(store: Store, name: str, now: float | None = None) -> Report:
    """Read a study and judge it. now: seconds since 1970, by which running trials are told from dead ones.

    Raises SweepError for an unknown name. A study without any finished trial has a report too, which says so.
    """
    study = studies.read(store, name, now)
    verdicts = claims.judge(study)
    return Report(study, tables.build(study), verdicts, answer.answer(study, verdicts))
