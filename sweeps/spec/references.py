"""Reads and checks the references of a sweep file to other sweeps: `best` and `trials_of`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sweeps.results.columns import describe
from sweeps.spec.loader import Sweep
from sweeps.spec.sections.seeds import SeedsUntil
from sweeps.spec.yaml_document import Place

_SECTIONS = ("base", "arms", "leave_one_out", "pairs", "grid")
"""Keys of a sweep file that contain configurations."""


class Best(BaseModel):
    """The finished trial with the best value of a metric at its last epoch, over the arms that train or in one arm."""

    model_config = ConfigDict(extra="forbid", strict=True)
    sweep: str
    metric: str
    goal: Literal["max", "min"] | None = None
    arm: str | None = None


class TrialsOf(BaseModel):
    """The finished trials of an arm, by seed."""

    model_config = ConfigDict(extra="forbid", strict=True)
    sweep: str
    arm: str


_KINDS: dict[str, type[Best] | type[TrialsOf]] = {"best": Best, "trials_of": TrialsOf}


@dataclass(frozen=True)
class Reference:
    """One `best` or `trials_of` mapping in a sweep file."""

    place: Place
    asks: Best | TrialsOf
    key: str
    """Key of its pin in the stored plan."""


def references(sweep: Sweep) -> list[Reference]:
    """All references of a sweep. SweepError if one of them is malformed."""
    found = [_read(sweep, place, kind, given) for place, kind, given in _mappings(sweep)]
    by_seed = next((one for one in found if isinstance(one.asks, TrialsOf)), None)
    if by_seed is not None and isinstance(sweep.spec.seeds, SeedsUntil):
        raise sweep.error(
            by_seed.place,
            "looks add seeds to this sweep, and not to the one whose trials it takes seed by seed",
            "a number of seeds where an arm takes `trials_of` another sweep",
            f"seeds: {sweep.spec.seeds.first}",
        )
    return found


def _mappings(sweep: Sweep) -> Iterator[tuple[Place, str, Any]]:
    def walk(value: Any, place: Place) -> Iterator[tuple[Place, str, Any]]:
        kind = next((k for k in _KINDS if isinstance(value, dict) and isinstance(value.get(k), dict)), None)
        if kind is not None:
            yield (*place, kind), kind, value[kind]
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from walk(inner, (*place, key))
        elif isinstance(value, list):
            for i, inner in enumerate(value):
                yield from walk(inner, (*place, i))

    for section in _SECTIONS:
        yield from walk(sweep.document.value.get(section), (section,))


def _read(sweep: Sweep, place: Place, kind: str, given: dict[str, Any]) -> Reference:
    try:
        asks = _KINDS[kind].model_validate(given)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"]))
        allowed = ", ".join(f"`{name}`" for name in _KINDS[kind].model_fields)
        fix = "{best: {sweep: NAME, metric: val/psnr_db}}" if kind == "best" else "{trials_of: {sweep: NAME, arm: ARM}}"
        raise sweep.error(place, f"`{where}`: {wrong['msg'].lower()}", allowed, fix) from None
    if isinstance(asks, Best):
        is_reported = asks.metric.startswith("val/") and bool(describe(asks.metric)[2])
        if not is_reported:
            chosen_on_test = asks.metric.startswith("test/")
            bias = "selecting on the test split would bias the test results"
            why = bias if chosen_on_test else "no trial reports it"
            fix = f"metric: val/{asks.metric.removeprefix('test/')}" if chosen_on_test else "metric: val/psnr_db"
            raise sweep.error((*place, "metric"), f"{asks.metric!r}: {why}", "a validation column, val/...", fix)
        if asks.goal is None and not describe(asks.metric)[1]:
            why = f"{asks.metric!r} has no better direction"
            raise sweep.error((*place, "metric"), why, "`goal: max` or `goal: min` with it", "add `goal:`")
    return Reference(place, asks, json.dumps({kind: given}, sort_keys=True, separators=(",", ":")))


def replace(value: Any, reference: Reference, pinned: Any) -> None:
    """Replace a reference in a document's value by its pin. A mapping with `best` keeps its other keys."""
    *path, last, kind = reference.place
    for part in path:
        value = value[part]
    if kind == "trials_of":
        value[last] = dict(pinned)
    else:
        del value[last]["best"]
        value[last]["trial"] = pinned
