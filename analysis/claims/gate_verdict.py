"""The claim of a candidate of a gate: the gate has decided it, and not an interval of a number of seeds that it chose.

A candidate that is kept is better beyond chance. One that is discarded is hardly better, which does not contradict the
claim beyond chance, so it is undecided.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis import wording
from analysis.study import Study
from sweeps.store.layout import get_intact, join

_KEPT = "keep"


@dataclass(frozen=True)
class GateVerdict:
    """What a gate says about the candidate of a study."""

    kept: bool
    sentence: str


def of_study(study: Study) -> GateVerdict | None:
    """The verdict on the candidate whose runs a study has; None for other studies."""
    gate = study.plan.get("gate")
    if not gate:
        return None
    found = get_intact(study.store, join("gates", gate["name"], "verdicts", f"{gate['candidate']:04d}.json"))
    said = f"Candidate {gate['candidate']} of the gate {wording.quoted(gate['name'])}: "
    if found is None:
        has_gate = study.store.exists_many([join("gates", gate["name"], "gate.json")])
        why = "no verdict yet" if has_gate else "this store does not have the gate, so its verdict is not known"
        return GateVerdict(False, f"{said}{why}.")
    verdict = f"{found['verdict']}, because {found['reason']} (e-value {found['e_value']:.3g})."
    caution = "The interval ignores that seeds were added until a verdict; only the gate's verdict is valid."
    return GateVerdict(found["verdict"] == _KEPT, f"{said}{verdict} {caution}")
