"""Tries a candidate of a gate: keeps its files, draws its seeds, runs pairs until there is a verdict, stores that."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.api.gate import holder, ledger, mistakes, snapshot
from sweeps.api.gate.ledger import Candidate, GateDecision, GateProgram, GateSettings, Ledger, Verdict
from sweeps.api.gate.pairs import FailedRun, Pairs, Progress, sweep_name, words
from sweeps.errors import SweepError
from sweeps.run_options import RunOptions
from sweeps.wording import count

if TYPE_CHECKING:
    from sweeps.store.base import Store

LABEL_MOST = 60
"""Characters of a label."""
IN_PROCESS = "in-process"
SAME = 5
"""Pairs after which a program that has the same result on every seed is refused; no candidate is kept before."""


def start(store: Store, settings: GateSettings) -> Ledger:
    """Store a new gate. Raises SweepError if there is one of this name, and for settings that no run could use."""
    if settings.budget < 1:
        raise SweepError(
            f"--budget {settings.budget}", "no candidate could be tried", "1 or more candidates", "--budget 50"
        )
    mistakes.check_metric(settings.metric)
    check = Candidate(1, settings.initial, 0, 0.0, None, [0], [], sweep_name(settings.name, 1, "check"))
    with mistakes.of_options(settings.metric, settings.goal):
        Pairs(store, settings, check, settings.initial)  # plans the initial program
    if not ledger.write_settings(store, settings):
        raise SweepError(
            f"gate {settings.name!r}",
            f"the store {store.uri} has a gate of this name, and its error is spent over its candidates alone",
            "a name that is new, or a store that is new",
            f"--name {settings.name}-2, or `sweeps gate try` to go on with this one",
        )
    return ledger.read(store, settings.name)


def decide(store: Store, name: str, program: GateProgram, options: RunOptions, progress: Progress) -> int:
    """Try a program, unless it was decided just now; returns the number of its candidate."""
    found = ledger.read(store, name)
    candidate = _candidate(store, found, program)
    if candidate.number not in found.decisions:
        options = dataclasses.replace(options, retry=True, address=options.address or IN_PROCESS)
        ledger.write_decision(store, name, _try(store, found, candidate, options, progress))
    return candidate.number


def abandon(store: Store, name: str) -> None:
    """Discard the candidate that is not decided, if there is one, with the pairs that the store has."""
    found = ledger.read(store, name)
    candidate = found.open
    if candidate is None:
        return
    tried, incumbent = _Tried(candidate), found.program(candidate.incumbent)
    if not candidate.program.same(incumbent):
        pairs = Pairs(store, found.settings, candidate, incumbent)
        while tried.verdict is None and (values := pairs.known(tried.seed)) is not None:
            tried.add(found.settings, values)
    tried.evidence.add_lost_bet()  # the pair that was interrupted may have been seen
    ledger.write_decision(store, name, tried.decision(found, "discard", "it was abandoned"))


# --- what is tried ----------------------------------------------------------------------------------------------------


def split(command: str) -> list[str | int | float]:
    """The program and arguments of a command line."""
    try:
        parts = shlex.split(command)
    except ValueError as error:
        why = f"its quotes do not match: {error}"
        raise SweepError(f"--command {command!r}", why, "a command line", '--command "python train.py"') from None
    if not parts:
        raise SweepError("--command", "it is empty", "a command line", '--command "python train.py --seed {seed}"')
    return list(parts)


def program(
    store: Store, label: str, run: list[str | int | float], folder: Path, patterns: Sequence[str]
) -> GateProgram:
    """A program as its files are now, which are kept in the store. patterns: of the files, see `snapshot.take`."""
    from cluster.worker.user_code import store_code
    from sweeps.spec.arms.arm_names import usable

    try:
        usable(label)
        why = "" if len(label) <= LABEL_MOST else f"it has {len(label)} characters"
    except ValueError as error:
        why = str(error)
    if why:
        allowed = f"up to {LABEL_MOST} visible characters: it becomes a row of tables"
        raise SweepError(f"--label {label!r}"[:200], why, allowed, '--label "wider head"')
    digest, names = snapshot.take(folder.resolve(), patterns, store)
    snapshot.check_covered(folder, run, names)
    store_code(store, "command", [{"code_hash": digest}])
    return GateProgram(label, run, digest)


def _candidate(store: Store, found: Ledger, program: GateProgram) -> Candidate:
    """The candidate to try: one that was not decided, the newest one again, or a new one."""
    again = found.open or (found.candidates[-1] if found.candidates else None)
    if again is not None and again.program.label == program.label and again.program.same(program):
        return again
    if found.open is not None:
        open_label = found.open.program.label
        changed = ", and the files or the command have changed since" if open_label == program.label else ""
        raise SweepError(
            f"--label {program.label!r}",
            f"candidate {found.open.number} {open_label!r} is not decided{changed}",
            f"the same candidate again, which continues (its files: code/{found.open.program.code}/ in the store), or "
            "a new one after it was abandoned",
            f"sweeps gate try --label {shlex.quote(open_label)}, with its files, or "
            f"sweeps gate try --label {shlex.quote(program.label)} --abandon",
        )
    return _registered(store, found, program)


def _registered(store: Store, found: Ledger, program: GateProgram) -> Candidate:
    """A new candidate, whose seeds are drawn now that its files are fixed."""
    from analysis.statistics.sequential import candidates as rule

    settings, number, incumbent = found.settings, len(found.candidates) + 1, found.incumbent
    left = settings.budget - found.tested
    if left < 1:
        raise SweepError(
            f"gate {settings.name!r}",
            f"its budget of {count(settings.budget, 'candidate')} is used up",
            "a new gate, which has an error and a budget of its own",
            f"sweeps gate init --name {settings.name}-2 with --command, --metric and --goal as before",
        )
    before = [one for one in found.candidates if one.incumbent == incumbent]
    seeds = found.new_seeds(rule.SCREENING + rule.MAX_PAIRS)
    shared = before[0].shared_seeds if before else seeds[: rule.SCREENING]
    decided = found.decisions.values()
    typical = rule.typical_spread((decision.pairs, decision.squares) for decision in decided)
    candidate = Candidate(
        number,
        program,
        incumbent,
        float(rule.level(rule.SESSION_ALPHA - found.spent, left)),
        typical if math.isfinite(typical) else None,
        shared,
        seeds[rule.SCREENING :],
        sweep_name(settings.name, number, program.label),
    )
    if not ledger.write_candidate(store, settings.name, candidate):
        raise holder.busy(store, settings.name)
    return candidate


# --- trying it --------------------------------------------------------------------------------------------------------


class _Tried:
    """A candidate with the evidence of its pairs so far."""

    def __init__(self, candidate: Candidate) -> None:
        from analysis.statistics.sequential.candidates import Evidence

        self.candidate, self.own = candidate, 0
        self.values: list[tuple[float, float]] = []
        """Of incumbent and candidate, pair by pair."""
        self.evidence = Evidence(math.nan if candidate.typical is None else candidate.typical)

    @property
    def own_next(self) -> bool:
        """Whether the next seed is one of the candidate's own, not of the screening."""
        return bool(self.evidence.screened)

    @property
    def seed(self) -> int:
        """The next seed."""
        if self.own_next:
            return self.candidate.own_seeds[self.own]
        return self.candidate.shared_seeds[self.evidence.pairs]

    def add(self, settings: GateSettings, values: tuple[float, float]) -> None:
        self.own += self.own_next
        self.values.append(values)
        self.evidence.add(settings.difference(*values))

    def ignores_seed(self, arm: int) -> bool:
        """Whether the incumbent (0) or the candidate (1) has the same result on every seed."""
        return len(self.values) >= SAME and len({pair[arm] for pair in self.values}) == 1

    @property
    def verdict(self) -> tuple[Verdict, str] | None:
        """The verdict and its reason; None as long as there is none."""
        from analysis.statistics.sequential.candidates import MAX_PAIRS

        if self.ignores_seed(1):
            return "discard", "its result is the same on every seed, so its noise is not known"
        if self.evidence.reaches(self.candidate.level):
            return "keep", "it is better beyond chance"
        if self.evidence.futile:
            mean = self.evidence.mean
            return (
                "discard",
                "it makes no difference" if not mean else f"it is {'hardly' if mean > 0 else 'not'} better",
            )
        return ("undecided", f"{MAX_PAIRS} pairs did not decide") if self.evidence.pairs >= MAX_PAIRS else None

    def decision(self, found: Ledger, verdict: Verdict, reason: str) -> GateDecision:
        from analysis.statistics.sequential import candidates as rule

        evidence, level = self.evidence, self.candidate.level
        screening = evidence.pairs - self.own
        return GateDecision(
            self.candidate.number,
            verdict,
            reason,
            pairs=evidence.pairs,
            own_pairs=self.own,
            runs=evidence.pairs + self.own + max(0, screening - found.screened(self.candidate.incumbent)),
            mean=float(evidence.mean) if evidence.pairs else None,
            sd=math.sqrt(evidence.squares / (evidence.pairs - 1)) if evidence.pairs > 1 else None,
            squares=float(evidence.squares),
            e_value=math.exp(evidence.log_e),
            spent=float(rule.spent(level, evidence.log_e, verdict == "keep")),
        )


