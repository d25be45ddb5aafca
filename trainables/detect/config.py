"""The configuration of task `detect`: keys, defaults, and what they require of each other; imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from trainables import registry
from trainables.config import data_paths
from trainables.config.data_paths import DataPath
from trainables.config.messages import unknown_name_error
from trainables.config.model_sections import DetectorConfig
from trainables.config.sections import Needs, StrictConfig
from trainables.config.task_config import (
    Labelled,
    SyncBatchNorm,
    TrainingConfig,
    Weight,
    positive_weights,
    without_absent,
)
from trainables.detect.change_config import Change, by_level, check_resizing, complete_changes, extend_schema
from trainables.errors import TrialError
from trainables.forgery.config import TRIAL_SEED, ForgeConfig, SetConfig, forged_id, leave_out_newer, of_trial

TERMS = registry.parameters("detection_loss")
"""The loss terms (the public functions of `losses.py`), each with the names of its inputs."""
PHOTOGRAPHS = "images"
"""The only key of `data.forged` that a forged test set has where it names none.

The test set is then made from the same photographs in the same splits, so that none of them is trained on. The other
keys say how a set is made, and an arm that changes one of its own set is tested on the same set as every other arm.
`captions` are among them: only inpainters read them, so that other captions make other fakes.
"""
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


class LabelledSetConfig(StrictConfig):
    """A set of labelled images: a forged set, or a published one."""

    forged: ForgeConfig | None = Field(None, description="a forge block")
    set: SetConfig | None = Field(None, description="{layout: ..., path: ...}: a published set")

    @model_validator(mode="after")
    def _is_one(self) -> LabelledSetConfig:
        if (self.forged is None) == (self.set is None):
            raise ValueError("exactly one of `forged` (a forge block) and `set` (a published set) is required")
        return self


class DetectDataConfig(LabelledSetConfig):
    """The images to train on, and those to test on."""

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


Metrics = dict[str, Annotated[dict[str, Any], registry.section("detection_metric")]] | None


class Config(TrainingConfig):
    """The keys of `base`. A model that is not trained gets `epochs: 0`."""

    scored: ClassVar[tuple[str, ...]] = ("data", "test_sets", "test_changes", "model", "metrics")

    data: DetectDataConfig = Field(description="{forged: {...}}, a forge block, or {set: {layout: ...}}")
    test_sets: Labelled[LabelledSetConfig] = Field(
        None,
        description="{label: {forged: {...}}}: further test sets; a forge block without `images` has those of "
        "`data.forged`, and every other key that it omits has its default",
    )
    test_changes: Labelled[Change] = Field(
        None,
        description="{label: {jpeg: 75}}, {label: {jpeg: [90, 70]}}, {label: {name: ./FILE.py, options}}, or {label: "
        "{steps: [...], on: all}}: changed test images",
    )
    model: Annotated[dict[str, Any], registry.section("detector")] = Field(description="{name: ..., options}")
    loss: dict[str, Weight] | None = Field(None, description="{term: weight}; null: by the outputs of the model")
    boxes: BoxesConfig | None = Field(None, description="how the box loss is computed")
    sync_batch_norm: SyncBatchNorm = None
    metrics: Metrics = Field(None, description="{label: {name: ..., options}}: users' metrics; see `report.extra`")

    @model_validator(mode="before")
    @classmethod
    def _complete_test_sets(cls, config: Any) -> Any:
        """A forge block of `test_sets` without `images` is made from the photographs of the block under `data`."""
        if isinstance(config.get("test_changes"), dict):
            config = {**config, "test_changes": by_level(config["test_changes"])}
        data, sets = (config.get(key) for key in ("data", "test_sets"))
        own = data.get("forged") if isinstance(data, dict) else None
        if not isinstance(own, dict) or not isinstance(sets, dict):
            return config
        completed = {label: _with_photographs(own, label, section) for label, section in sets.items()}
        return {**config, "test_sets": completed}

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """A forge block of `test_sets` may omit `images`, and a change may have levels or steps."""
        schema = super().json_schema()
        classes = schema["$defs"]
        extend_schema(schema)
        required = [key for key in classes["ForgeConfig"]["required"] if key != PHOTOGRAPHS]
        classes["ForgedTestSet"] = {**classes["ForgeConfig"], "required": required}
        classes["LabelledSetConfig"]["properties"]["forged"]["anyOf"][0] = {"$ref": "#/$defs/ForgedTestSet"}
        return schema

    @classmethod
    def trains(cls, resolved: Mapping[str, Any]) -> bool:
        return detector(resolved["model"]).trains

    @classmethod
    def complete(cls, resolved: dict[str, Any]) -> dict[str, Any]:
        model = detector(resolved["model"])
        _check_use(resolved["data"])
        for section in (resolved["data"], *(resolved["test_sets"] or {}).values()):
            section.pop("set" if section["set"] is None else "forged")
            _complete_set(section.get("set") or {})
            leave_out_newer(section.get("forged") or {})
        resolved["data"]["input_size"] = _input_size(resolved["data"], model)
        resolved["loss"] = _loss(resolved["loss"], resolved["model"]["name"], model)
        resolved["test_changes"] = complete_changes(resolved["test_changes"], resolved["test_sets"] or {})
        _check_labels(resolved)
        check_resizing(resolved["test_changes"] or {}, image_size(resolved["data"]))
        on_boxes = any(TERMS[term][0].startswith("box") for term in resolved["loss"])
        resolved["boxes"] = (resolved["boxes"] or BoxesConfig().model_dump()) if on_boxes else None
        if not model.trains:
            resolved["epochs"] = 0
        return without_absent(resolved)

    @classmethod
    def data_paths(cls, resolved: Mapping[str, Any]) -> Iterator[DataPath]:
        """Those of published sets; a forged set is read from the store, as `needs` says."""
        for section in (resolved["data"], *(resolved.get("test_sets") or {}).values()):
            if section.get("set"):
                yield from data_paths.of_labelled_set(section["set"])

    @classmethod
    def needs(cls, resolved: Mapping[str, Any], seed: int) -> Needs:
        """Forged sets that the trial trains and tests on."""
        blocks = [of_trial(block, seed) for block in _blocks(resolved)]
        return Needs({forged_id(block): block for block in blocks})

    @classmethod
    def identity(cls, resolved: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """As of every task; a model that is not trained depends on the seed where its sets do."""
        parts = super().identity(resolved, seed)
        redrawn = any(block["seed"] == TRIAL_SEED for block in _blocks(resolved))
        return {"seed": seed, **parts} if redrawn else parts


def detector(section: Mapping[str, Any]) -> DetectorConfig:
    """Options of a resolved `model` section."""
    options: DetectorConfig = registry.find("detector", section["name"]).options(section)
    return options


def _blocks(resolved: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The forge blocks of the set and of the test sets."""
    sections = (resolved["data"], *(resolved["test_sets"] or {}).values())
    return [section["forged"] for section in sections if section.get("forged") is not None]


