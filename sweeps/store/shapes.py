"""The shape of each kind of JSON object in a store: its fields and their types, and what to do about a damaged one.

A model lists the fields that readers rely on; other fields are allowed, so that older and newer objects are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from sweeps.spec.schema import ClaimSpec, SeedsUntil
from sweeps.spec.trial import digest

Json = dict[str, Any]


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


# --- trials -----------------------------------------------------------------------------------------------------------


class _TrialShape(_Shape):
    task: str
    config: Json
    seed: int


class _ProcessShape(_Shape):
    machine: str | None = None
    pid: int = 0


class _ProvenanceShape(_Shape):
    code: Json | None = None
    versions: Json | None = None
    hardware: Json = {}
    modules: str | None = None
    ray_job: str | None = None
    ray_dashboard: str | None = None


class _ClaimShape(_Shape):
    number: int
    token: str
    claimed_at: float | None = None
    process: _ProcessShape = _ProcessShape()
    provenance: _ProvenanceShape = _ProvenanceShape()


class _BeatShape(_Shape):
    time: float = 0.0
    epoch: int | None = None
    record: dict[str, float | None] | None = None
    load: dict[str, float] = {}


class _TraceShape(_Shape):
    """The losses before a divergence; None for a value that is not finite."""

    epoch: int | None = None
    steps: list[int] = []
    terms: dict[str, list[float | None]] = {}
    epochs: dict[str, list[float | None]] = {}

    @model_validator(mode="after")
    def _columns_have_equal_lengths(self) -> _TraceShape:
        rows = len(self.epochs.get("epoch", ()))
        if any(len(values) != len(self.steps) for values in self.terms.values()) or any(
            len(values) != rows for values in self.epochs.values()
        ):
            raise ValueError("its columns do not have one value for each step or epoch")
        return self


class _ErrorShape(_Shape):
    type: str
    message: str
    traceback: str = ""
    trace: _TraceShape | None = None


class _EndShape(_Shape):
    state: str
    ended_at: float | None = None
    error: _ErrorShape | None = None


class _ResultShape(_Shape):
    attempt: str = ""
    epochs: int | None = None
    facts: Json = {}
    history: dict[str, list[float | None]]
    notes: list[str] = []
    started_at: float | None = None
    ended_at: float | None = None
    provenance: _ProvenanceShape = _ProvenanceShape()

    @model_validator(mode="after")
    def _columns_have_equal_lengths(self) -> _ResultShape:
        epochs = self.history.get("epoch")
        if not epochs or None in epochs or any(len(column) != len(epochs) for column in self.history.values()):
            raise ValueError("its columns do not have one value for each epoch")
        return self


class _StoredFileShape(_Shape):
    sha256: str
    text: str | None = None


class _ManifestShape(_Shape):
    files: dict[str, _StoredFileShape]


# --- sweeps -----------------------------------------------------------------------------------------------------------


class _PlannedTrialShape(_Shape):
    id: str
    epochs: int


class _ArmShape(_Shape):
    name: str
    set: Json | None = None
    factors: Json | None = None
    published: str | None = None
    baseline: str | None = None
    trains: bool = True
    config: Json
    trials: dict[Annotated[str, Field(pattern=r"^\d+$")], _PlannedTrialShape]


class _ReportShape(_Shape):
    at: str
    metrics: Annotated[list[str], Field(min_length=1)]
    test_epochs: list[int] = []
    extra: list[str | dict[str, Any]] = []
    statistic: str = "mean"
    correction: str = "holm"
    published: Json | None = None
    pareto: Json | None = None


class _PlannedClaimShape(ClaimSpec):
    model_config = ConfigDict(strict=True, extra="ignore")


class _PlannedSearchShape(_Shape):
    space: Json
    trials: int
    metric: str | list[str]
    goal: str | list[str]
    sampler: str = "tpe"
    arms: list[str]
    tune_seeds: list[int]
    report_best: int
    within_arms: bool
    constraints: dict[str, dict[str, float]] = {}


class _PlanGateShape(_Shape):
    name: str
    candidate: int


class _PlanShape(_Shape):
    name: str
    question: str | None = None
    header: str | None = None
    file: str | None = None
    task: str
    command: str | None = None
    tiny: bool = False
    size: Literal["full", "small", "tiny"] | None = None
    changes: list[str] = []
    text: str
    hash: str
    planned_at: float
    seeds: list[int]
    looks: SeedsUntil | None = None
    baseline: str
    arms: Annotated[list[_ArmShape], Field(min_length=1)]
    report: _ReportShape
    claims: list[_PlannedClaimShape]
    resources: Json = {}
    search: _PlannedSearchShape | None = None
    pins: Json = {}
    gate: _PlanGateShape | None = None

    @model_validator(mode="after")
    def _arms_have_all_seeds(self) -> _PlanShape:
        for arm in self.arms:
            # Where looks add seeds, an arm has the first ones.
            seeds = set(map(str, self.seeds[: len(arm.trials)] if self.looks else self.seeds))
            if arm.trials and arm.trials.keys() != seeds:
                raise ValueError(f"arm {arm.name!r} does not have one trial for each seed")
        return self


class _SearchShape(_Shape):
    arm: str
    space: Json
    sampler: str
    metrics: list[str]
    goals: list[str]
    seed: int
    trials: int
    constraints: dict[str, dict[str, float]] = {}


class _AskShape(_Shape):
    number: int
    asked_at: float
    overrides: Json
    params: Json
    distributions: dict[str, Json]
    study_attrs: Json
    trial_attrs: Json


class _TellShape(_Shape):
    number: int
    told_at: float
    state: Literal["complete", "pruned", "failed"]
    values: list[float]
    intermediate: list[Annotated[list[float | None], Field(min_length=2, max_length=2)]]
    constraints: dict[str, float] = {}


class _PrunedShape(_Shape):
    suggestion: int | None = None
    curve: list[Annotated[list[float], Field(min_length=2, max_length=2)]]


class _ModulesShape(_Shape):
    modules: dict[str, str]


class _CodeShape(_Shape):
    files: list[str]


class _FilesShape(_Shape):
    path: str
    files: dict[str, list[int | str]]


class _DataShape(_Shape):
    path: str
    digest: str


class _LeaksOfTrials(_Shape):
    count: int
    leaks: list[str]
    trials: list[str]


class _LeaksShape(_Shape):
    found: list[_LeaksOfTrials]


class _FreshShape(_Shape):
    trials: str
    began_at: float
    deleted: bool


_Line = Annotated[str, Field(max_length=300)]


class _NoteShape(_Shape):
    kind: Literal["note", "star", "view"]
    author: Annotated[str, Field(min_length=1, max_length=100)]
    written_at: float
    text: Annotated[str, Field(max_length=4000)] = ""
    tags: Annotated[list[Annotated[str, Field(pattern=r"^[\w.-]{1,40}$")]], Field(max_length=10)] = []
    trial: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,79}$")] | None = None
    page: Literal["sweep", "trial", "compare"] | None = None
    address: Annotated[dict[_Line, _Line | list[_Line]], Field(max_length=40)] = {}


class _ProgramShape(_Shape):
    label: str
    run: list[str | int | float]
    code: str


class _GateShape(_Shape):
    name: str
    metric: str
    goal: Literal["max", "min"]
    budget: int
    epochs: int
    timeout: float | None
    files: list[str]
    initial: _ProgramShape
    resources: Json = {}


class _CandidateShape(_Shape):
    number: int
    program: _ProgramShape
    incumbent: int
    level: float
    typical: float | None
    shared_seeds: list[int]
    own_seeds: list[int]
    sweep: str


class _VerdictShape(_Shape):
    number: int
    verdict: Literal["keep", "discard", "undecided"]
    reason: str
    pairs: int
    own_pairs: int
    runs: int
    squares: float
    e_value: float
    spent: float


class _TryShape(_Shape):
    process: _ProcessShape = _ProcessShape()


# --- kinds ------------------------------------------------------------------------------------------------------------

_RUN = "`sweeps run FILE` "


@dataclass(frozen=True)
class _Kind:
    """A kind of object: those whose keys match a pattern."""

    key: re.Pattern[str]
    shape: Any
    remedy: str
    agrees: Callable[[Json, str], bool] = lambda value, name: True
    """Whether a value agrees with the name in its key (the last group of the pattern)."""


def _is_trial(value: Json, trial_id: str) -> bool:
    """Whether the id of a trial is its key's and the hash of its identity."""
    return value.get("id", trial_id) == trial_id and ("identity" not in value or digest(value["identity"]) == trial_id)


