"""The configuration of task `inpaint`: validation, defaults and trial identity. This module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import Field, create_model

from trainables.config.messages import unknown_name_error, validated
from trainables.config.model_sections import ModelConfig
from trainables.config.sections import (
    BatchConfig,
    CaptionRetrieverConfig,
    DataConfig,
    DrawsConfig,
    EpochsConfig,
    FeaturesConfig,
    Needs,
    PhasesConfig,
    PrecisionConfig,
    StrictConfig,
    SyncConfig,
)
from trainables.config.variants import (
    omit_default,
    optional_section,
    section_options,
    test_masks,
    variant_class,
    without_none,
)
from trainables.errors import TrialError
from trainables.registry import (
    adversarial_names,
    discriminator_names,
    loss_inputs,
    loss_names,
    model_config,
    network_names,
)

SECTIONS = (
    *("data", "mask", "test_masks", "model", "loss", "features", "optimiser", "discriminator_optimiser"),
    *("schedule", "phases", "batch", "epochs", "sync_batch_norm", "precision", "draws", "judge"),
)


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """Validate a configuration and return it as plain data with all defaults filled in; options that are off are null.

    Loss terms with weight 0 are left out, and a model without parameters gets `epochs: 0`. Raises TrialError with the
    key, what is wrong and what is allowed.
    """
    for key in config:
        if key not in SECTIONS:
            raise unknown_name_error("key", key, SECTIONS, key)
    for key in ("data", "mask", "model"):
        if key not in config:
            raise TrialError(
                f"base without `{key}`",
                f"every trial of task inpaint needs `{key}`",
                f"{key}: {{name: ...}}",
                f"add `{key}:` to the base",
            )
    given = {"optimiser": {"name": "adam"}, **config}
    model, mask, optimiser = (variant_class(key, given[key]) for key in ("model", "mask", "optimiser"))
    name = config["model"]["name"]
    resolved = {
        "data": validated("data", DataConfig, config["data"]),
        "mask": validated("mask", mask, config["mask"]),
        "test_masks": test_masks(config.get("test_masks")),
        "model": {"name": name, **validated("model", model, section_options(config["model"]))},
        "loss": _loss(config.get("loss", {"l2": 1.0}), name),
        "features": validated("features", FeaturesConfig, config.get("features") or {}),
        "optimiser": validated("optimiser", optimiser, given["optimiser"]),
        "discriminator_optimiser": optional_section("discriminator_optimiser", config.get("discriminator_optimiser")),
        "schedule": optional_section("schedule", config.get("schedule")),
        "phases": None if config.get("phases") is None else validated("phases", PhasesConfig, config["phases"]),
        "batch": validated("", BatchConfig, {"batch": config.get("batch", 64)})["batch"],
        "epochs": validated("", EpochsConfig, {"epochs": config.get("epochs", 1)})["epochs"],
        "sync_batch_norm": omit_default(True, "sync_batch_norm", SyncConfig, config),
        "precision": omit_default("float32", "precision", PrecisionConfig, config),
        "draws": omit_default(None, "draws", DrawsConfig, config),
        "judge": None if config.get("judge") is None else validated("judge", CaptionRetrieverConfig, config["judge"]),
    }
    if not adversarial_terms(resolved):
        resolved["discriminator_optimiser"] = resolved["phases"] = None
    if not _trains(resolved) or not any("features" in loss_inputs().get(term, ()) for term in resolved["loss"]):
        resolved["features"] = None
    if resolved["schedule"] == {"name": "none"}:
        resolved["schedule"] = None
    if resolved["phases"]:
        _check_phases(resolved)
    if not model_config(name).samples:
        resolved["draws"] = None
    if not _trains(resolved):
        resolved["epochs"] = 0
    if "matching" in resolved["loss"] and (resolved["data"]["captions"] or {"text": "none"})["text"] == "none":
        raise TrialError(
            "loss.matching with images that have no captions",
            "the term compares images with their captions",
            "captions from a template, a file or a folder; or a loss without this term",
            'data: {captions: {template: "a photo of a {class}"}}, or remove `loss.matching`',
            "loss.matching",
        )
    _check_matchers(resolved)
    checked = model_config(name).model_validate(section_options(resolved["model"]))
    for section in (resolved["mask"], *(resolved["test_masks"] or {}).values()):
        checked.check(section, resolved["data"]["size"])
    return resolved


def _trains(resolved: Mapping[str, Any]) -> bool:
    return model_config(resolved["model"]["name"]).trains


def adversarial_terms(resolved: Mapping[str, Any]) -> tuple[str, ...]:
    """The adversarial loss terms with a weight above 0; only their discriminators are built and trained."""
    return tuple(term for term in resolved["loss"] if term in adversarial_names())


def network_terms(resolved: Mapping[str, Any]) -> tuple[str, ...]:
    """The loss terms with a weight above 0 that the network computes itself, in its `learn` method."""
    return tuple(term for term in resolved["loss"] if term in network_names())


def identity(resolved: dict[str, Any], seed: int) -> dict[str, Any]:
    """The part of a resolved configuration that determines the result of a trial; see `sweeps.spec.trial.Trial`.

    Options that are off (null) are left out, so a new option does not change the identity of older trials. `epochs` is
    left out unless the schedule or the phases are defined as fractions of the epochs.
    """
    parts = {key: value for key, value in resolved.items() if key != "epochs"}
    if not _trains(resolved):
        return without_none({key: parts[key] for key in ("data", "mask", "test_masks", "model", "judge")})
    if resolved["phases"] or isinstance((resolved["schedule"] or {}).get("every"), float):
        parts["epochs"] = resolved["epochs"]
    return {"seed": seed, **without_none(parts)}


def needs(resolved: Mapping[str, Any], seed: int) -> Needs:  # noqa: ARG001 - signature shared by all tasks
    """The finished trials that this trial needs: the networks named by `judge` and `model.text_encoder`."""
    return Needs(networks=tuple(dict.fromkeys(_matchers(resolved).values())))


def _matchers(resolved: Mapping[str, Any]) -> dict[str, str]:
    """The trials of task `match` that the configuration uses, by configuration key."""
    sections = {"judge": resolved.get("judge"), "model.text_encoder": resolved["model"].get("text_encoder")}
    return {key: section["trial"] for key, section in sections.items() if section}


def _check_matchers(resolved: Mapping[str, Any]) -> None:
    """Check that networks of task `match` have captions to read, and that the judge is not the text encoder."""
    trials = _matchers(resolved)
    if trials and resolved["data"]["captions"] is None:
        key = next(iter(trials))
        raise TrialError(
            f"{key} with images that have no captions",
            "the network reads the captions of the images",
            "captions from a template, a file or a folder, as in the trial that trained the network",
            f'data: {{captions: {{template: "a photo of a {{class}}"}}}}, or remove `{key}`',
            key,
        )
    if len(set(trials.values())) < len(trials):
        raise TrialError(
            f"judge and model.text_encoder: {{trial: {trials['judge']}}}",
            "the judge must not share weights with the model that it evaluates",
            "two different trials of task match, for example of two arms of one sweep",
            "judge: {best: {sweep: text-encoder, metric: val/text_r1, arm: sentence alone}}",
            "judge",
        )


def check_networks(resolved: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise TrialError if the network of a referenced trial cannot be used here.

    configs: the resolved configurations of the referenced trials, by trial id.
    """
    for key, trial in _matchers(resolved).items():
        if trial not in configs:
            continue
        given, config, size = f"{key}: {{trial: {trial}}}", configs[trial], resolved["data"]["size"]
        _check_matcher(given, config["model"]["name"], key)
        if config["data"]["size"] != size:
            raise TrialError(
                given,
                f"it was trained on images of {config['data']['size']} px, but this trial uses {size} px",
                f"a trial of task match on images of {size} px",
                f"set `data: {{size: {config['data']['size']}}}`, or name another trial",
                key,
            )
        if key == "model.text_encoder":
            _check_sizes(given, config["model"], resolved["model"])


