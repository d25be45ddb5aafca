"""Configuration schema of task `detect`, and the part of it that determines the result. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, create_model, model_validator

from trainables.config.messages import unknown_name_error, validated
from trainables.config.model_sections import DetectorConfig
from trainables.config.sections import BatchConfig, EpochsConfig, Needs, StrictConfig, SyncConfig
from trainables.config.variants import (
    labelled_sections,
    omit_default,
    optional_section,
    section_options,
    variant_class,
    without_none,
)
from trainables.errors import TrialError
from trainables.forgery.config import forged_id, resolve_forge, resolve_set
from trainables.registry import detection_inputs, model_config

SECTIONS = (
    *("data", "test_sets", "test_changes", "model", "loss", "boxes"),
    *("optimiser", "schedule", "batch", "epochs", "sync_batch_norm"),
)
LOSSES: dict[tuple[str, ...], dict[str, float]] = {
    ("logit",): {"bce": 1.0},
    ("logit", "box"): {"bce": 100.0, "smooth_l1": 0.8},
    ("logit", "mask"): {"bce": 1.0, "mask_bce": 1.0, "mask_dice": 1.0},
}
"""Default loss terms by the outputs of the model; those with a box are the best ones of document 000."""


class FlipsConfig(StrictConfig):
    """Random flips of the training images, drawn for every image and epoch; boxes and masks are flipped with them."""

    flip: float | None = Field(None, gt=0, le=1, description="probability of a left-right flip")
    flip_vertical: float | None = Field(None, gt=0, le=1, description="probability of a top-bottom flip")


class DetectDataConfig(StrictConfig):
    """The section `data` except `forged` and `set`."""

    input_size: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="side that images are resized to, px; null: the set's, or the model's minimum if larger",
    )
    train: Annotated[int, Field(ge=2)] | Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="number of training images, half of them inpainted, or a share of all; null: all"
    )
    val: int | None = Field(None, ge=2, description="number of validation images, half of them inpainted; null: all")
    test: int | None = Field(None, ge=2, description="number of test images, half of them inpainted; null: all")
    fold: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, min_length=2, max_length=2, description="[i, k]: leave out fold i of k folds of the training photographs"
    )
    augment: FlipsConfig | None = Field(None, description="augmentation of the training images; null: none")

    @model_validator(mode="after")
    def _fold_is_valid(self) -> DetectDataConfig:
        if self.fold is not None and not self.fold[0] < self.fold[1]:
            raise ValueError("`fold: [i, k]` counts from 0: i must be below k")
        if self.fold is not None and self.fold[1] < 2:
            raise ValueError("`fold: [i, k]` needs k of at least 2")
        return self


class BoxesConfig(StrictConfig):
    units: Literal["pixel", "unit"] = Field(
        "pixel",
        description="unit of box coordinates in the loss: px of the set's images, or fractions of their side",
    )
    over: Literal["positives", "all"] = Field(
        "positives", description="images that the box loss covers; all: the target of negatives is 0 0 0 0"
    )
    beta: float = Field(
        1.0, gt=0, description="difference at which smooth_l1 changes from quadratic to linear, in `units`"
    )


class PerturbationConfig(StrictConfig):
    """One perturbation of the test images before they are scored."""

    jpeg: int | None = Field(None, ge=1, le=100, description="JPEG compression at this quality")
    webp: int | None = Field(None, ge=1, le=100, description="WebP compression at this quality")
    blur: float | None = Field(None, gt=0, le=64, description="Gaussian blur, standard deviation in px")
    noise: float | None = Field(None, gt=0, le=255, description="Gaussian noise, standard deviation in grey levels")
    resize: float | None = Field(None, ge=0.1, le=4, description="resize by this factor, and back to the original size")

    @model_validator(mode="after")
    def _is_one(self) -> PerturbationConfig:
        if sum(value is not None for value in self.model_dump().values()) != 1:
            raise ValueError("exactly one of jpeg, webp, blur, noise and resize is required")
        return self


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """Return the complete configuration as plain data, with every default filled in; what is off is absent or null.

    Raises TrialError naming the key, what is wrong and what is allowed. A model that is not trained has 0 epochs.
    """
    for key in config:
        if key not in SECTIONS:
            raise unknown_name_error("key", key, SECTIONS, key)
    for key, example in (("data", "{forged: {...}}"), ("model", "{name: ...}")):
        if config.get(key) is None:
            raise TrialError(f"base without `{key}`", f"`{key}` is required", f"{key}: {example}", f"add `{key}:`", key)
    given = {"optimiser": {"name": "adam"}, **config}
    name = _name_of(config["model"])
    section = {"name": name, **validated("model", model_config(name), section_options(config["model"]))}
    model = detector(section)
    resolved = {
        "data": _data(config["data"], model),
        "test_sets": _test_sets(config.get("test_sets"), config["data"]),
        "test_changes": _test_changes(config.get("test_changes")),
        "model": section,
        "loss": _loss(config.get("loss"), name, model),
        "boxes": validated("boxes", BoxesConfig, config.get("boxes") or {}),
        "optimiser": validated("optimiser", variant_class("optimiser", given["optimiser"]), given["optimiser"]),
        "schedule": optional_section("schedule", config.get("schedule")),
        "batch": validated("", BatchConfig, {"batch": config.get("batch", 64)})["batch"],
        "epochs": validated("", EpochsConfig, {"epochs": config.get("epochs", 1)})["epochs"],
        "sync_batch_norm": omit_default(True, "sync_batch_norm", SyncConfig, config),
    }
    _check_labels(resolved)
    if not any(detection_inputs()[term][0].startswith("box") for term in resolved["loss"]):
        resolved["boxes"] = None
    if resolved["schedule"] == {"name": "none"}:
        resolved["schedule"] = None
    if not model.trains:
        resolved["boxes"], resolved["epochs"] = None, 0
    return resolved


def detector(section: Mapping[str, Any]) -> DetectorConfig:
    """Options of a resolved `model` section."""
    config = model_config(section["name"]).model_validate(section_options(dict(section)))
    assert isinstance(config, DetectorConfig)
    return config


def identity(resolved: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the part of a resolved configuration that determines the result; see `sweeps.spec.trial.Trial`."""
    parts = {key: value for key, value in resolved.items() if key != "epochs"}
    if not detector(resolved["model"]).trains:
        return without_none({key: parts[key] for key in ("data", "test_sets", "test_changes", "model")})
    if isinstance((resolved["schedule"] or {}).get("every"), float):
        parts["epochs"] = resolved["epochs"]
    return {"seed": seed, **without_none(parts)}


