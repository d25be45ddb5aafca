"""The configuration of a trial: one class for each task, with a field for each key of `base`; imports no torch.

`resolve` fills in the defaults and gives plain data. What a task adds are its checks of keys against each other
(`complete`), the keys that determine a trial without training, and what a trial needs from the store.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, Field

from trainables.code import references
from trainables.config.data_paths import DataPath
from trainables.config.messages import validated
from trainables.config.sections import OPTIMISERS, SCHEDULES, Needs, StrictConfig
from trainables.config.variant import Variant
from trainables.errors import TrialError

Optimiser = Annotated[dict[str, Any], Variant(OPTIMISERS)]
Schedule = Annotated[dict[str, Any], Variant(SCHEDULES)]
Weight = Annotated[float, Field(ge=0)]
T = TypeVar("T")


class TaskConfig(StrictConfig):
    """Base of the `Config` of every task. Configurations are used as plain data, so there are no instances."""

    off: ClassVar[Mapping[str, Any]] = {}
    """Values that mean the same as null, by key; they become null, so that writing them makes no other trial."""
    scored: ClassVar[tuple[str, ...]] = ()
    """The keys that determine the result of a model that is not trained."""

    user_code: dict[str, str] | None = Field(
        None, description="what names of a user's code mean, by how they are written; filled in when a sweep is planned"
    )

    @classmethod
    def resolve(cls, config: dict[str, Any], folder: Path | None = None) -> dict[str, Any]:
        """A complete configuration with every default filled in, as plain data; options that are off are null.

        folder: of the sweep file, for names of files; None for a stored plan, whose names of files are pinned in
        `user_code`. Raises TrialError with the key, what is wrong and what is allowed.
        """
        known = dict(config.get("user_code") or {})
        resolved = validated("", cls, config, {"folder": folder, "user_code": known})
        own = [key for key in cls.model_fields if key in cls.__annotations__]  # before those of the base classes
        complete = cls.complete(
            {
                key: None if key in cls.off and resolved[key] == cls.off[key] else resolved[key]
                for key in dict.fromkeys([*own, *resolved])
                if key != "user_code"
            }
        )
        used = set(strings(complete)) if known else set()
        code = {written: name for written, name in known.items() if name in used}
        return {**complete, "user_code": code} if code else complete

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON schema of `base`."""
        return cls.model_json_schema()

    @classmethod
    def complete(cls, resolved: dict[str, Any]) -> dict[str, Any]:
        """Check keys against each other, and settle what depends on several of them."""
        return resolved

    @classmethod
    def trains(cls, resolved: Mapping[str, Any]) -> bool:
        """Whether the model has parameters to train."""
        return True

    @classmethod
    def identity(cls, resolved: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """The part of a resolved configuration that determines the result of a trial; see `sweeps.spec.trial.Trial`.

        Options that are off (null) are left out, so a new option does not change the identity of older trials. `epochs`
        is left out unless the schedule or the phases are defined as fractions of the epochs.
        """
        if not cls.trains(resolved):
            return without_none({key: resolved[key] for key in cls.scored if key in resolved})
        parts = {key: value for key, value in resolved.items() if key not in ("epochs", "user_code")}
        if resolved.get("phases") or isinstance((resolved.get("schedule") or {}).get("every"), float):
            parts["epochs"] = resolved["epochs"]
        return {"seed": seed, **without_none(parts)}

    @classmethod
    def code_of(cls, resolved: Mapping[str, Any]) -> tuple[str, ...]:
        """The hashes of the user's code that a resolved configuration names."""
        return references.hashes(strings(resolved))

    @classmethod
    def data_paths(cls, resolved: Mapping[str, Any]) -> Iterator[DataPath]:
        """The folders and files below the data root that a trial reads."""
        yield from ()

    @classmethod
    def needs(cls, resolved: Mapping[str, Any], seed: int) -> Needs:
        """What must be in the store before a trial with this configuration can start."""
        return Needs()


class TrainingConfig(TaskConfig):
    """Base of the `Config` of a task that trains a network."""

    off: ClassVar[Mapping[str, Any]] = {"schedule": {"name": "none"}, "sync_batch_norm": True}

    optimiser: Optimiser = Field({"name": "adam"}, validate_default=True, description="how weights are updated")
    schedule: Schedule | None = Field(None, description="how learning rates change; null: they do not")
    batch: int = Field(64, ge=2, description="images per step, over all workers; at least 2 for batch normalisation")
    epochs: int = Field(1, ge=1, description="passes over the training images")


SyncBatchNorm = Annotated[
    bool | None,
    Field(
        description="batch normalisation with several workers; false: each over its own part of the batch, which is "
        "faster but gives other numbers; null or true: over the whole batch, as with one process",
    ),
]
Precision = Annotated[
    Literal["float32", "bf16", "auto"] | None,
    Field(
        description="bf16: networks compute in bfloat16 (autocast), losses and weights stay in float32; null: float32; "
        "auto: settled when the sweep is planned, bf16 if this machine is fast in it and the method is as good in it"
    ),
]
Compile = Annotated[
    bool | None,
    Field(
        description="true: the trained network is compiled by torch.compile, which gives other rounding and takes "
        "minutes at the start; null or false: it is not"
    ),
]


# --- mappings by label ------------------------------------------------------------------------------------------------

LABEL = re.compile(r"(?!protocol$)[a-z][a-z0-9]*$")
"""A label of `test_masks`, `test_sets` or `test_changes`, which becomes the suffix of a column.

`protocol` is that of the columns of the sweep's protocol.
"""


def _labelled(value: Any) -> dict[str, Any] | None:
    """The items by label, without those that are null; None if there are none."""
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(label, str) and LABEL.match(label) for label in value):
        raise TrialError(
            f"{value!r}"[:200],
            "it is not a mapping from labels, which become suffixes of columns",
            "{label: {...}}; labels have lower-case letters and digits, begin with a letter, and are not `protocol`",
            "{other: {...}}",
        )
    return {label: item for label, item in value.items() if item is not None} or None


Labelled = Annotated[dict[str, T] | None, BeforeValidator(_labelled)]
"""Sections by label; null and {} mean none."""


# --- plain data -------------------------------------------------------------------------------------------------------


def without_none(section: Mapping[str, Any]) -> dict[str, Any]:
    """A section without the options that are None, at any depth; None in a list is kept."""
    return {key: _without_none(item) for key, item in section.items() if item is not None}


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_none(value)
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def strings(value: Any) -> list[str]:
    """Every text in plain data, keys included."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict):
            waiting += reversed([part for pair in item.items() for part in pair])
        elif isinstance(item, list):
            waiting += reversed(item)
    return found


def without_absent(resolved: dict[str, Any]) -> dict[str, Any]:
    """A resolved configuration without `metrics`, `compile` and `protocol` if they are off, as older ones have none."""
    return {key: value for key, value in resolved.items() if key not in ("metrics", "compile", "protocol") or value}


def positive_weights(weights: Mapping[str, float], example: str) -> dict[str, float]:
    """The loss terms with a weight above 0. Raises TrialError if there is none."""
    positive = {term: weight for term, weight in weights.items() if weight}
    if not positive:
        raise TrialError(
            "loss with no weight above 0",
            "there is nothing to learn",
            "at least one weight above 0",
            f"loss: {{{example}: 1.0}}",
            "loss",
        )
    return positive
