"""The JSON documents of `check` and `plan`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from sweeps.cli.programs.json_document import JsonDocument, JsonOutput, ProtocolName, protocol_name

if TYPE_CHECKING:
    from cluster.driver.pending_work import PendingWork
    from cluster.driver.queue.trial_queue import Job
    from sweeps.api import StudyCost
    from sweeps.results.cost import Estimate
    from sweeps.spec.plan import Arm, Plan


class CheckedArm(JsonOutput):
    name: str = Field(description="name of the arm")
    baseline: str = Field(description="the arm that it is compared with")
    config: dict[str, Any] = Field(description="resolved configuration")
    origins: dict[str, str] = Field(description="where each value comes from, by dotted key")
    trials: dict[str, str] = Field(description="trial ids by seed; empty while a search must find the arm's values")


class CheckOutput(JsonDocument):
    name: str = Field(description="name of the sweep")
    question: str = Field(description="its question")
    protocol: ProtocolName | None = Field(None, description="what rates the fills of every arm; null: no protocol")
    arms: list[CheckedArm] = Field(description="the arms, or the one of --arm")
    notes: list[str] = Field(description="remarks on the file, and on the images of each split")
    dependencies: list[str] = Field(description="sweeps that run before it")


class PlannedTrial(JsonOutput):
    id: str = Field(description="trial id")
    label: str = Field(description="arm and seed in words")
    epochs: int = Field(description="target epoch")


class PlannedTime(JsonOutput):
    epochs: int = Field(description="epochs that are left")
    most: bool = Field(description="whether early stopping may save some of them")
    computing_s: float = Field(description="seconds of all trials of known duration, one after the other")
    wall_s: float = Field(description="seconds until the end with `at_once` trials in parallel")
    at_once: int = Field(description="trials that run in parallel")
    unknown: int = Field(description="kinds of trials of unknown duration; `--measure` measures them")


class PlannedSweep(JsonOutput):
    name: str = Field(description="name of the sweep")
    protocol: ProtocolName | None = Field(None, description="what rates the fills of every arm; null: no protocol")
    trials: int = Field(description="different trials of the plan")
    cached: int = Field(description="trials that the store has")
    left: list[PlannedTrial] = Field(description="trials to run")
    measure: list[PlannedTrial] = Field(description="finished trials to measure by further metrics, without training")
    failed: list[PlannedTrial] = Field(description="trials that failed before; `--retry` runs them again")
    left_out: int = Field(description="trials of arms that --arms or --skip-arms leaves out")
    suggestions: int = Field(description="suggestions of searches that are left")
    notes: list[str] = Field(description="remarks: searches without a result, results of older code or other data")
    time: PlannedTime | None = Field(None, description="what is left to compute; null if nothing is")


class PlanOutput(JsonDocument):
    sweep: PlannedSweep = Field(description="what is left of the sweep; with looks, until the next one")
    dependencies: list[PlannedSweep] = Field(description="sweeps that run before it and have something left")
    looks: str | None = Field(None, description="where a sweep that adds seeds until decided stands")
    expected: PlannedSweep | None = Field(None, description="of such a sweep: what it is expected to run")
    most: PlannedSweep | None = Field(None, description="of such a sweep: the most that it runs")
    notes: list[str] = Field(description="remarks on the file, and on the images of each split")


class Costs(JsonOutput):
    name: str = Field(description="name of the study, or of its smaller form")
    trials: int = Field(description="planned trials and suggestions of searches")
    left: int = Field(description="those that the store lacks")
    epochs: int = Field(description="epochs that are left")
    seconds: float = Field(description="known computing time of what is left")
    unknown: int = Field(description="kinds of trials without known times")
    problem: str = Field(description="why it cannot be planned at this size; empty if it can")


class CostsOutput(JsonDocument):
    """Of `plan --all`."""

    studies: list[Costs] = Field(description="the shipped studies")


def check(plan: Plan, arms: Sequence[Arm], notes: Iterable[str], dependencies: list[str]) -> CheckOutput:
    return CheckOutput(
        name=plan.name,
        question=plan.sweep.document.question,
        protocol=protocol_name(plan.protocol),
        arms=[
            CheckedArm(
                name=arm.name,
                baseline=arm.baseline,
                config=dict(arm.config),
                origins=dict(arm.origins),
                trials={str(seed): trial.id for seed, trial in arm.trials.items()},
            )
            for arm in arms
        ],
        notes=[*plan.notes, *notes],
        dependencies=dependencies,
    )


def planned(work: PendingWork, estimate: Estimate | None) -> PlannedSweep:
    time = None
    if estimate is not None:
        time = PlannedTime(
            epochs=estimate.epochs,
            most=estimate.most,
            computing_s=estimate.computing_s,
            wall_s=estimate.wall_s,
            at_once=estimate.at_once,
            unknown=len(estimate.unknown),
        )
    left = (tuning.spec.trials - len(tuning.search.asks()) for tuning in work.searches)
    return PlannedSweep(
        name=work.plan.name,
        protocol=protocol_name(work.plan.protocol),
        trials=len(work.plan.runs()),
        cached=work.done,
        left=_jobs(work.to_train),
        measure=_jobs(work.to_measure),
        failed=_jobs(work.failed),
        left_out=work.left_out,
        suggestions=sum(left),
        notes=[note for note in (work.continued, *work.failures, work.incomplete, work.stale) if note],
        time=time,
    )


def _jobs(jobs: Iterable[Job]) -> list[PlannedTrial]:
    return [PlannedTrial(id=job.trial_id, label=job.label, epochs=job.epochs) for job in jobs]


def costs(studies: Iterable[StudyCost]) -> CostsOutput:
    fields = Costs.model_fields
    return CostsOutput(studies=[Costs(**{name: getattr(study, name) for name in fields}) for study in studies])
