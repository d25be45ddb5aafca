"""Shapes of the objects below `gates/`."""

from __future__ import annotations

from typing import Literal

from sweeps.store.shapes.stored_object import Json, StoredObject
from sweeps.store.shapes.trial_shapes import ProcessShape


class ProgramShape(StoredObject):
    label: str
    run: list[str | int | float]
    code: str


class GateShape(StoredObject):
    name: str
    metric: str
    goal: Literal["max", "min"]
    budget: int
    epochs: int
    timeout: float | None
    files: list[str]
    initial: ProgramShape
    resources: Json = {}


class CandidateShape(StoredObject):
    number: int
    program: ProgramShape
    incumbent: int
    level: float
    typical: float | None
    shared_seeds: list[int]
    own_seeds: list[int]
    sweep: str


class VerdictShape(StoredObject):
    number: int
    verdict: Literal["keep", "discard", "undecided"]
    reason: str
    pairs: int
    own_pairs: int
    runs: int
    squares: float
    e_value: float
    spent: float


class TryShape(StoredObject):
    process: ProcessShape = ProcessShape()