def _kind(key: str, shape: Any, remedy: str, agrees: Callable[[Json, str], bool] = lambda value, name: True) -> _Kind:
    return _Kind(re.compile(key), shape, remedy, agrees)


KINDS = (
    _kind(
        r"trials/([^/]+)/trial\.json",
        _TrialShape,
        f"delete this one object; {_RUN}writes it again",
        _is_trial,
    ),
    _kind(
        r"trials/[^/]+/result/([^/]+)\.json",
        _ResultShape,
        f"{_RUN}finishes the trial again from its last checkpoint",
        lambda value, epochs: str(value.get("epochs", epochs)) == epochs,
    ),
    _kind(
        r"trials/[^/]+/attempts/0*(\d+)\.json",
        _ClaimShape,
        f"{_RUN}makes a new attempt if the trial is not finished",
        lambda value, number: str(value["number"]) == number,
    ),
    _kind(r"trials/[^/]+/attempts/[^/]+\.beat\.json", _BeatShape, "it is for display only and can be deleted"),
    _kind(
        r"trials/[^/]+/attempts/[^/]+\.end\.json", _EndShape, f"{_RUN}makes a new attempt if the trial is not finished"
    ),
    _kind(
        r"trials/[^/]+/checkpoint/.+/manifest\.json",
        _ManifestShape,
        f"{_RUN}goes on from the checkpoint before, if the trial is not finished",
    ),
    _kind(
        r"sweeps/([^/]+)/plans/[^/]+\.json",
        _PlanShape,
        f"{_RUN}stores the plan again; this object can be deleted once that is done",
        lambda value, name: value["name"] == name,
    ),
    _kind(r"sweeps/[^/]+/search/[^/]+/search\.json", _SearchShape, f"{_RUN}writes it again"),
    _kind(
        r"sweeps/[^/]+/search/[^/]+/0*(\d+)\.ask\.json",
        _AskShape,
        "the suggestion counts as failed; restore the object from a copy to have it back",
        lambda value, number: str(value["number"]) == number,
    ),
    _kind(
        r"sweeps/[^/]+/search/[^/]+/0*(\d+)\.tell\.json",
        _TellShape,
        f"{_RUN}writes it again from the results",
        lambda value, number: str(value["number"]) == number,
    ),
    _kind(r"sweeps/[^/]+/search/[^/]+/\d+\.trials\.json", dict[str, str], f"{_RUN}writes it again"),
    _kind(
        r"sweeps/[^/]+/pruned/[^/]+\.json",
        _PrunedShape,
        "restore it from a copy; without it, epochs saved are counted low",
    ),
    _kind(r"modules/[^/]+\.json", _ModulesShape, f"{_RUN}writes it again if the code is unchanged"),
    _kind(r"fingerprints/[^/]+\.json", _FilesShape, f"{_RUN}writes it again if the data are unchanged"),
    _kind(r"sweeps/[^/]+/data/[^/]+\.json", _DataShape, "restore it from a copy, or check that the data are unchanged"),
    _kind(r"sweeps/[^/]+/leaks\.json", _LeaksShape, f"delete this one object; {_RUN}--fresh looks for leaks again"),
    _kind(r"sweeps/[^/]+/notes/[^/]+\.json", _NoteShape, "it is of a person and changes no result; it can be deleted"),
    _kind(r"sweeps/[^/]+/fresh\.json", _FreshShape, f"{_RUN}--fresh begins anew"),
    _kind(r"code/[^/]+\.json", _CodeShape, f"{_RUN}stores the code again"),
    _kind(
        r"gates/([^/]+)/gate\.json",
        _GateShape,
        "restore it from a copy, or start a gate of another name",
        lambda value, name: value["name"] == name,
    ),
    _kind(
        r"gates/[^/]+/candidates/0*(\d+)\.json",
        _CandidateShape,
        "restore it from a copy, or start a gate of another name",
        lambda value, number: str(value["number"]) == number,
    ),
    _kind(
        r"gates/[^/]+/verdicts/0*(\d+)\.json",
        _VerdictShape,
        "delete this one object; `sweeps gate try` with the label of the candidate makes it again from the results",
        lambda value, number: str(value["number"]) == number,
    ),
    _kind(r"gates/[^/]+/tries/[^/]+\.json", _TryShape, "it can be deleted while no process tries a candidate"),
)
_OTHER = "restore it from a copy"


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape, config=None if isinstance(shape, type) and issubclass(shape, BaseModel) else _STRICT)


_STRICT = ConfigDict(strict=True)


def _find(key: str) -> tuple[_Kind, str] | None:
    """The kind of an object and the name in its key."""
    for kind in KINDS:
        match = kind.key.fullmatch(key)
        if match:
            return kind, match[1] if kind.key.groups else ""
    return None


def fault(key: str, value: Any) -> str:
    """What is wrong with the shape of an object, in words; '' if nothing is, or if no shape is known for the key."""
    found = _find(key)
    if found is None:
        return ""
    kind, name = found
    try:
        _adapter(kind.shape).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        return f"{place}: {first['msg']}" if place else str(first["msg"])
    return "" if kind.agrees(value, name) else "its content is not that of its key"


def remedy(key: str) -> str:
    """What is safe to do about a damaged object."""
    found = _find(key)
    return found[0].remedy if found else _OTHER
