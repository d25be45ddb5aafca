"""The JSON documents on results: `report`, `claims`, `compare`, `reproduce`, and what is written elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sweeps.cli.programs.json_document import JsonDocument, JsonOutput, ProtocolName, protocol_name

if TYPE_CHECKING:
    from analysis.claims.overview import ClaimLine
    from analysis.report.content import Report
    from analysis.statistics.intervals import Interval
    from sweeps.api import SweepComparison


class IntervalOutput(JsonOutput):
    mean: float = Field(description="mean over seeds (or images)")
    sd: float | None = Field(description="standard deviation; null for one value")
    low: float | None = Field(description="lower bound of the 95 % interval")
    high: float | None = Field(description="upper bound")
    n: int = Field(description="number of seeds (or images)")
    photographs: int = Field(0, description="number of test photographs that the interval of a detector covers as well")


class ReportedCell(JsonOutput):
    arm: str = Field(description="arm")
    metric: str = Field(description="column, such as test/psnr_db")
    ours: IntervalOutput | None = Field(description="the value; null if no seed has one")
    difference: IntervalOutput | None = Field(description="to the arm's baseline, paired by seed; null for a baseline")
    adjusted_p: float | None = Field(description="of the difference: p value corrected for the family of the metric")
    differs: bool | None = Field(description="whether the difference is beyond chance; null if it is not tested")
    published: list[str] = Field(description="published figures, as printed")


class VerdictOutput(JsonOutput):
    text: str = Field(description="the claim")
    verdict: str = Field(description="holds, does not hold, undecided or not tested")
    size: str = Field(description="size at which the study was run: full, small or tiny")
    sentence: str = Field(description="the evidence")
    source: str = Field(description="where the document makes the claim")
    ours: str = Field(description="measured difference with its interval")
    published: str = Field(description="published figures of the same arms")


class ReportedSweep(JsonOutput):
    name: str = Field(description="name of the sweep")
    question: str = Field(description="its question")
    protocol: ProtocolName | None = Field(None, description="what rates the fills of every arm; null: no protocol")
    answer: list[str] = Field(description="sentences, the most important one first")
    cells: list[ReportedCell] = Field(description="the table, a cell for each arm and metric")
    verdicts: list[VerdictOutput] = Field(description="the claims")


class ReportOutput(JsonDocument):
    reports: list[ReportedSweep] = Field(description="one for each NAME")
    files: list[str] = Field(description="paths and addresses that were written")


class ClaimOutput(JsonOutput):
    study: str = Field(description="name of the sweep")
    protocol: ProtocolName | None = Field(None, description="what rates the fills of every arm; null: no protocol")
    claim: str = Field(description="the claim")
    source: str = Field(description="where the document makes it")
    published: str = Field(description="published figures")
    ours: str = Field(description="measured difference with its interval")
    verdict: str = Field(description="verdict, with the size if it is not full")
    sentence: str = Field(description="the evidence")
    notes: str = Field(description="on results of older code or from different data")


class ClaimsOutput(JsonDocument):
    claims: list[ClaimOutput] = Field(description="a line for each claim")


class ComparedCell(JsonOutput):
    arm: str = Field(description="arm")
    metric: str = Field(description="column")
    before: IntervalOutput | None = Field(description="value in the first sweep")
    after: IntervalOutput | None = Field(description="value in the second sweep")
    difference: IntervalOutput | None = Field(description="after minus before, paired by seed")
    verdict: str = Field(description="same numbers, within noise, drift, or too few seeds")


class CompareOutput(JsonDocument):
    drifted: bool = Field(description="whether any difference exceeds the noise")
    cells: list[ComparedCell] = Field(description="one for each shared arm and metric")
    unmatched: list[str] = Field(description="sentences on arms that only one of the sweeps has")
    mixed: list[str] = Field([], description="what the protocols differ in, with --mix; empty: they are the same")


class ReproducedTrial(JsonOutput):
    label: str = Field(description="arm and seed in words")
    state: Literal["same", "within tolerance", "changed", "not finished"] = Field(
        description="same: to the last bit; within tolerance: of a trial that several workers trained"
    )
    change: str = Field(description="what changed; empty if nothing did")


class ReproduceOutput(JsonDocument):
    trials: list[ReproducedTrial] = Field(description="the trials that were run again")


class ExportTestOutput(JsonDocument):
    images: int = Field(description="number of images")
    damaged: str = Field(description="folder of the damaged images")
    masks: str = Field(description="folder of the masks, white where to fill")


class ExportToOutput(JsonDocument):
    name: str = Field(description="name of the sweep")
    runs: int = Field(description="runs that were written")
    place: str = Field(description="where they are")


class ArchiveOutput(JsonDocument):
    file: str = Field(description="the archive; a store that can be read with --store")
    sweeps: int = Field(description="sweeps in it")
    trials: int = Field(description="trials in it, also of other sweeps that these name")
    objects: int = Field(description="objects in it")
    size_bytes: int = Field(description="size of the file")


def interval(interval: Interval | None) -> IntervalOutput | None:
    if interval is None:
        return None
    low, high = interval.bounds or (None, None)
    return IntervalOutput(
        mean=interval.mean, sd=interval.sd, low=low, high=high, n=interval.n, photographs=interval.photographs
    )


def reported(report: Report) -> ReportedSweep:
    cells = [
        ReportedCell(
            arm=row.arm,
            metric=metric,
            ours=interval(entry.ours),
            difference=interval(entry.difference),
            adjusted_p=entry.comparison.adjusted_p if entry.comparison else None,
            differs=entry.comparison.differs if entry.comparison else None,
            published=[figure.text for figure in entry.published],
        )
        for row in report.table.rows
        for metric, entry in row.entries.items()
    ]
    fields = VerdictOutput.model_fields
    return ReportedSweep(
        name=report.study.name,
        question=report.study.plan["question"],
        protocol=protocol_name(report.study.protocol),
        answer=list(report.answer),
        cells=cells,
        verdicts=[VerdictOutput(**{name: getattr(one, name) for name in fields}) for one in report.verdicts],
    )


def claims(lines: Iterable[ClaimLine]) -> ClaimsOutput:
    fields = set(ClaimOutput.model_fields) - {"protocol"}
    return ClaimsOutput(
        claims=[
            ClaimOutput(**{name: getattr(line, name) for name in fields}, protocol=protocol_name(line.protocol))
            for line in lines
        ]
    )


def comparison(found: SweepComparison) -> CompareOutput:
    cells = [
        ComparedCell(
            arm=cell.arm,
            metric=cell.metric,
            before=interval(cell.before),
            after=interval(cell.after),
            difference=interval(cell.difference),
            verdict=cell.verdict,
        )
        for cell in found.arms
    ]
    return CompareOutput(drifted=found.drifted, cells=cells, unmatched=found.unmatched, mixed=list(found.mixed))