# --- checks -----------------------------------------------------------------------------------------------------------


def _with_photographs(own: Mapping[str, Any], label: Any, section: Any) -> Any:
    """A section of `test_sets` whose forge block has `images`. own: the forge block under `data`."""
    given = section.get("forged") if isinstance(section, dict) else None
    if not isinstance(given, dict):
        return section
    if "inpainters" not in given and given.keys() <= ForgeConfig.model_fields.keys():  # otherwise it may be misspelt
        key = f"test_sets.{label}.forged"
        raise TrialError(
            f"{key} without `inpainters`",
            "a test set has only the photographs (`images`) of `data.forged`, and `inpainters` has no default",
            "[{name: telea}, {trial: ID}]: fills without training, and trained inpainters",
            f"add `inpainters: [{{name: telea}}]`, or a copy of those of `data.forged`, under `{key}:`",
            f"{key}.inpainters",
        )
    photographs = {PHOTOGRAPHS: own[PHOTOGRAPHS]} if PHOTOGRAPHS in own else {}
    return {**section, "forged": {**photographs, **given}}


def _input_size(data: Mapping[str, Any], model: DetectorConfig) -> int:
    """Side of the network's input, px."""
    least = model.least_input()
    if data["input_size"] is None:
        return max(image_size(data), least)
    if data["input_size"] < least:
        raise TrialError(
            f"data.input_size: {data['input_size']}",
            "the model needs larger images",
            f"{least} or more, or null",
            f"data.input_size: {least}",
            "data.input_size",
        )
    return int(data["input_size"])


def _complete_set(section: dict[str, Any]) -> None:
    """Leave out `use` and `native` of a published set where they are off, as in older configurations."""
    if not section.get("native"):
        section.pop("native", None)
    if section.get("use") in (None, "test"):
        section.pop("use", None)


def _check_use(data: Mapping[str, Any]) -> None:
    """Raise TrialError if the set of `data` is one to test on alone."""
    photographs = (data.get("forged") or {}).get(PHOTOGRAPHS) or {}
    photographs = photographs if photographs.get("name") == "folder" else {}
    for key, section in (("data.set", data.get("set")), (f"data.forged.{PHOTOGRAPHS}", photographs)):
        if section and section.get("use"):
            raise TrialError(
                f"{key}.use: {section['use']}",
                "the set of `data` is trained, validated and tested on, by its splits",
                "`use` for sets of `test_sets`",
                "remove `use`, or name the set under `test_sets` as well",
                f"{key}.use",
            )


def image_size(data: Mapping[str, Any]) -> int:
    """Side of the set's images, px."""
    return int(data["forged"]["images"]["size"] if "forged" in data else data["set"]["size"])


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


def _loss(value: Mapping[str, float] | None, name: str, model: DetectorConfig) -> dict[str, float]:
    """Weights above 0. A model that is not trained accepts the terms of every model and uses none."""
    if value is None:
        return dict(LOSSES[model.gives()]) if model.trains else {}
    for key in value:
        if key not in TERMS:
            raise unknown_name_error("loss", key, tuple(TERMS), f"loss.{key}")
    if not model.trains:
        return {}
    allowed = tuple(term for term, inputs in TERMS.items() if inputs[0].startswith(model.gives()))
    for key, weight in value.items():
        if weight and key not in allowed:
            raise TrialError(
                f"loss.{key} with model.name: {name}",
                f"the model does not predict what this term needs; it predicts: {', '.join(model.gives())}",
                ", ".join(allowed),
                f"remove `loss.{key}`, or choose another `model.head`",
                f"loss.{key}",
            )
    return positive_weights({term: value.get(term, 0.0) for term in TERMS}, "bce")
