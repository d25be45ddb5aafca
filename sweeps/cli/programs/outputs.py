"""Fills the models of `models` from what the Python interface returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeps.cli.programs import models
from sweeps.results import progress
from sweeps.store import attempts as stored_attempts
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store

if TYPE_CHECKING:
    from pydantic import BaseModel

    from analysis.audit.audit import Audit
    from analysis.claims.overview import ClaimLine
    from analysis.report.content import Report
    from analysis.scores.table import ScoreTable
    from analysis.statistics.intervals import Interval
    from cluster.connection.doctor import CheckResult
    from cluster.driver.driver import PendingWork
    from cluster.driver.trial_queue import Job
    from sweeps.api import StudyCost, SweepComparison, SweepStatus
    from sweeps.api.gate.ledger import Candidate, GateDecision, Ledger
    from sweeps.api.protocols.named import NamedProtocol
    from sweeps.results.cost import Estimate
    from sweeps.spec.plan import Arm, Plan


def write(document: BaseModel) -> None:
    """Print a document. Numbers that JSON does not have, such as infinities, are null."""
    print(document.model_dump_json(indent=2, by_alias=True))


def error(parts: Any) -> models.ErrorOutput:
    """A `SweepError` or `TrialError`."""
    return models.ErrorOutput(
        error=models.ErrorParts(given=str(parts.given), why=str(parts.why), allowed=str(parts.allowed), fix=parts.fix)
    )


def _protocol(section: Mapping[str, Any] | None) -> models.ProtocolName | None:
    return None if section is None else models.ProtocolName(name=section["name"], hash=section["hash"])


# --- check, plan, run -------------------------------------------------------------------------------------------------


def check(plan: Plan, arms: Sequence[Arm], notes: Iterable[str], dependencies: list[str]) -> models.CheckOutput:
    return models.CheckOutput(
        name=plan.name,
        question=plan.sweep.document.question,
        protocol=_protocol(plan.protocol),
        arms=[
            models.CheckedArm(
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


def planned(work: PendingWork, estimate: Estimate | None) -> models.PlannedSweep:
    time = None
    if estimate is not None:
        time = models.PlannedTime(
            epochs=estimate.epochs,
            most=estimate.most,
            computing_s=estimate.computing_s,
            wall_s=estimate.wall_s,
            at_once=estimate.at_once,
            unknown=len(estimate.unknown),
        )
    left = (tuning.spec.trials - len(tuning.search.asks()) for tuning in work.searches)
    return models.PlannedSweep(
        name=work.plan.name,
        protocol=_protocol(work.plan.protocol),
        trials=len(work.plan.runs()),
        cached=work.cached,
        left=_jobs(work.jobs),
        failed=_jobs(work.failed),
        left_out=work.left_out,
        suggestions=sum(left),
        notes=[note for note in (work.continued, *work.failures, work.stale) if note],
        time=time,
    )


def _jobs(jobs: Iterable[Job]) -> list[models.PlannedTrial]:
    return [models.PlannedTrial(id=job.trial_id, label=job.label, epochs=job.epochs) for job in jobs]


def costs(studies: Iterable[StudyCost]) -> models.CostsOutput:
    fields = models.Costs.model_fields
    return models.CostsOutput(
        studies=[models.Costs(**{name: getattr(study, name) for name in fields}) for study in studies]
    )


# --- status, show -----------------------------------------------------------------------------------------------------


def status(sweep: SweepStatus) -> models.StatusOutput:
    plan, seen, trials = sweep.plan, set[tuple[str, int]](), []
    for arm in plan["arms"]:
        for seed, trial in arm["trials"].items():
            if (trial["id"], trial["epochs"]) in seen:
                continue
            seen.add((trial["id"], trial["epochs"]))
            state = sweep.trials[trial["id"]]
            trials.append(
                models.TrialOutput(
                    id=trial["id"],
                    arm=arm["name"],
                    seed=int(seed),
                    epochs=trial["epochs"],
                    state=state.words(trial["epochs"]),
                    epoch=state.epoch,
                    silent_s=state.silent_s,
                    error=state.error,
                )
            )
    searches = [
        models.SearchOutput(
            arm=search.arm,
            budget=search.budget,
            counts=dict(search.counts),
            best=list(search.best[0].values) if search.best else [],
            done=search.done,
            failure=search.failure,
        )
        for search in sweep.searches
    ]
    waiting = any(not arm["trials"] for arm in plan["arms"])
    return models.StatusOutput(
        name=plan["name"],
        question=plan["question"],
        protocol=_protocol(stored_plans.protocol(plan)),
        seeds=plan["seeds"],
        complete=not waiting
        and all(trial.state == "done" for trial in trials)
        and all(search.done and not search.failure for search in searches),
        trials=trials,
        searches=searches,
        notes=list(sweep.notes),
    )


def listed(statuses: Iterable[SweepStatus], uri: str) -> models.SweepsOutput:
    return models.SweepsOutput(
        store=uri,
        sweeps=[
            models.ListedSweep(
                name=sweep.plan["name"],
                question=sweep.plan["question"],
                counts={
                    state: number
                    for state in progress.STATES
                    if (number := sum(trial.state == state for trial in sweep.trials.values()))
                },
            )
            for sweep in statuses
        ],
    )


def shown(store: Store, trial_id: str) -> models.ShowOutput:
    body = stored_trials.read_trial(store, trial_id)
    attempts, results, damaged = [], {}, []
    newest = stored_attempts.newest_attempt(store, trial_id)
    for attempt in stored_attempts.attempts(store, trial_id):
        end = {"state": "-", "error": None} | (layout.get_intact(store, attempt.end_key) or {})
        log = stored_attempts.read_log(store, attempt) if newest and attempt.name == newest.name else None
        attempts.append(models.ShownAttempt(name=attempt.name, state=end["state"], error=end["error"], log=log))
    for epochs in stored_trials.finished_epochs(store, trial_id):
        result = layout.get_intact(store, layout.result_key(trial_id, epochs))
        if result is None:
            damaged.append(epochs)
        else:
            results[str(epochs)] = dict(result)
    return models.ShowOutput(
        id=trial_id,
        task=body["task"],
        seed=body["seed"],
        config=body["config"],
        attempts=attempts,
        results=results,
        damaged=damaged,
    )


# --- results ----------------------------------------------------------------------------------------------------------


def _interval(interval: Interval | None) -> models.IntervalOutput | None:
    if interval is None:
        return None
    low, high = interval.bounds or (None, None)
    return models.IntervalOutput(
        mean=interval.mean, sd=interval.sd, low=low, high=high, n=interval.n, photographs=interval.photographs
    )


def reported(report: Report) -> models.ReportedSweep:
    cells = [
        models.ReportedCell(
            arm=row.arm,
            metric=metric,
            ours=_interval(entry.ours),
            difference=_interval(entry.difference),
            adjusted_p=entry.comparison.adjusted_p if entry.comparison else None,
            differs=entry.comparison.differs if entry.comparison else None,
            published=[figure.text for figure in entry.published],
        )
        for row in report.table.rows
        for metric, entry in row.entries.items()
    ]
    fields = models.VerdictOutput.model_fields
    return models.ReportedSweep(
        name=report.study.name,
        question=report.study.plan["question"],
        protocol=_protocol(report.study.protocol),
        answer=list(report.answer),
        cells=cells,
        verdicts=[models.VerdictOutput(**{name: getattr(one, name) for name in fields}) for one in report.verdicts],
    )


def claims(lines: Iterable[ClaimLine]) -> models.ClaimsOutput:
    fields = set(models.ClaimOutput.model_fields) - {"protocol"}
    return models.ClaimsOutput(
        claims=[
            models.ClaimOutput(**{name: getattr(line, name) for name in fields}, protocol=_protocol(line.protocol))
            for line in lines
        ]
    )


def comparison(found: SweepComparison) -> models.CompareOutput:
    cells = [
        models.ComparedCell(
            arm=cell.arm,
            metric=cell.metric,
            before=_interval(cell.before),
            after=_interval(cell.after),
            difference=_interval(cell.difference),
            verdict=cell.verdict,
        )
        for cell in found.arms
    ]
    return models.CompareOutput(drifted=found.drifted, cells=cells, unmatched=found.unmatched, mixed=list(found.mixed))


def doctor(checks: Iterable[CheckResult]) -> models.DoctorOutput:
    lines = [models.DoctorCheck(state=one.state, what=one.what, do=one.do) for one in checks]
    return models.DoctorOutput(ready=all(line.state != "failed" for line in lines), checks=lines)


def audit(found: Audit) -> models.AuditOutput:
    from analysis.audit import audit_text

    return models.AuditOutput(
        metric=found.table.metric,
        unit=found.table.unit,
        goal=found.goal,
        tested=found.tested,
        methods=[
            models.AuditedMethod(
                name=method.name,
                value=_interval(method.mean),
                rank=(method.best_rank, method.worst_rank) if found.tested else None,
                first_in_resamples=method.first,
            )
            for method in found.methods
        ],
        pairs=[
            models.AuditedPair(
                better=pair.better,
                worse=pair.worse,
                difference=_interval(pair.difference),
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


# --- gate -------------------------------------------------------------------------------------------------------------


def gate(found: Ledger) -> models.GateOutput:
    from analysis.statistics.sequential.candidates import SESSION_ALPHA

    settings, program = found.settings, found.program(found.incumbent)
    return models.GateOutput(
        name=settings.name,
        metric=settings.metric,
        goal=settings.goal,
        incumbent=found.incumbent,
        label=program.label,
        command=[str(part) for part in program.run],
        code=program.code,
        budget=settings.budget,
        tried=found.tested,
        runs=found.runs,
        error=models.GateError(allowed=SESSION_ALPHA, spent=found.spent, left=SESSION_ALPHA - found.spent),
        candidates=[gate_candidate(one, found.decisions.get(one.number)) for one in found.candidates],
    )


def gate_candidate(candidate: Candidate, decision: GateDecision | None) -> models.GateCandidate:
    return models.GateCandidate(
        number=candidate.number,
        label=candidate.program.label,
        incumbent=candidate.incumbent,
        verdict=decision.verdict if decision else None,
        reason=decision.reason if decision else "",
        difference=decision.mean if decision else None,
        sd=decision.sd if decision else None,
        pairs=decision.pairs if decision else 0,
        own_pairs=decision.own_pairs if decision else 0,
        runs=decision.runs if decision else 0,
        e_value=decision.e_value if decision else 1.0,
        needed=1 / candidate.level,
        spent=decision.spent if decision else 0.0,
        sweep=candidate.sweep,
    )


def gate_try(found: Ledger, decision: GateDecision) -> models.GateTryOutput:
    candidate = next(one for one in found.candidates if one.number == decision.number)
    return models.GateTryOutput(
        name=found.settings.name,
        candidate=gate_candidate(candidate, decision),
        incumbent=found.incumbent,
        label=found.program(found.incumbent).label,
        left=found.settings.budget - found.tested,
    )


# --- protocols and scores ---------------------------------------------------------------------------------------------


def protocols(found: Iterable[NamedProtocol]) -> models.ProtocolsOutput:
    return models.ProtocolsOutput(
        protocols=[
            models.ProtocolOutput(
                name=one.name,
                hash=one.hash,
                equality=one.content.equality,
                about=one.content.about,
                evaluation=one.content.evaluation(),
            )
            for one in found
        ]
    )


def scored(table: ScoreTable) -> models.ScoreOutput:
    scores = table.scores
    fills = [
        models.ScoredFill(
            name=row.name,
            untrained=row.untrained,
            runs=row.runs,
            values={metric: _interval(cell) for metric, cell in row.cells.items()},
            over_seeds={metric: _interval(cell) for metric, cell in row.over_seeds.items()},
            by_group={
                group: {metric: _interval(cell) for metric, cell in cells.items()}
                for group, cells in row.by_group.items()
            },
            changed_images=row.changed[0],
            changed_px=row.changed[1],
            largest_change=row.changed[2],
        )
        for row in table.rows
    ]
    pairs = [
        models.ScoredPair(
            metric=pair.metric,
            better=pair.better,
            worse=pair.worse,
            difference=_interval(pair.difference),
            p_holm=pair.test.adjusted_p,
            differs=pair.test.differs,
        )
        for pair in table.pairs
    ]
    one = None if table.mixed else scores  # mixed scores have those of the first file
    return models.ScoreOutput(
        mixed=table.mixed,
        protocol=one and one.protocol,
        hash=one and one.hash,
        evaluation=one and one.evaluation,
        images=len(scores.names),
        images_checksum=one and one.tested.pixels,
        masks_checksum=one and one.tested.masks,
        hole_fraction=one and sum(one.hole_fractions) / len(one.hole_fractions),
        fills=fills,
        pairs=pairs,
        notes=list(table.notes),
    )
