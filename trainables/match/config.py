"""Configuration schema of task `match`, and the part of it that determines the result. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from trainables.config.messages import unknown_name_error, validated
from trainables.config.sections import BatchConfig, DataConfig, EpochsConfig, Needs, StrictConfig
from trainables.config.variants import optional_section, section_options, variant_class, without_none
from trainables.errors import TrialError

SECTIONS = ("data", "model", "loss", "optimiser", "schedule", "batch", "epochs")


class LossConfig(StrictConfig):
    sentence: float = Field(1.0, ge=0, description="weight of the loss that matches whole images with whole captions")
    word: float = Field(1.0, ge=0, description="weight of the loss that matches words with image regions")


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """Return the complete configuration as plain data, with every default filled in.

    Raises TrialError naming the key, what is wrong and what is allowed.
    """
    for key in config:
        if key not in SECTIONS:
            raise unknown_name_error("key", key, SECTIONS, key)
    for key in ("data", "model"):
        if key not in config:
            raise TrialError(
                f"base without `{key}`", f"`{key}` is required", f"{key}: {{name: ...}}", f"add `{key}:` to the base"
            )
    completed = {"optimiser": {"name": "adam"}, **config}
    model = variant_class("model", completed["model"], "match")
    loss = validated("loss", LossConfig, config.get("loss") or {})
    if not any(loss.values()):
        raise TrialError(
            "loss with no weight above 0",
            "the model would not learn",
            "at least one weight above 0",
            "loss: {sentence: 1.0}",
        )
    resolved = {
        "data": validated("data", DataConfig, config["data"]),
        "model": {"name": config["model"]["name"], **validated("model", model, section_options(config["model"]))},
        "loss": {name: weight for name, weight in loss.items() if weight},
        "optimiser": validated("optimiser", variant_class("optimiser", completed["optimiser"]), completed["optimiser"]),
        "schedule": optional_section("schedule", config.get("schedule")),
        "batch": validated("", BatchConfig, {"batch": config.get("batch", 64)})["batch"],
        "epochs": validated("", EpochsConfig, {"epochs": config.get("epochs", 1)})["epochs"],
    }
    if resolved["schedule"] == {"name": "none"}:
        resolved["schedule"] = None
    if resolved["data"]["captions"] is None or resolved["data"]["captions"]["text"] == "none":
        raise TrialError(
            "task: match with data without captions",
            "the task matches images with captions",
            "captions from a template, a file or a folder",
            'data: {captions: {template: "a photo of a {class}"}}',
            "data.captions",
        )
    return resolved


def identity(resolved: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the part of a resolved configuration that determines the result; see `sweeps.spec.trial.Trial`."""
    parts = {key: value for key, value in resolved.items() if key != "epochs"}
    if isinstance((resolved["schedule"] or {}).get("every"), float):
        parts["epochs"] = resolved["epochs"]
    return {"seed": seed, **without_none(parts)}


def needs(resolved: Mapping[str, Any], seed: int) -> Needs:  # noqa: ARG001 - part of the task interface
    """No inputs from the store: images and captions are files."""
    return Needs()
