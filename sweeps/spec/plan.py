"""A plan: the arms of a sweep, each with its resolved configuration and its trials, identified by their content."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sweeps import sizes
from sweeps.spec.loader import Sweep
from sweeps.spec.sections.seeds import SeedsUntil
from sweeps.spec.trial import Trial

DEFAULT = "default"
"""Origin of a value that is not in any file."""


class Schema(Protocol):
    """Checks and resolves configurations. Passed in by the caller, because `sweeps` does not import `trainables`."""

    def resolve(self, task: str, config: dict[str, Any], folder: Path | None = None) -> dict[str, Any]:
        """The configuration with all defaults. Raises a four-part error if it is invalid.

        folder: of the sweep file, for names of files; None for the working directory.
        """

    def identity(self, task: str, resolved: dict[str, Any], seed: int) -> dict[str, Any]:
        """The part of the configuration that determines the outcome."""

    def trains(self, resolved: dict[str, Any]) -> bool:
        """Whether the model has parameters to train."""


@dataclass(frozen=True)
class Arm:
    """One named configuration: a row of the table."""

    task: str
    name: str
    changes: Mapping[str, Any]
    """Changes to the base: {dotted key: value}."""
    factors: Mapping[str, str]
    """{grid key: label of the level}."""
    published: str | None
    """Variant in the published figures."""
    baseline: str
    """Name of the arm that this one is compared with; in a grid, the baseline at the same level."""
    given: dict[str, Any]
    """The configuration before defaults are filled in."""
    folder: Path | None
    """Folder of the sweep file."""
    config: dict[str, Any]
    """The resolved configuration."""
    trains: bool
    """Whether the model has parameters to train."""
    trace: Callable[[], Mapping[str, str]]
    """Computes `origins` when they are needed."""
    trials: Mapping[int, Trial]
    """Trials by seed; empty until a search within this arm has found its values."""
    by_seed: bool = False
    """Whether the arm is not trained, but different between seeds: the results of another program for each seed, or
    evaluated on sets that are drawn for each seed."""

    @property
    def origins(self) -> Mapping[str, str]:
        """The origin of each value: {dotted key of the configuration: place}."""
        return self.trace()


@dataclass(frozen=True)
class Plan:
    """A sweep expanded to its arms and trials."""

    sweep: Sweep
    arms: tuple[Arm, ...]
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.sweep.spec.name

    @property
    def protocol(self) -> Mapping[str, Any] | None:
        """The protocol that rates the fills of every arm: name, hash, folders, evaluation; None without one."""
        return self.arms[0].config["protocol"] if self.sweep.protocol else None

    @property
    def looks(self) -> SeedsUntil | None:
        """How seeds are added, if looks add them."""
        return self.sweep.spec.seeds if isinstance(self.sweep.spec.seeds, SeedsUntil) else None

    @property
    def seeds(self) -> list[int]:
        """The seeds of the plan; where looks add them, an arm may have only the first ones."""
        if self.looks is None:
            return self.sweep.spec.seed_list
        return sorted({seed for arm in self.arms for seed in arm.trials})

    @property
    def searched(self) -> list[Arm]:
        """The arms with their own search: with `within_arms` every arm that trains, else the base only."""
        search = self.sweep.spec.search
        if search is None:
            return []
        return [arm for arm in self.arms if arm.trains] if search.within_arms else [self.arms[0]]

    def runs(self) -> list[tuple[Trial, str]]:
        """The distinct trials in the order in which they run, each with a label made of its first arm and seed.

        First what is not trained, then one seed of every arm, then the next one: a run that ends early leaves arms that
        can be compared. Arms and seeds may share a trial. Arms that differ only in `epochs` share its id, with
        different target epochs; then a seed's trials are sorted by target epoch.
        """
        runs: dict[tuple[str, int], tuple[int, Trial, str]] = {}
        for arm in self.arms:
            for round_, (seed, trial) in enumerate(arm.trials.items(), 1):
                label = f"{arm.name} · seed {seed}" if arm.trains or arm.by_seed else arm.name
                runs.setdefault((trial.id, trial.epochs), (round_ if arm.trains else 0, trial, label))
        shared = _shares(runs)
        ordered = sorted(runs.values(), key=lambda run: (run[0], run[1].epochs if shared else 0))
        return [(trial, label) for _, trial, label in ordered]

    def to_json(self, command: list[str]) -> dict[str, Any]:
        """The plan as stored; `analysis.study` reads it. command: the command line that runs the sweep again."""
        spec = self.sweep.spec
        return {
            "name": spec.name,
            "question": self.sweep.document.question,
            "header": self.sweep.document.header,
            "file": self.sweep.document.name,
            "task": self.arms[0].task,
            "command": shlex.join(command),
            "tiny": self.sweep.size == sizes.TINY,
            **({"size": self.sweep.size} if self.sweep.size == sizes.SMALL else {}),
            "changes": list(self.sweep.changes),
            "epochs_scaled": self.sweep.epochs_scaled,
            "seeds": self.seeds,
            "baseline": self.arms[0].baseline,
            "arms": [_arm_json(arm) for arm in self.arms],
            "report": spec.report.model_dump(),
            "claims": [claim.model_dump(exclude_none=True) for claim in spec.claims],
            "resources": spec.resources.model_dump(),
            "search": None if spec.search is None else self._search_json(),
            **({"looks": self.looks.model_dump()} if self.looks else {}),
            **({"pins": dict(self.sweep.pins)} if self.sweep.pins else {}),
            **({"user_code": self.code_of_choices} if self.code_of_choices else {}),
        }

    @property
    def code_of_choices(self) -> dict[str, str]:
        """What names of code mean that only a search can choose, by how they are written."""
        used = {name for arm in self.arms for name in arm.config.get("user_code") or {}}
        chosen = [item for arm in self.arms for item in (arm.given.get("user_code") or {}).items()]
        return {name: code for name, code in chosen if name not in used} if self.sweep.spec.search else {}

    def _search_json(self) -> dict[str, Any]:
        assert self.sweep.spec.search is not None
        search = self.sweep.spec.search
        limits = {"constraints": search.limits} if search.limits else {}
        return {
            **search.model_dump(exclude={"constraints"}),
            **limits,
            "arms": [arm.name for arm in self.searched],
        }


def _shares(runs: Iterable[tuple[str, int]]) -> bool:
    ids = [trial_id for trial_id, _ in runs]
    return len(set(ids)) < len(ids)


def _arm_json(arm: Arm) -> dict[str, Any]:
    return {
        "name": arm.name,
        "set": dict(arm.changes),
        "factors": dict(arm.factors),
        "published": arm.published,
        "baseline": arm.baseline,
        "trains": arm.trains,
        **({"by_seed": True} if arm.by_seed else {}),
        "config": arm.config,
        "trials": {str(seed): {"id": trial.id, "epochs": trial.epochs} for seed, trial in arm.trials.items()},
    }


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as {dotted key: value}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def deep_copy(value: Any) -> Any:
    """A deep copy of nested mappings and lists."""
    if isinstance(value, dict):
        return {key: deep_copy(item) for key, item in value.items()}
    return [deep_copy(item) for item in value] if isinstance(value, list) else value