def needs(resolved: Mapping[str, Any], seed: int) -> Needs:  # noqa: ARG001 - part of the task interface
    """Forged sets that the trial trains and tests on."""
    sections = (resolved["data"], *(resolved["test_sets"] or {}).values())
    blocks = [section["forged"] for section in sections if section.get("forged") is not None]
    return Needs({forged_id(block): block for block in blocks})


# --- sections ---------------------------------------------------------------------------------------------------------


def _name_of(value: Any) -> str:
    variant_class("model", value, "detect")
    return str(value["name"])


def _data(value: Any, model: DetectorConfig) -> dict[str, Any]:
    chosen_set = _set("data", value)
    plain = {key: item for key, item in value.items() if key not in ("forged", "set")}
    data = validated("data", DetectDataConfig, plain)
    least = model.least_input()
    if data["input_size"] is None:
        data["input_size"] = max(_size(chosen_set), least)
    elif data["input_size"] < least:
        raise TrialError(
            f"data.input_size: {data['input_size']}",
            "the model needs larger images",
            f"{least} or more, or null",
            f"data.input_size: {least}",
            "data.input_size",
        )
    return {**chosen_set, **data}


def _set(key: str, value: Any) -> dict[str, Any]:
    """{forged: resolved block} or {set: resolved section}."""
    given = [name for name in ("forged", "set") if isinstance(value, dict) and value.get(name) is not None]
    if len(given) != 1:
        raise TrialError(
            f"{key}: {value!r}"[:200],
            "exactly one of `forged` or `set` is required",
            "forged: {...}, a forge block, or set: {layout: ...}, a published dataset",
            f"{key}: {{forged: {{images: {{name: cifar10}}, inpainters: [{{name: telea}}]}}}}",
            key,
        )
    if given == ["forged"]:
        return {"forged": resolve_forge(value["forged"], f"{key}.forged")}
    return {"set": resolve_set(value["set"], f"{key}.set")}


