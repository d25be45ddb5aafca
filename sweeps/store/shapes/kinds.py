"""The kinds of JSON objects in a store: the shape of each, and what to do about a damaged one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from sweeps.spec.trial import digest
from sweeps.store.shapes.gate_shapes import (
    CandidateShape,
    GateShape,
    TryShape,
    VerdictShape,
)
from sweeps.store.shapes.stored_object import Json
from sweeps.store.shapes.sweep_shapes import (
    AskShape,
    CodeShape,
    DataShape,
    FilesShape,
    FreshShape,
    LeaksShape,
    ModulesShape,
    NoteShape,
    PlanShape,
    PrunedShape,
    SearchShape,
    TellShape,
)
from sweeps.store.shapes.trial_shapes import (
    BeatShape,
    ClaimShape,
    EndShape,
    ManifestShape,
    ResultShape,
    TrialShape,
)

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
        TrialShape,
        f"delete this one object; {_RUN}writes it again",
        _is_trial,
    ),
    _kind(
        r"trials/[^/]+/result/([^/]+)\.json",
        ResultShape,
        f"{_RUN}finishes the trial again from its last checkpoint",
        lambda value, epochs: str(value.get("epochs", epochs)) == epochs,
    ),
    _kind(
        r"trials/[^/]+/attempts/0*(\d+)\.json",
        ClaimShape,
        f"{_RUN}makes a new attempt if the trial is not finished",
        lambda value, number: str(value["number"]) == number,
    ),
    _kind(r"trials/[^/]+/attempts/[^/]+\.beat\.json", BeatShape, "it is for display only and can be deleted"),
    _kind(
        r"trials/[^/]+/attempts/[^/]+\.end\.json", EndShape, f"{_RUN}makes a new attempt if the trial is not finished"
    ),
    _kind(
        r"trials/[^/]+/checkpoint/.+/manifest\.json",
        ManifestShape,
        f"{_RUN}goes on from the checkpoint before, if the trial is not finished",
    ),
    _kind(
        r"sweeps/([^/]+)/plans/[^/]+\.json",
        PlanShape,
        f"{_RUN}stores the plan again; this object can be deleted once that is done",
        lambda value, name: value["name"] == name,
    ),
    _kind(r"sweeps/[^/]+/search/[^/]+/search\.json", SearchShape, f"{_RUN}writes it again"),
    _kind(
        r"sweeps/[^/]+/search/[^/]+/0*(\d+)\.ask\.json",
        AskShape,
        "the suggestion counts as failed; restore the object from a copy to have it back",
        lambda value, number: str(value["number"]) == number,
    ),
    _kind(
        r"sweeps/[^/]+/search/[^/]+/0*(\d+)\.tell\.json",
        TellShape,
        f"{_RUN}writes it again from the results",
        lambda value, number: str(value["number"]) == number,
    ),
    _kind(r"sweeps/[^/]+/search/[^/]+/\d+\.trials\.json", dict[str, str], f"{_RUN}writes it again"),
    _kind(
        r"sweeps/[^/]+/pruned/[^/]+\.json",
        PrunedShape,
        "restore it from a copy; without it, epochs saved are counted low",
    ),
    _kind(r"modules/[^/]+\.json", ModulesShape, f"{_RUN}writes it again if the code is unchanged"),
    _kind(r"fingerprints/[^/]+\.json", FilesShape, f"{_RUN}writes it again if the data are unchanged"),
    _kind(r"sweeps/[^/]+/data/[^/]+\.json", DataShape, "restore it from a copy, or check that the data are unchanged"),
    _kind(r"sweeps/[^/]+/leaks\.json", LeaksShape, f"delete this one object; {_RUN}--fresh looks for leaks again"),
    _kind(r"sweeps/[^/]+/notes/[^/]+\.json", NoteShape, "it is of a person and changes no result; it can be deleted"),
    _kind(r"sweeps/[^/]+/fresh\.json", FreshShape, f"{_RUN}--fresh begins anew"),
    _kind(r"code/[^/]+\.json", CodeShape, f"{_RUN}stores the code again"),
    _kind(
        r"gates/([^/]+)/gate\.json",
        GateShape,
        "restore it from a copy, or start a gate of another name",
        lambda value, name: value["name"] == name,
    ),
    _kind(
        r"gates/[^/]+/candidates/0*(\d+)\.json",
        CandidateShape,
        "restore it from a copy, or start a gate of another name",
        lambda value, number: str(value["number"]) == number,
    ),
    _kind(
        r"gates/[^/]+/verdicts/0*(\d+)\.json",
        VerdictShape,
        "delete this one object; `sweeps gate try` with the label of the candidate makes it again from the results",
        lambda value, number: str(value["number"]) == number,
    ),
    _kind(r"gates/[^/]+/tries/[^/]+\.json", TryShape, "it can be deleted while no process tries a candidate"),
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
