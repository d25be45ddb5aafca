"""What a configuration of task `match` accepts, and which part of it decides the outcome; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from trainables.config.messages import unknown, validated
from trainables.config.sections import BatchConfig, DataConfig, EpochsConfig, Needs, Strict
from trainables.config.variants import choose, chosen, options, without_none
from trainables.errors import TrialError

SECTIONS = ("data", "model", "loss", "optimiser", "schedule", "batch", "epochs")


class LossConfig(Strict):
    sentence: float = Field(1.0, ge=0, description="weight of finding the right pair by whole image and caption")
    word: float = Field(1.0, ge=0, description="weight of finding it by each word's places")


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """A complete configuration with every default filled in, as plain data. Raises TrialError as of the other tasks."""
    for key in config:
        if key not in SECTIONS:
            raise unknown("key", key, SECTIONS, key)
    for key in ("data", "model"):
        if key not in config:
            raise TrialError(
                f"base without `{key}`", "a trial needs it", f"{key}: {{name: ...}}", f"add `{key}:` to the base"
            )
    given = {"optimiser": {"name": "adam"}, **config}
    model = choose("model", given["model"], "match")
    loss = validated("loss", LossConfig, config.get("loss") or {})
    if not any(loss.values()):
        raise TrialError(
            "loss with no weight above 0", "there is nothing to learn", "one weight above 0", "loss: {sentence: 1.0}"
        )
    resolved = {
        "data": validated("data", DataConfig, config["data"]),
        "model": {"name": config["model"]["name"], **validated("model", model, options(config["model"]))},
        "loss": {name: weight for name, weight in loss.items() if weight},
        "optimiser": validated("optimiser", choose("optimiser", given["optimiser"]), given["optimiser"]),
        "schedule": chosen("schedule", config.get("schedule")),
        "batch": validated("", BatchConfig, {"batch": config.get("batch", 64)})["batch"],
        "epochs": validated("", EpochsConfig, {"epochs": config.get("epochs", 1)})["epochs"],
    }
    if resolved["schedule"] == {"name": "none"}:
        resolved["schedule"] = None
    if resolved["data"]["captions"] is None or resolved["data"]["captions"]["text"] == "none":
        raise TrialError(
            "task: match with data that have no captions",
            "there is nothing that images could match",
            "captions from a template, a file or a folder",
            'data: {captions: {template: "a photo of a {class}"}}',
            "data.captions",
        )
    return resolved


def identity(resolved: dict[str, Any], seed: int) -> dict[str, Any]:
    """The part of a resolved configuration that decides the outcome; see `sweeps.spec.trial.Trial`."""
    parts = {key: value for key, value in resolved.items() if key != "epochs"}
    if isinstance((resolved["schedule"] or {}).get("every"), float):
        parts["epochs"] = resolved["epochs"]
    return {"seed": seed, **without_none(parts)}


def needs(resolved: Mapping[str, Any], seed: int) -> Needs:  # noqa: ARG001 - as of the other tasks
    """Nothing: images and captions are files."""
    return Needs()
