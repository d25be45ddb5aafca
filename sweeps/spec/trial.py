"""A trial: one resolved configuration with one seed, and the identity that follows from its content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: the text that is hashed. NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(value: Any, length: int = 16) -> str:
    """The first `length` hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


@dataclass(frozen=True)
class Trial:
    """One training run that a plan asks for.

    config: the resolved configuration, defaults included, `epochs` among them.
    identity: the part of the configuration that decides the outcome (`trainables.schema.identity`): without resources,
        without `epochs` unless a schedule depends on their total, without options that are off. A model that does not
        train has no seed in its identity either, so its one evaluation serves every seed.
    """

    task: str
    config: dict[str, Any]
    seed: int
    identity: dict[str, Any]

    @cached_property
    def id(self) -> str:
        return digest(self.identity)

    @property
    def epochs(self) -> int:
        """The target epoch: the trial is done when the store holds a result for it."""
        return int(self.config["epochs"])

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "task": self.task,
            "config": self.config,
            "seed": self.seed,
            "identity": self.identity,
        }