def _size(section: Mapping[str, Any]) -> int:
    return int(section["forged"]["images"]["size"] if "forged" in section else section["set"]["size"])


def _test_sets(value: Any, data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Resolve the further test sets; keys that their forge blocks omit are taken from the block under `data`."""
    resolved = {}
    own = data.get("forged") or {}
    for label, section in labelled_sections("test_sets", value, "{...}", "other: {...}").items():
        given = section.get("forged") if isinstance(section, dict) else None
        whole = {**section, "forged": {**own, **given}} if isinstance(given, dict) else section
        resolved[label] = _set(f"test_sets.{label}", whole)
        for key in section:
            if key not in ("forged", "set"):
                raise unknown_name_error("key", key, ("forged", "set"), f"test_sets.{label}.{key}")
    return resolved or None


def _test_changes(value: Any) -> dict[str, Any] | None:
    given = labelled_sections("test_changes", value, "{...}", "other: {...}")
    return {
        label: validated(f"test_changes.{label}", PerturbationConfig, item) for label, item in given.items()
    } or None


def _check_labels(resolved: Mapping[str, Any]) -> None:
    both = set(resolved["test_sets"] or {}) & set(resolved["test_changes"] or {})
    if both:
        label = min(both)
        raise TrialError(
            f"test_changes.{label}",
            "`test_sets` has the same label, so their columns would have the same names",
            "labels that appear only once in `test_sets` and `test_changes`",
            f"rename it to {label}2",
            f"test_changes.{label}",
        )


def _loss(value: Any, name: str, model: DetectorConfig) -> dict[str, float]:
    """Weights above 0. A model that is not trained accepts the terms of every model and uses none."""
    if value is None:
        return dict(LOSSES[model.gives()]) if model.trains else {}
    if not isinstance(value, dict):
        raise TrialError(f"loss: {value!r}", "it is not a mapping", "{term: weight}", "loss: {bce: 1.0}", "loss")
    terms = tuple(detection_inputs())
    for key in value:
        if key not in terms:
            raise unknown_name_error("loss", key, terms, f"loss.{key}")
    weights = {key: weight for key, weight in validated("loss", _loss_config(terms), value).items() if weight}
    if not model.trains:
        return {}
    allowed = tuple(term for term in terms if detection_inputs()[term][0].startswith(model.gives()))
    for key in weights:
        if key not in allowed:
            raise TrialError(
                f"loss.{key} with model.name: {name}",
                f"the model does not predict what this term needs; it predicts: {', '.join(model.gives())}",
                ", ".join(allowed),
                f"remove `loss.{key}`, or choose another `model.head`",
                f"loss.{key}",
            )
    if not weights:
        raise TrialError(
            "loss with no weight above 0",
            "the model would not learn",
            "at least one weight above 0",
            "loss: {bce: 1.0}",
            "loss",
        )
    return weights


@cache
def _loss_config(terms: tuple[str, ...]) -> type[StrictConfig]:
    fields: dict[str, Any] = {name: (Annotated[float, Field(ge=0)], 0.0) for name in terms}
    return create_model("Loss", __base__=StrictConfig, **fields)
