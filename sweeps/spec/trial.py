"""A trial: one resolved configuration with one seed, identified by a hash of its content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces, as hashed. Raises ValueError for NaN and infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(value: Any, length: int = 16) -> str:
    """The first `length` hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


@dataclass(frozen=True)
class Trial:
    """One training run of a plan."""

    task: str
    config: dict[str, Any]
    """The resolved configuration with all defaults and `epochs`."""
    seed: int
    identity: dict[str, Any]
    """The part of the configuration that determines the outcome, made by `Schema.identity`: without resources, without
    `epochs` unless a schedule depends on their total, and without options that are off. For a model that does not train
    it has no seed either, so a single evaluation serves every seed."""

    @cached_property
    def id(self) -> str:
        return digest(self.identity)

    @property
    def epochs(self) -> int:
        """The target epoch: the trial is done when the store has a result for it."""
        return int(self.config["epochs"])

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "task": self.task,
            "config": self.config,
            "seed": self.seed,
            "identity": self.identity,
        }
