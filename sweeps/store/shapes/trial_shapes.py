"""Shapes of the objects below `trials/`: definition, attempts, results, checkpoints."""

from __future__ import annotations

from pydantic import model_validator

from sweeps.store.shapes.stored_object import Json, StoredObject


class TrialShape(StoredObject):
    task: str
    config: Json
    seed: int


class ProcessShape(StoredObject):
    machine: str | None = None
    pid: int = 0


class ProvenanceShape(StoredObject):
    code: Json | None = None
    versions: Json | None = None
    hardware: Json = {}
    modules: str | None = None
    ray_job: str | None = None
    ray_dashboard: str | None = None


class ClaimShape(StoredObject):
    number: int
    token: str
    claimed_at: float | None = None
    process: ProcessShape = ProcessShape()
    provenance: ProvenanceShape = ProvenanceShape()


class BeatShape(StoredObject):
    time: float = 0.0
    epoch: int | None = None
    record: dict[str, float | None] | None = None
    load: dict[str, float] = {}


class TraceShape(StoredObject):
    """The losses before a divergence; None for a value that is not finite."""

    epoch: int | None = None
    steps: list[int] = []
    terms: dict[str, list[float | None]] = {}
    epochs: dict[str, list[float | None]] = {}

    @model_validator(mode="after")
    def _columns_have_equal_lengths(self) -> TraceShape:
        rows = len(self.epochs.get("epoch", ()))
        if any(len(values) != len(self.steps) for values in self.terms.values()) or any(
            len(values) != rows for values in self.epochs.values()
        ):
            raise ValueError("its columns do not have one value for each step or epoch")
        return self


class ErrorShape(StoredObject):
    type: str
    message: str
    traceback: str = ""
    trace: TraceShape | None = None


class EndShape(StoredObject):
    state: str
    ended_at: float | None = None
    error: ErrorShape | None = None


class MeasuredShape(StoredObject):
    """Columns that a later attempt has added to a result."""

    columns: list[str] = []
    attempt: str = ""
    at: float | None = None
    provenance: ProvenanceShape = ProvenanceShape()


class ResultShape(StoredObject):
    attempt: str = ""
    epochs: int | None = None
    facts: Json = {}
    history: dict[str, list[float | None]]
    notes: list[str] = []
    files: dict[str, str] = {}
    """SHA-256 of the files of values that were stored with the last samples, by name; results of older versions have
    no such field."""
    extra: list[str] = []
    """Metrics of `report.extra` that were asked for."""
    measured: list[MeasuredShape] = []
    started_at: float | None = None
    ended_at: float | None = None
    provenance: ProvenanceShape = ProvenanceShape()

    @model_validator(mode="after")
    def _columns_have_equal_lengths(self) -> ResultShape:
        epochs = self.history.get("epoch")
        if not epochs or None in epochs or any(len(column) != len(epochs) for column in self.history.values()):
            raise ValueError("its columns do not have one value for each epoch")
        return self


class StoredFileShape(StoredObject):
    sha256: str
    text: str | None = None


class ManifestShape(StoredObject):
    files: dict[str, StoredFileShape]
