"""The JSON document of `audit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sweeps.cli.programs.json_document import JsonDocument, JsonOutput
from sweeps.cli.programs.result_json import IntervalOutput, interval

if TYPE_CHECKING:
    from analysis.audit.audit import Audit


class AuditedMethod(JsonOutput):
    name: str = Field(description="name of the method")
    value: IntervalOutput | None = Field(description="the value over seeds or images")
    rank: tuple[int, int] | None = Field(description="best and worst rank that the table leaves open; null: not tested")
    first_in_resamples: float | None = Field(description="share of the resamples in which it has the best mean")


class AuditedPair(JsonOutput):
    better: str = Field(description="the method with the better mean")
    worse: str = Field(description="the other one")
    difference: IntervalOutput | None = Field(description="better minus worse, paired; negative where lower is better")
    decided: bool = Field(description="whether they differ beyond chance, corrected for all pairs")
    p_holm: float | None = Field(
        description="p of the sign-flip test, corrected by Holm; null for fewer than two pairs"
    )
    correlation: float | None = Field(description="of the paired values")
    smallest_shown: float | None = Field(description="true difference that this sample shows with 80 % probability")
    needed: int | None = Field(
        description="seeds or images that show a true difference as large as the measured one with 80 % probability"
    )


class AuditOutput(JsonDocument):
    metric: str = Field(description="the column of values")
    unit: str = Field(description="what the values of a method differ by: `seed`, `image`, `run`, ...")
    goal: Literal["max", "min"] = Field(description="whether higher or lower is better")
    tested: bool = Field(description="whether anything could be tested")
    methods: list[AuditedMethod] = Field(description="from the best mean to the worst")
    pairs: list[AuditedPair] = Field(description="all pairs of methods")
    cannot_be_told_apart: list[list[str]] | None = Field(
        description="largest groups of which no two can be told apart; null: not tested"
    )
    same_order_in_resamples: float | None = Field(description="share of the resamples in which all keep their order")
    kendall_tau_of_resamples: float | None = Field(description="mean rank correlation of a resample with the table")
    sentences: list[str] = Field(description="what follows, in sentences")


def audit(found: Audit) -> AuditOutput:
    from analysis.audit import audit_text

    return AuditOutput(
        metric=found.table.metric,
        unit=found.table.unit,
        goal=found.goal,
        tested=found.tested,
        methods=[
            AuditedMethod(
                name=method.name,
                value=interval(method.mean),
                rank=(method.best_rank, method.worst_rank) if found.tested else None,
                first_in_resamples=method.first,
            )
            for method in found.methods
        ],
        pairs=[
            AuditedPair(
                better=pair.better,
                worse=pair.worse,
                difference=interval(pair.difference),
                decided=pair.decided,
                p_holm=pair.adjusted_p,
                correlation=pair.correlation,
                smallest_shown=pair.smallest,
                needed=pair.needed,
            )
            for pair in found.pairs
        ],
        cannot_be_told_apart=[list(group) for group in found.ties] if found.tested else None,
        same_order_in_resamples=found.same_order,
        kendall_tau_of_resamples=found.tau,
        sentences=audit_text.sentences(found),
    )
