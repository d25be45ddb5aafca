"""What a configuration of task `stack` accepts, and which part of it decides the outcome; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from trainables.config.messages import unknown, validated
from trainables.config.model_sections import StackConfig
from trainables.config.sections import TRIAL, Needs, Strict
from trainables.config.variants import choose, options, without_none
from trainables.errors import TrialError
from trainables.registry import model_config

SECTIONS = ("data", "model")
BySeed = dict[str, Annotated[str, Field(pattern=TRIAL)]]
"""An arm's trials by seed; in a sweep file `{trials_of: {sweep: NAME, arm: ARM}}`."""


class StackDataConfig(Strict):
    """Whose recorded outputs are put together."""

    bases: dict[str, BySeed | Annotated[list[BySeed], Field(min_length=2)]] = Field(
        min_length=1,
        description="detectors by name: the trials of an arm of task `detect`; a list of them where each left another "
        "fold of the training images out (data.fold)",
    )
    inputs: Literal["logits", "features"] = Field(
        "logits", description="what of them the ensemble sees; features: what their last linear layers see"
    )


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """A complete configuration with every default filled in, as plain data.

    Raises TrialError naming the key, what is wrong and what is allowed. An ensemble is fitted in one epoch.
    """
    for key in config:
        if key not in (*SECTIONS, "epochs"):
            raise unknown("key", key, SECTIONS, key)
    for key, example in (("data", "{bases: {NAME: {trials_of: {sweep: ..., arm: ...}}}}"), ("model", "{name: svc}")):
        if config.get(key) is None:
            raise TrialError(f"base without `{key}`", "a trial needs it", f"{key}: {example}", f"add `{key}:`", key)
    if config.get("epochs", 1) != 1:
        raise TrialError(f"epochs: {config['epochs']}", "an ensemble is fitted once", "1", "leave it out", "epochs")
    chosen = choose("model", config["model"], "stack")
    section = {"name": config["model"]["name"], **validated("model", chosen, options(config["model"]))}
    data = validated("data", StackDataConfig, config["data"])
    allowed = ensemble(section).inputs
    if data["inputs"] not in allowed:
        raise TrialError(
            f"data.inputs: {data['inputs']} with model.name: {section['name']}",
            "it works on something else",
            ", ".join(allowed),
            f"data.inputs: {allowed[0]}",
            "data.inputs",
        )
    return {"data": data, "model": section, "epochs": 1}


def ensemble(section: Mapping[str, Any]) -> StackConfig:
    """The options of a resolved `model` section."""
    config = model_config(section["name"]).model_validate(options(dict(section)))
    assert isinstance(config, StackConfig)
    return config


def identity(resolved: dict[str, Any], seed: int) -> dict[str, Any]:
    """With the trials of this seed alone: more seeds later leave it what it is. See `sweeps.spec.trial.Trial`."""
    data = {**resolved["data"], "bases": {name: list(ids) for name, ids in trials(resolved, seed).items()}}
    return {"seed": seed, **without_none({"data": data, "model": resolved["model"]})}


def needs(resolved: Mapping[str, Any], seed: int) -> Needs:
    """What the detectors of this seed have recorded."""
    return Needs(trials=tuple(dict.fromkeys(one for ids in trials(resolved, seed).values() for one in ids)))


def trials(resolved: Mapping[str, Any], seed: int) -> dict[str, tuple[str, ...]]:
    """Ids of each base's trials of a seed: one, or one a fold. TrialError where a base has none of that seed."""
    found = {}
    for name, given in resolved["data"]["bases"].items():
        groups = given if isinstance(given, list) else [given]
        for by_seed in groups:
            if str(seed) not in by_seed:
                raise TrialError(
                    f"data.bases.{name}",
                    f"it has no trial of seed {seed}, and detectors of one seed are put together",
                    f"seeds that it has: {', '.join(by_seed)}",
                    "seeds that every base has, or {trials_of: {sweep: ..., arm: ...}}, which looks them up",
                    "data.bases",
                )
        found[name] = tuple(by_seed[str(seed)] for by_seed in groups)
    return found
