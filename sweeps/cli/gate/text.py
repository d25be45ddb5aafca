"""What a terminal shows of a gate."""

from __future__ import annotations

import shlex

from rich.text import Text

from sweeps.api.gate.ledger import Candidate, GateDecision, Ledger
from sweeps.cli import console
from sweeps.wording import count


def verdict(found: Ledger, decision: GateDecision) -> str:
    """The verdict, its reason, what was measured, how many candidates are left, and where to go back to.

    discard: 'wider head': it is hardly better (+0.02 against 'initial', mean of 4 pairs; e-value 1 of 23 needed).
    1 candidate left.
    """
    candidate = next(one for one in found.candidates if one.number == decision.number)
    than = found.program(candidate.incumbent).label
    measured = ""
    if decision.mean is not None:
        evidence = f"e-value {_short(decision.e_value)} of {1 / candidate.level:,.0f} needed"
        measured = f" ({decision.mean:+.4g} against {than!r}, mean of {count(decision.pairs, 'pair')}; {evidence})"
    left = count(found.settings.budget - found.tested, "candidate")
    files = f"\nFiles of the incumbent: code/{found.program(found.incumbent).code}/ in the store."
    said = f"{decision.verdict}: {candidate.program.label!r}: {decision.reason}{measured}. {left} left."
    return said if decision.verdict == "keep" else said + files


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
        f"{found.tested} of {count(settings.budget, 'candidate')} tried, {kept} kept, {count(found.runs, 'run')}; "
        f"error spent {found.spent:.2%} of {SESSION_ALPHA:.0%}"
    )
    if found.open is not None:
        label = shlex.quote(found.open.program.label)
        print(f"{found.open.number} is open: sweeps gate try --label {label} continues it, --abandon discards it")


def _row(found: Ledger, candidate: Candidate, decision: GateDecision | None) -> tuple[str, ...]:
    name, than = f"{candidate.number} {candidate.program.label}", found.program(candidate.incumbent).label
    if decision is None:
        return name, than, "open", *["-"] * 5
    difference = "" if decision.mean is None else f"{decision.mean:+.4g}"
    numbers = (str(decision.pairs), str(decision.runs), f"{_short(decision.e_value)} of {1 / candidate.level:,.0f}")
    return name, than, decision.verdict, difference, *numbers, f"{decision.spent:.3%}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
