"""Runs an incumbent and a candidate on one seed after the other, as the trials of an ordinary sweep of task `command`.

The sweep names the files of both arms by their hashes, so it runs what was kept, whatever the folder holds now. Trials
are shared by identity: an incumbent that has run on a seed for another candidate does not run on it again.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.api.arguments import LoadedSweep
from sweeps.errors import SweepError
from sweeps.run_options import RunOptions
from sweeps.spec.plan import Plan

if TYPE_CHECKING:
    from sweeps.api.gate.ledger import Candidate, GateProgram, GateSettings
    from sweeps.store.base import Store


@dataclasses.dataclass(frozen=True)
class CandidatePlan(Plan):
    """The plan of a candidate's sweep with the seeds so far; its file has all that the gate may use."""

    candidate: int = 0
    gate: str = ""

    @property
    def seeds(self) -> list[int]:
        return list(self.arms[0].trials)

    def to_json(self, command: list[str]) -> dict[str, Any]:
        return {**super().to_json(command), "gate": {"name": self.gate, "candidate": self.candidate}}


@dataclasses.dataclass(frozen=True)
class FailedRun:
    """Why the program of a candidate has no value, as the end of a sentence."""

    why: str


class Pairs:
    """The sweep of one candidate, of which more and more seeds are run."""

    def __init__(self, store: Store, settings: GateSettings, candidate: Candidate, incumbent: GateProgram) -> None:
        self._store, self._settings, self._candidate = store, settings, candidate
        self._sweep = _sweep(settings, candidate, incumbent)
        self._plan = _plan(self._sweep)
        self.arms = tuple(arm.name for arm in self._plan.arms)
        """Names of the incumbent and of the candidate in the sweep."""
        self._seeds: list[int] = []

    def run(self, seed: int, options: RunOptions) -> tuple[float, float] | FailedRun:
        """The values of incumbent and candidate on one more seed; finished runs are read from the store.

        Raises SweepError if the incumbent fails, or if somebody stops the run.
        """
        from cluster.driver.execution import NoEvents, execute_plan

        self._seeds.append(seed)
        arms = (
            dataclasses.replace(arm, trials={one: arm.trials[one] for one in self._seeds}) for arm in self._plan.arms
        )
        plan = CandidatePlan(self._plan.sweep, tuple(arms), (), self._candidate.number, self._settings.name)
        execute_plan(plan, self._store, options, NoEvents())
        incumbent, candidate = (self._value(arm, seed) for arm in range(2))
        if isinstance(incumbent, FailedRun):
            raise SweepError(
                f"incumbent {self.arms[0]!r}",
                f"it fails now: {incumbent.why}",
                "an incumbent whose program runs; no candidate can be compared with it, and no error was spent",
                f"repair what its run needs (sweeps status {self._plan.name} names the trial, sweeps show prints its "
                "log), then repeat the command",
            )
        return candidate if isinstance(candidate, FailedRun) else (incumbent, candidate)

    def failure(self, seed: int) -> FailedRun | None:
        """Why the candidate failed on a seed in a call that was killed; None if it did not.

        A bet counts once, so such a run is not repeated. None as well if the incumbent failed: then no verdict is made.
        """
        from sweeps.results import failures, progress

        incumbent, candidate = (arm.trials[seed] for arm in self._plan.arms)
        states = progress.states_of(self._store, {one.id: (one.epochs,) for one in (incumbent, candidate)})
        state = states[candidate.id]
        if state.state != "failed" or states[incumbent.id].state == "failed":
            return None
        return FailedRun(failures.summary(state.error or {}))

    def known(self, seed: int) -> tuple[float, float] | None:
        """The values of incumbent and candidate on a seed, if the store has both."""
        values = [self._read(arm, seed) for arm in range(2)]
        incumbent, candidate = values
        return None if incumbent is None or candidate is None else (incumbent, candidate)

    def _read(self, arm: int, seed: int) -> float | None:
        from sweeps.store.layout import get_intact, result_key

        trial = self._plan.arms[arm].trials[seed]
        result = get_intact(self._store, result_key(trial.id, trial.epochs))
        return None if result is None else result["history"].get(self._settings.metric, [None])[-1]

    def _value(self, arm: int, seed: int) -> float | FailedRun:
        from sweeps.results import failures, progress

        value = self._read(arm, seed)
        if value is not None:
            return value
        trial = self._plan.arms[arm].trials[seed]
        state = progress.states_of(self._store, {trial.id: (trial.epochs,)})[trial.id]
        if state.state == "failed":
            return FailedRun(failures.summary(state.error or {}))
        if state.state == "done":
            return FailedRun(f"its last record has no {self._settings.metric}")
        raise SweepError(
            f"sweep {self._plan.name!r}",
            f"its run was stopped before {self.arms[arm]!r} had ended",
            "a run that is not stopped; finished runs are kept, and there is no verdict yet",
            "repeat the command: it continues",
        )


def sweep_name(gate: str, number: int, label: str) -> str:
    """`gate-0003-wider-head`."""
    slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
    return "-".join(filter(None, [gate, f"{number:04d}", slug]))[:80].rstrip("-")


def _sweep(settings: GateSettings, candidate: Candidate, incumbent: GateProgram) -> LoadedSweep:
    from sweeps.api import mappings
    from sweeps.spec import loader

    base, arm = incumbent.label, candidate.program.label
    if base == arm:
        arm = f"{arm} ({candidate.number})"
    changes = {"run": candidate.program.run, "code_hash": candidate.program.code}
    given: dict[str, Any] = {
        "name": candidate.sweep,
        "task": "command",
        "base": {
            "run": incumbent.run,
            "code": settings.files or ["**"],
            "code_hash": incumbent.code,
            "epochs": settings.epochs,
            "timeout": settings.timeout,
            "metrics": {settings.metric: settings.goal},
            "other_columns": "ignore",
        },
        "base_name": base,
        "seeds": [*candidate.shared_seeds, *candidate.own_seeds],
        "arms": [{"name": arm, "set": changes}],
        "claims": [{"text": f"{arm} is better", "metric": settings.metric, "better": arm, "than": base}],
        "resources": settings.resources,
        "report": {"metrics": [settings.metric]},
    }
    question = f"Is {arm} better than {base}?\nCandidate {candidate.number} of the gate {settings.name}, which adds a "
    question += f"seed at a time; its verdict: sweeps gate status --name {settings.name}"
    return LoadedSweep(loader.adapt(mappings.document(given, question, Path())[0]), None)


def _plan(sweep: LoadedSweep) -> Plan:
    from sweeps.spec import expand
    from trainables import schema

    return expand.expand(sweep.sweep, schema)


Progress = Callable[[str], None]
"""Receives a sentence for each pair."""


def words(arms: Sequence[str], values: Sequence[float], pair: int, own: bool) -> str:
    """'pair 3: initial 27.1, wider head 27.4'."""
    shown = ", ".join(f"{arm} {value:.6g}" for arm, value in zip(arms, values, strict=True))
    return f"pair {pair}{' (own seed)' if own else ''}: {shown}"
