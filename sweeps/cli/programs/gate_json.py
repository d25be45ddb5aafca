"""The JSON documents of `gate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sweeps.cli.programs.json_document import JsonDocument, JsonOutput

if TYPE_CHECKING:
    from sweeps.api.gate.ledger import Candidate, GateDecision, Ledger


class GateCandidate(JsonOutput):
    number: int = Field(description="number of the candidate, from 1")
    label: str = Field(description="its label")
    incumbent: int = Field(description="number of the candidate that it is compared with; 0: the initial program")
    verdict: Literal["keep", "discard", "undecided"] | None = Field(description="null: it is being tried")
    reason: str = Field(description="why, as the end of a sentence; empty without a verdict")
    difference: float | None = Field(description="mean difference to the incumbent; above 0 is better")
    sd: float | None = Field(description="standard deviation of a difference; null for fewer than two pairs")
    pairs: int = Field(description="seeds on which both have run")
    own_pairs: int = Field(description="of these, seeds that were drawn for this candidate: they alone can keep it")
    runs: int = Field(description="runs that it needed, with those of the incumbent")
    e_value: float = Field(description="evidence for keeping it")
    needed: float = Field(description="the e-value that keeps it: 1 / the error that it may use")
    spent: float = Field(description="error that it used up")
    sweep: str = Field(description="name of the sweep with its runs")


class GateError(JsonOutput):
    allowed: float = Field(description="chance of keeping anything useless, over the whole session, at most")
    spent: float = Field(description="used up by the verdicts so far")
    left: float = Field(description="left for later candidates")


class GateOutput(JsonDocument):
    """Of `gate init` and `gate status`."""

    name: str = Field(description="name of the gate")
    metric: str = Field(description="the column that decides")
    goal: Literal["max", "min"] = Field(description="whether higher or lower is better")
    incumbent: int = Field(description="number of the candidate that was kept last; 0: the initial program")
    label: str = Field(description="label of the incumbent")
    command: list[str] = Field(description="its program and arguments")
    code: str = Field(description="hash of its files, `code/<hash>/` in the store")
    budget: int = Field(description="candidates that can be tried")
    tried: int = Field(description="candidates that count towards the budget; those that failed at once do not")
    runs: int = Field(description="runs so far")
    error: GateError = Field(description="the error over the session")
    candidates: list[GateCandidate] = Field(description="the candidates in the order in which they were tried")


class GateTryOutput(JsonDocument):
    """Of `gate try`."""

    name: str = Field(description="name of the gate")
    candidate: GateCandidate = Field(description="the candidate with its verdict")
    incumbent: int = Field(description="number of the incumbent now")
    label: str = Field(description="label of the incumbent now")
    left: int = Field(description="candidates that can still be tried")


def gate(found: Ledger) -> GateOutput:
    from analysis.statistics.sequential.candidates import SESSION_ALPHA

    settings, program = found.settings, found.program(found.incumbent)
    return GateOutput(
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
        error=GateError(allowed=SESSION_ALPHA, spent=found.spent, left=SESSION_ALPHA - found.spent),
        candidates=[gate_candidate(one, found.decisions.get(one.number)) for one in found.candidates],
    )


def gate_candidate(candidate: Candidate, decision: GateDecision | None) -> GateCandidate:
    return GateCandidate(
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


def gate_try(found: Ledger, decision: GateDecision) -> GateTryOutput:
    candidate = next(one for one in found.candidates if one.number == decision.number)
    return GateTryOutput(
        name=found.settings.name,
        candidate=gate_candidate(candidate, decision),
        incumbent=found.incumbent,
        label=found.program(found.incumbent).label,
        left=found.settings.budget - found.tested,
    )
