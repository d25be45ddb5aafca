"""What a gate has stored: its settings, its candidates and their verdicts, `gates/<name>/` in a store.

Each object is created once. What has no verdict is not decided; what the error and the incumbent are follows from the
verdicts, so nothing else has to be kept in step.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from sweeps.errors import SweepError, UnknownNameError
from sweeps.results.columns import SCHEMA
from sweeps.store import listing
from sweeps.store.base import Store
from sweeps.store.layout import Json, dump, get_json, join, load

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
Goal = Literal["max", "min"]
Verdict = Literal["keep", "discard", "undecided"]
SEEDS = 2**31
"""Seeds lie below this."""


@dataclass(frozen=True)
class GateProgram:
    """What runs: a command and the files that it runs in."""

    label: str
    run: list[str | int | float]
    """Program and arguments, as `run` of task `command`."""
    code: str
    """Hash of the files, `code/<hash>/` in the store."""

    def same(self, other: GateProgram) -> bool:
        """Whether it runs the same, whatever its label."""
        return (self.run, self.code) == (other.run, other.code)


@dataclass(frozen=True)
class GateSettings:
    """What a gate was started with."""

    name: str
    metric: str
    goal: Goal
    budget: int
    """Candidates of a session."""
    epochs: int
    timeout: float | None
    files: list[str]
    """Patterns of the program's files; empty: all of the folder."""
    initial: GateProgram
    """The first incumbent."""
    resources: dict[str, Any] = field(default_factory=dict)
    """Of a run, as `resources` of a sweep file."""
    created_at: float = field(default_factory=time.time)

    def difference(self, incumbent: float, candidate: float) -> float:
        """By how much a candidate's value is better than the incumbent's."""
        return candidate - incumbent if self.goal == "max" else incumbent - candidate


@dataclass(frozen=True)
class Candidate:
    """One change, with what was fixed before it ran."""

    number: int
    program: GateProgram
    incumbent: int
    """Number of the candidate that it is compared with; 0: the initial program."""
    level: float
    """Error that it may use."""
    typical: float | None
    """Standard deviation of a difference, as known from earlier candidates."""
    shared_seeds: list[int]
    """Seeds of the screening, the same for all candidates of an incumbent."""
    own_seeds: list[int]
    """Seeds that were drawn for this candidate alone, after its files were fixed."""
    sweep: str
    """Name of the sweep with its runs."""
    registered_at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class GateDecision:
    """How a candidate ended."""

    number: int
    verdict: Verdict
    reason: str
    """Why, as the end of a sentence."""
    pairs: int = 0
    own_pairs: int = 0
    """Of these, pairs on its own seeds, which alone can keep it."""
    runs: int = 0
    """Trainings that it needed, with those of the incumbent."""
    mean: float | None = None
    """Of the differences, in the unit of the metric; above 0 is better."""
    sd: float | None = None
    squares: float = 0.0
    """Sum of the squared deviations of the differences from their mean."""
    e_value: float = 1.0
    spent: float = 0.0
    """Error that it used up."""
    decided_at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Ledger:
    """A gate as it is stored."""

    settings: GateSettings
    candidates: list[Candidate]
    """In the order in which they were tried."""
    decisions: dict[int, GateDecision]
    """By number of the candidate."""

    @property
    def open(self) -> Candidate | None:
        """The candidate that is not decided."""
        return next((one for one in self.candidates if one.number not in self.decisions), None)

    @property
    def incumbent(self) -> int:
        """Number of the candidate that was kept last; 0: the initial program."""
        kept = [number for number, decision in self.decisions.items() if decision.verdict == "keep"]
        return max(kept, default=0)

    def program(self, number: int) -> GateProgram:
        """The program of a candidate, or the initial one."""
        if number == 0:
            return self.settings.initial
        return next(one.program for one in self.candidates if one.number == number)

    @property
    def tested(self) -> int:
        """Candidates that count towards the budget: those with a difference, or still open."""
        return sum(one.number not in self.decisions or self.decisions[one.number].pairs > 0 for one in self.candidates)

    @property
    def spent(self) -> float:
        """Error used up so far."""
        return sum(decision.spent for decision in self.decisions.values())

    @property
    def runs(self) -> int:
        return sum(decision.runs for decision in self.decisions.values())

    def screened(self, incumbent: int) -> int:
        """Seeds of the screening on which an incumbent has run."""
        numbers = [one.number for one in self.candidates if one.incumbent == incumbent]
        ended = [self.decisions[number] for number in numbers if number in self.decisions]
        return max((one.pairs - one.own_pairs for one in ended), default=0)

    def new_seeds(self, number: int) -> list[int]:
        """Seeds that no candidate of this gate has, from the random numbers of the operating system."""
        used = {seed for one in self.candidates for seed in (*one.shared_seeds, *one.own_seeds)}
        return draw(number, used)


