"""Configuration schema of task `stack`, and the part of it that determines the result. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from trainables.config.messages import unknown_name_error, validated
from trainables.config.model_sections import StackConfig
from trainables.config.sections import TRIAL, Needs, StrictConfig
from trainables.config.variants import section_options, variant_class, without_none
from trainables.errors import TrialError
from trainables.registry import model_config

SECTIONS = ("data", "model")
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


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """Return the complete configuration as plain data, with every default filled in.

    Raises TrialError naming the key, what is wrong and what is allowed. An ensemble has one epoch.
    """
    for key in config:
        if key not in (*SECTIONS, "epochs"):
            raise unknown_name_error("key", key, SECTIONS, key)
    for key, example in (("data", "{bases: {NAME: {trials_of: {sweep: ..., arm: ...}}}}"), ("model", "{name: svc}")):
        if config.get(key) is None:
            raise TrialError(f"base without `{key}`", f"`{key}` is required", f"{key}: {example}", f"add `{key}:`", key)
    if config.get("epochs", 1) != 1:
        raise TrialError(f"epochs: {config['epochs']}", "an ensemble is fitted once", "1", "remove `epochs`", "epochs")
    chosen = variant_class("model", config["model"], "stack")
    section = {"name": config["model"]["name"], **validated("model", chosen, section_options(config["model"]))}
    data = validated("data", StackDataConfig, config["data"])
    allowed = ensemble(section).inputs
    if data["inputs"] not in allowed:
        raise TrialError(
            f"data.inputs: {data['inputs']} with model.name: {section['name']}",
            "this ensemble does not accept these inputs",
            ", ".join(allowed),
            f"data.inputs: {allowed[0]}",
            "data.inputs",
        )
    return {"data": data, "model": section, "epochs": 1}


def ensemble(section: Mapping[str, Any]) -> StackConfig:
    """Options of a resolved `model` section."""
    config = model_config(section["name"]).model_validate(section_options(dict(section)))
    assert isinstance(config, StackConfig)
    return config


def identity(resolved: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the part of a resolved configuration that determines the result; see `sweeps.spec.trial.Trial`.

    It contains only the trials of this seed, so adding seeds does not change it.
    """
    data = {**resolved["data"], "bases": {name: list(ids) for name, ids in trials(resolved, seed).items()}}
    return {"seed": seed, **without_none({"data": data, "model": resolved["model"]})}


def needs(resolved: Mapping[str, Any], seed: int) -> Needs:
    """Detectors of this seed, whose recorded outputs the trial reads."""
    return Needs(trials=tuple(dict.fromkeys(one for ids in trials(resolved, seed).values() for one in ids)))


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
