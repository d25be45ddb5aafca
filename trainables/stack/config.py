"""The configuration of task `stack`: keys, defaults, and what they require of each other; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from trainables import registry
from trainables.config.model_sections import StackConfig
from trainables.config.sections import TRIAL, Needs, StrictConfig
from trainables.config.task_config import TaskConfig, without_none
from trainables.errors import TrialError

BySeed = dict[str, Annotated[str, Field(pattern=TRIAL)]]
"""Trial ids of an arm by seed; in a sweep file `{trials_of: {sweep: NAME, arm: ARM}}`."""


class StackDataConfig(StrictConfig):
    """Detectors whose recorded outputs the ensemble combines."""

    bases: dict[str, BySeed | Annotated[list[BySeed], Field(min_length=2)]] = Field(
        min_length=1,
        description="detectors by name: the trials of an arm of task `detect`, or a list of arms that each leave out "
        "another fold of the training images (data.fold)",
    )
    inputs: Literal["logits", "features"] = Field(
        "logits", description="input of the ensemble; features: the inputs of the detectors' last linear layers"
    )


class Config(TaskConfig):
    """The keys of `base`. An ensemble is fitted once."""

    data: StackDataConfig = Field(description="{bases: {NAME: {trials_of: {sweep: ..., arm: ...}}}}")
    model: Annotated[dict[str, Any], registry.section("ensemble")] = Field(description="{name: ..., options}")
    epochs: Literal[1] = Field(1, description="an ensemble is fitted once")

    @classmethod
    def complete(cls, resolved: dict[str, Any]) -> dict[str, Any]:
        allowed = ensemble(resolved).inputs
        if resolved["data"]["inputs"] not in allowed:
            raise TrialError(
                f"data.inputs: {resolved['data']['inputs']} with model.name: {resolved['model']['name']}",
                "this ensemble does not accept these inputs",
                ", ".join(allowed),
                f"data.inputs: {allowed[0]}",
                "data.inputs",
            )
        return resolved

    @classmethod
    def identity(cls, resolved: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """As for every task, with only the trials of this seed: adding seeds does not change it."""
        data = {**resolved["data"], "bases": {name: list(ids) for name, ids in trials(resolved, seed).items()}}
        return {"seed": seed, **without_none({"data": data, "model": resolved["model"]})}

    @classmethod
    def needs(cls, resolved: Mapping[str, Any], seed: int) -> Needs:
        """Detectors of this seed, whose recorded outputs the trial reads."""
        return Needs(trials=tuple(dict.fromkeys(one for ids in trials(resolved, seed).values() for one in ids)))


def ensemble(resolved: Mapping[str, Any]) -> StackConfig:
    """The options of the ensemble of a resolved configuration."""
    options: StackConfig = registry.find("ensemble", resolved["model"]["name"]).options(resolved["model"])
    return options


def trials(resolved: Mapping[str, Any], seed: int) -> dict[str, tuple[str, ...]]:
    """Trial ids of each base for a seed: one, or one per fold. Raises TrialError if a base has no trial of the seed."""
    ids = {}
    for name, base in resolved["data"]["bases"].items():
        groups = base if isinstance(base, list) else [base]
        for by_seed in groups:
            if str(seed) not in by_seed:
                raise TrialError(
                    f"data.bases.{name}",
                    f"it has no trial of seed {seed}, and an ensemble combines detectors of the same seed",
                    f"its seeds: {', '.join(by_seed)}",
                    "use seeds that every base has, or {trials_of: {sweep: ..., arm: ...}}, which looks the trials up",
                    "data.bases",
                )
        ids[name] = tuple(by_seed[str(seed)] for by_seed in groups)
    return ids