def draw(number: int, used: Collection[int]) -> list[int]:
    seeds: list[int] = []
    while len(seeds) < number:
        seed = secrets.randbelow(SEEDS)
        if seed not in used and seed not in seeds:
            seeds.append(seed)
    return seeds


# --- the store --------------------------------------------------------------------------------------------------------


def settings_key(name: str) -> str:
    return join("gates", name, "gate.json")


def _key(name: str, kind: str, number: int) -> str:
    return join("gates", name, kind, f"{number:04d}.json")


def write_settings(store: Store, settings: GateSettings) -> bool:
    """Store a new gate. Returns False if the store has one of this name."""
    return store.create(settings_key(settings.name), _dump(settings))


def write_candidate(store: Store, name: str, candidate: Candidate) -> bool:
    """Store a new candidate. Returns False if there is one of this number."""
    return store.create(_key(name, "candidates", candidate.number), _dump(candidate))


def write_decision(store: Store, name: str, decision: GateDecision) -> bool:
    """Store a verdict, which is final. Returns False if there is one."""
    return store.create(_key(name, "verdicts", decision.number), _dump(decision))


def _dump(value: Any) -> bytes:
    return dump({"schema": SCHEMA, **asdict(value)})


def read(store: Store, name: str) -> Ledger:
    """A gate of a store. Raises UnknownNameError if there is none of this name, DamagedError for a damaged object."""
    body = get_json(store, settings_key(name)) if NAME.fullmatch(name) else None
    if body is None:
        known = ", ".join(names(store)) or "none yet: the store has no gate"
        why = f"the store {store.uri} has no gate of this name"
        raise UnknownNameError(f"gate {name!r}", why, known, 'sweeps gate init --command "..." starts one')
    candidates = [_candidate(one) for one in _numbered(store, name, "candidates")]
    decisions = [_made(GateDecision, one) for one in _numbered(store, name, "verdicts")]
    settings = _made(GateSettings, {**body, "initial": _made(GateProgram, body["initial"])})
    return Ledger(settings, candidates, {decision.number: decision for decision in decisions})


def names(store: Store) -> list[str]:
    """The gates of a store."""
    return listing.children(store, "gates")


def _numbered(store: Store, name: str, kind: str) -> list[Json]:
    """The objects of a kind by number. A damaged one is an error: no verdict may be lost in silence."""
    keys = [_key(name, kind, number) for number in listing.numbers(store, join("gates", name, kind))]
    bodies = store.get_many(keys)
    return [load(key, bodies[key]) for key in keys if key in bodies]


def _candidate(body: Json) -> Candidate:
    candidate: Candidate = _made(Candidate, {**body, "program": _made(GateProgram, body["program"])})
    return candidate


def _made(kind: Any, body: Json) -> Any:
    return kind(**{one.name: body[one.name] for one in fields(kind) if one.name in body})


def check_name(name: str) -> str:
    """Return the name of a gate. Raises SweepError for one that cannot begin names of sweeps."""
    if not NAME.fullmatch(name):
        why = "the name of a gate begins the names of its sweeps"
        allowed = "up to 40 lower-case letters, digits, - and _, beginning with a letter or digit"
        raise SweepError(f"--name {name!r}", why, allowed, "--name wider-heads")
    return name
