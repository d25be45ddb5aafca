"""What a sweep file asks of other sweeps: the best trial of one, or an arm's trials by seed, read and checked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sweeps.results.columns import describe
from sweeps.spec.loader import Sweep
from sweeps.spec.yaml_document import Place

_SECTIONS = ("base", "arms", "leave_one_out", "pairs", "grid")
"""Where configurations stand in a sweep file."""


class Best(BaseModel):
    """The finished trial with the best value of a metric at its last epoch, in arms that train, or in one arm."""

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
    """One mapping of the two kinds, where it stands; `key` is what its pin is kept under."""

    place: Place
    asks: Best | TrialsOf
    key: str


def references(sweep: Sweep) -> list[Reference]:
    """All that a sweep takes from others. SweepError where a mapping says so and cannot be read."""
    return [_read(sweep, place, kind, given) for place, kind, given in _found(sweep)]


def _found(sweep: Sweep) -> Iterator[tuple[Place, str, Any]]:
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
        known = asks.metric.startswith("val/") and bool(describe(asks.metric)[2])
        if not known:
            chosen_on_test = asks.metric.startswith("test/")
            why = "a choice made on the test split would spoil it" if chosen_on_test else "no trial reports it"
            fix = f"metric: val/{asks.metric.removeprefix('test/')}" if chosen_on_test else "metric: val/psnr_db"
            raise sweep.error((*place, "metric"), f"{asks.metric!r}: {why}", "a column of validation, val/...", fix)
        if asks.goal is None and not describe(asks.metric)[1]:
            why = f"no direction of {asks.metric!r} is better by itself"
            raise sweep.error((*place, "metric"), why, "with `goal: max` or `goal: min`", "add `goal:`")
    return Reference(place, asks, json.dumps({kind: given}, sort_keys=True, separators=(",", ":")))


def replace(value: Any, reference: Reference, pinned: Any) -> None:
    """Put what a reference stands for into a document's value: beside `best` other keys of the mapping stay."""
    *path, last, kind = reference.place
    for part in path:
        value = value[part]
    if kind == "trials_of":
        value[last] = dict(pinned)
    else:
        del value[last]["best"]
        value[last]["trial"] = pinned