def _check_sizes(given: str, matcher: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """Raise TrialError if the encoders of a matching network have other sizes than those of the model."""
    required = model_config(model["name"]).model_validate(section_options(dict(model))).reads_as()
    wrong = [f"{name} is {matcher.get(name)}" for name, value in required.items() if matcher.get(name) != value]
    if wrong:
        raise TrialError(
            given,
            "its encoders do not fit the model: " + ", ".join(wrong),
            f"a trial of {matcher['name']} with " + ", ".join(f"{name}: {value}" for name, value in required.items()),
            "name another trial, or change `model.width`, `model.embedding` or `model.recurrent` here",
            "model.text_encoder",
        )


def _check_matcher(given: str, model: str, key: str) -> None:
    task = model_config(model).task
    if task != "match":
        raise TrialError(
            given,
            f"it is a trial of task {task} (model {model}), which does not match captions with images",
            "a finished trial of task match",
            f"{key}: {{best: {{sweep: text-encoder, metric: val/text_r1}}}}, or the id of a trial of task match",
            key,
        )


def _loss(value: Any, model: str) -> dict[str, float]:
    """Validate the loss weights and return those above 0.

    A model without parameters accepts the terms of every model, because it uses none.
    """
    if not isinstance(value, dict):
        raise TrialError(f"loss: {value!r}", "it is not a mapping", "{term: weight}", "loss: {l2: 1.0}")
    config = model_config(model)
    special = {**adversarial_names(), **discriminator_names(), **network_names()}
    own = (*config.adversarial, *config.discriminator_terms, *config.terms)
    terms = (*loss_names(), *(own if config.trains else special))
    for key in value:
        if key in special and key not in terms:
            raise TrialError(
                f"loss.{key} with model.name: {model}",
                f"{model} has no {'discriminator for this term' if key in adversarial_names() else 'such term'}",
                f"models with this term: {', '.join(special[key])}; terms of {model}: {', '.join(terms)}",
                f"remove `loss.{key}`, or choose another model",
                f"loss.{key}",
            )
        if key not in terms:
            raise unknown_name_error("loss", key, terms, f"loss.{key}")
    weights = validated("loss", _loss_config(terms), value)
    if not any(weights.values()):
        raise TrialError(
            "loss with no weight above 0", "there is nothing to learn", "at least one weight above 0", "loss: {l2: 1.0}"
        )
    _check_discriminators(weights, config)
    return {name: weight for name, weight in weights.items() if weight}


def _check_discriminators(weights: Mapping[str, float], config: type[ModelConfig]) -> None:
    """Check that additional discriminator terms come with an adversarial term, whose discriminator is trained."""
    if not config.trains or any(weights[term] for term in config.adversarial):
        return
    for term in config.discriminator_terms:
        if weights[term]:
            raise TrialError(
                f"loss.{term}: {weights[term]} without a weight of {' or '.join(config.adversarial)}",
                f"{term} is computed by a discriminator, and no discriminator is trained",
                f"both {term} and {config.adversarial[0]}, or neither",
                f"add `{config.adversarial[0]}: 1.0` to `loss`, or set `loss.{term}: 0.0`",
                f"loss.{term}",
            )


def _check_phases(resolved: dict[str, Any]) -> None:
    """Check that every phase has an epoch, and that the first phase has a loss term without a discriminator."""
    phases, epochs = PhasesConfig.model_validate(resolved["phases"]), resolved["epochs"]
    if phases.at(epochs, epochs) != "both":
        raise TrialError(
            f"phases: {resolved['phases']} with epochs: {epochs}",
            "no epoch is left for training the network and its discriminators together",
            "fractions of the epochs that leave at least one epoch; each phase takes at least one",
            f"epochs: {max(3, epochs)} with phases: {{}}, or `phases: null` to train both from the first epoch on",
            "phases",
        )
    judged = {*adversarial_names(), *discriminator_names()}
    if judged.issuperset(resolved["loss"]):
        raise TrialError(
            f"phases with loss: {resolved['loss']}",
            "in the first phase the network is trained without discriminators, and no other loss term has a weight",
            f"a weight above 0 for at least one of {', '.join(loss_names())}",
            "add `l2_hole: 1.0` to `loss`, or set `phases: null`",
            "phases",
        )


@cache
def _loss_config(terms: tuple[str, ...]) -> type[StrictConfig]:
    fields: dict[str, Any] = {name: (Annotated[float, Field(ge=0)], 0.0) for name in terms}
    return create_model("Loss", __base__=StrictConfig, **fields)
