"""What a terminal shows of a gate."""

from __future__ import annotations

from rich.text import Text

from sweeps.api.gate.ledger import Candidate, GateDecision, Ledger
from sweeps.cli import console


def verdict(found: Ledger, decision: GateDecision) -> str:
    """'discard: 'wider head' is hardly better than 'initial': +0.02 on average of 4 pairs, e-value 1 of 2,500.'"""
    candidate = next(one for one in found.candidates if one.number == decision.number)
    than = found.program(candidate.incumbent).label
    measured = ""
    if decision.mean is not None:
        pairs = f"{decision.pairs} pair{'s' * (decision.pairs != 1)}"
        evidence = f"e-value {_short(decision.e_value)} of {1 / candidate.level:,.0f} needed"
        measured = f" ({decision.mean:+.4g} to {than!r} in the mean of {pairs}; {evidence})"
    left = found.settings.budget - found.tested
    return f"{decision.verdict}: {candidate.program.label!r}: {decision.reason}{measured}. {left} candidates left."


def show(found: Ledger) -> None:
    """The candidates as a table, and where the gate stands."""
    from analysis.statistics.sequential.candidates import SESSION_ALPHA

    table = console.make_table("candidate", "against", "verdict", "difference", "pairs", "runs", "e-value", "spent")
    for one in found.candidates:
        table.add_row(*map(Text, _row(found, one, found.decisions.get(one.number))))
    if found.candidates:
        console.show(table)
    settings, program = found.settings, found.program(found.incumbent)
    kept = sum(decision.verdict == "keep" for decision in found.decisions.values())
    print(f"gate {settings.name}: {settings.metric}, {settings.goal}; incumbent {program.label!r} ({found.incumbent})")
    print(
        f"{found.tested} of {settings.budget} candidates tried, {kept} kept, {found.runs} runs; "
        f"error spent {found.spent:.2%} of {SESSION_ALPHA:.0%}"
    )


def _row(found: Ledger, candidate: Candidate, decision: GateDecision | None) -> tuple[str, ...]:
    name, than = f"{candidate.number} {candidate.program.label}", found.program(candidate.incumbent).label
    if decision is None:
        return name, than, "open", *[""] * 5
    difference = "" if decision.mean is None else f"{decision.mean:+.4g}"
    numbers = (str(decision.pairs), str(decision.runs), f"{_short(decision.e_value)} of {1 / candidate.level:,.0f}")
    return name, than, decision.verdict, difference, *numbers, f"{decision.spent:.3%}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
