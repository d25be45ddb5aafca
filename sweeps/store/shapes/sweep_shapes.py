"""Shapes of the objects below `sweeps/`, and of those on code and data that sweeps share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from sweeps.spec.sections.claims import ClaimSpec
from sweeps.spec.sections.seeds import SeedsUntil
from sweeps.store.shapes.stored_object import Json, StoredObject


class PlannedTrialShape(StoredObject):
    id: str
    epochs: int


class ArmShape(StoredObject):
    name: str
    set: Json | None = None
    factors: Json | None = None
    published: str | None = None
    baseline: str | None = None
    trains: bool = True
    config: Json
    trials: dict[Annotated[str, Field(pattern=r"^\d+$")], PlannedTrialShape]


class ReportShape(StoredObject):
    at: str
    metrics: Annotated[list[str], Field(min_length=1)]
    test_epochs: list[int] = []
    extra: list[str | dict[str, Any]] = []
    statistic: str = "mean"
    correction: str = "holm"
    published: Json | None = None
    pareto: Json | None = None


class PlannedClaimShape(ClaimSpec):
    model_config = ConfigDict(strict=True, extra="ignore")


class PlannedSearchShape(StoredObject):
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


class PlanGateShape(StoredObject):
    name: str
    candidate: int


class PlanShape(StoredObject):
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
    arms: Annotated[list[ArmShape], Field(min_length=1)]
    report: ReportShape
    claims: list[PlannedClaimShape]
    resources: Json = {}
    search: PlannedSearchShape | None = None
    pins: Json = {}
    gate: PlanGateShape | None = None

    @model_validator(mode="after")
    def _arms_have_all_seeds(self) -> PlanShape:
        for arm in self.arms:
            # Where looks add seeds, an arm has the first ones.
            seeds = set(map(str, self.seeds[: len(arm.trials)] if self.looks else self.seeds))
            if arm.trials and arm.trials.keys() != seeds:
                raise ValueError(f"arm {arm.name!r} does not have one trial for each seed")
        return self


class SearchShape(StoredObject):
    arm: str
    space: Json
    sampler: str
    metrics: list[str]
    goals: list[str]
    seed: int
    trials: int
    constraints: dict[str, dict[str, float]] = {}


class AskShape(StoredObject):
    number: int
    asked_at: float
    overrides: Json
    params: Json
    distributions: dict[str, Json]
    study_attrs: Json
    trial_attrs: Json


class TellShape(StoredObject):
    number: int
    told_at: float
    state: Literal["complete", "pruned", "failed"]
    values: list[float]
    intermediate: list[Annotated[list[float | None], Field(min_length=2, max_length=2)]]
    constraints: dict[str, float] = {}


class PrunedShape(StoredObject):
    suggestion: int | None = None
    curve: list[Annotated[list[float], Field(min_length=2, max_length=2)]]


class ModulesShape(StoredObject):
    modules: dict[str, str]


class CodeShape(StoredObject):
    files: list[str]


class FilesShape(StoredObject):
    path: str
    files: dict[str, list[int | str]]


class DataShape(StoredObject):
    path: str
    digest: str


class LeaksOfTrials(StoredObject):
    count: int
    leaks: list[str]
    trials: list[str]


class LeaksShape(StoredObject):
    found: list[LeaksOfTrials]


class FreshShape(StoredObject):
    trials: str
    began_at: float
    deleted: bool


_Line = Annotated[str, Field(max_length=300)]


class NoteShape(StoredObject):
    kind: Literal["note", "star", "view"]
    author: Annotated[str, Field(min_length=1, max_length=100)]
    written_at: float
    text: Annotated[str, Field(max_length=4000)] = ""
    tags: Annotated[list[Annotated[str, Field(pattern=r"^[\w.-]{1,40}$")]], Field(max_length=10)] = []
    trial: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,79}$")] | None = None
    page: Literal["sweep", "trial", "compare"] | None = None
    address: Annotated[dict[_Line, _Line | list[_Line]], Field(max_length=40)] = {}