def _try(store: Store, found: Ledger, candidate: Candidate, options: RunOptions, progress: Progress) -> GateDecision:
    """Run pairs until there is a verdict."""
    tried, incumbent = _Tried(candidate), found.program(candidate.incumbent)
    if candidate.program.same(incumbent):
        return tried.decision(found, "discard", "it is the program of the incumbent")
    pairs = Pairs(store, found.settings, candidate, incumbent)
    while (ended := tried.verdict) is None:
        own, seed = tried.own_next, tried.seed
        values = (pairs.failure(seed) if own else None) or pairs.run(seed, options)
        if isinstance(values, FailedRun):
            tried.evidence.add_lost_bet()
            return tried.decision(found, "discard", f"its program failed: {values.why}")
        tried.add(found.settings, values)
        progress(words(pairs.arms, values, tried.evidence.pairs, own))
        if tried.ignores_seed(0):
            raise _same_results(pairs.arms[0])
    return tried.decision(found, *ended)


def _same_results(incumbent: str) -> SweepError:
    return SweepError(
        f"incumbent {incumbent!r}",
        f"its result was the same on {SAME} seeds: it ignores the seed, so its noise is not known",
        "a program that takes its seed from {seed} in --command, or from the environment variable SWEEPS_SEED",
        "let the program use the seed, then start a gate with it: sweeps gate init --name NAME",
    )
