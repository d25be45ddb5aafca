"""The configuration of task `inpaint`: keys, defaults, and what they require of each other; imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, ValidationInfo

from trainables import registry
from trainables.code import references
from trainables.config import data_paths
from trainables.config.data_paths import DataPath
from trainables.config.fast_bf16 import fast_bf16
from trainables.config.messages import below, unknown_name_error
from trainables.config.model_sections import ModelConfig
from trainables.config.sections import CaptionRetrieverConfig, FeaturesConfig, Needs, PhasesConfig
from trainables.config.task_config import (
    Compile,
    Labelled,
    Optimiser,
    Precision,
    SyncBatchNorm,
    TrainingConfig,
    Weight,
    positive_weights,
    without_absent,
)
from trainables.data.section import Data
from trainables.errors import TrialError
from trainables.protocols import section as protocols
from trainables.registry import Code

Mask = Annotated[dict[str, Any], registry.section("mask")]
Metrics = dict[str, Annotated[dict[str, Any], registry.section("metric")]] | None


def _loss_name(name: str, info: ValidationInfo) -> str:
    return registry.resolve_name("loss", name, info.context or {})


class Config(TrainingConfig):
    """The keys of `base`. Loss terms with weight 0 are left out; a model without parameters gets `epochs: 0`."""

    off: ClassVar[Mapping[str, Any]] = {**TrainingConfig.off, "precision": "float32", "compile": False}
    scored: ClassVar[tuple[str, ...]] = (
        *("data", "mask", "test_masks", "model", "judge", "metrics"),
        "protocol",
    )

    data: Data = Field(description="{name: ..., size: ...}, see docs/sweep-files.md")
    mask: Mask = Field(description="{name: ..., options}: the holes of the training and test images")
    test_masks: Labelled[Mask] = Field(None, description="{label: {name: ..., options}}: further holes to test on")
    model: Annotated[dict[str, Any], registry.section("method")] = Field(description="{name: ..., options}")
    loss: dict[Annotated[str, AfterValidator(_loss_name)], Weight] = Field({"l2": 1.0}, description="{term: weight}")
    features: FeaturesConfig | None = Field(None, description="the classifier of `perceptual` and `style`")
    discriminator_optimiser: Optimiser | None = Field(None, description="null: as `optimiser`")
    phases: PhasesConfig | None = Field(None, description="training phases of a GAN; null: all networks from the start")
    sync_batch_norm: SyncBatchNorm = None
    precision: Precision = None
    compile: Compile = None
    draws: int | None = Field(
        None,
        ge=2,
        le=64,
        description="fills per test image, for models that draw at random; adds columns for their spread and the best",
    )
    judge: CaptionRetrieverConfig | None = Field(None, description="the network that finds the caption of a fill")

    metrics: Metrics = Field(None, description="{label: {name: ..., options}}: users' metrics; see `report.extra`")
    protocol: protocols.ProtocolSection | None = Field(
        None, description="what rates the fills after the last epoch; filled in from `protocol` of the sweep file"
    )

    @classmethod
    def trains(cls, resolved: Mapping[str, Any]) -> bool:
        return method_options(resolved).trains

    @classmethod
    def complete(cls, resolved: dict[str, Any]) -> dict[str, Any]:
        model, trains = method_options(resolved), cls.trains(resolved)
        resolved["loss"] = _loss(resolved["loss"], resolved["model"]["name"], model)
        if not any(term in adversarial_names() for term in resolved["loss"]):
            resolved["discriminator_optimiser"] = resolved["phases"] = None
        needs_features = any("features" in code.inputs for code in reconstruction_terms(resolved["loss"]).values())
        resolved["features"] = (
            (resolved["features"] or FeaturesConfig().model_dump()) if trains and needs_features else None
        )
        if resolved["phases"]:
            _check_phases(resolved)
        if not model.samples:
            resolved["draws"] = None
        if resolved["precision"] == "auto":
            resolved["precision"] = "bf16" if model.bf16_parity and fast_bf16() else None
        if not trains:
            resolved["epochs"], resolved["compile"] = 0, None
        _check_captions(resolved)
        _check_matchers(resolved)
        model.check_size(resolved["data"]["size"])
        for section in (resolved["mask"], *(resolved["test_masks"] or {}).values()):
            model.check(section, resolved["data"]["size"])
        if resolved["protocol"]:
            protocols.check(resolved["protocol"], resolved["data"]["size"], model)
        return without_absent(resolved)

    @classmethod
    def identity(cls, resolved: Mapping[str, Any], seed: int) -> dict[str, Any]:
        section = resolved.get("protocol")
        return super().identity({**resolved, "protocol": protocols.identity(section)} if section else resolved, seed)

    @classmethod
    def data_paths(cls, resolved: Mapping[str, Any]) -> Iterator[DataPath]:
        yield from data_paths.of_data(resolved["data"])
        for section in (resolved["mask"], *(resolved.get("test_masks") or {}).values()):
            yield from data_paths.of_mask(section)
        if weights := (resolved.get("features") or {}).get("weights"):
            yield DataPath(weights)
        yield from protocols.data_paths(resolved.get("protocol"))

    @classmethod
    def needs(cls, resolved: Mapping[str, Any], seed: int) -> Needs:
        """The finished trials that this trial needs: the networks named by `judge` and `model.text_encoder`."""
        return Needs(networks=tuple(dict.fromkeys(_matchers(resolved).values())))


def method_options(resolved: Mapping[str, Any]) -> ModelConfig:
    """The options of the method of a resolved configuration."""
    options: ModelConfig = registry.find("method", resolved["model"]["name"]).options(resolved["model"])
    return options


# --- names of loss terms ----------------------------------------------------------------------------------------------


def reconstruction_terms(loss: Iterable[str]) -> dict[str, Code]:
    """Those of some loss terms that compare images, by label: ours, and those of users."""
    known = registry.names("loss")
    terms = [name for name in loss if name in known or references.parse(name)]
    return {references.label(name): _term(name) for name in terms}


def _term(name: str) -> Code:
    try:
        return registry.find("loss", name)
    except TrialError as error:
        raise below("loss", error) from error


@cache
def adversarial_names() -> dict[str, tuple[str, ...]]:
    """The adversarial loss terms, each with the models that have a discriminator for it."""
    return _by_term({name: config.adversarial for name, config in _methods().items()})


@cache
def discriminator_names() -> dict[str, tuple[str, ...]]:
    """The additional loss terms of discriminators, each with the models that have it."""
    return _by_term({name: config.discriminator_terms for name, config in _methods().items()})


@cache
def network_names() -> dict[str, tuple[str, ...]]:
    """The loss terms that a method computes itself, each with the models that do so."""
    return _by_term({name: config.terms for name, config in _methods().items()})


def _methods() -> dict[str, type[ModelConfig]]:
    return {name: registry.find("method", name).config for name in registry.names("method")}


def _by_term(terms: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    models: dict[str, tuple[str, ...]] = {}
    for model, names in terms.items():
        for term in names:
            models[term] = (*models.get(term, ()), model)
    return models


# --- checks -----------------------------------------------------------------------------------------------------------


def _check_captions(resolved: Mapping[str, Any]) -> None:
    if "matching" in resolved["loss"] and (resolved["data"]["captions"] or {"text": "none"})["text"] == "none":
        raise TrialError(
            "loss.matching with images that have no captions",
            "the term compares images with their captions",
            "captions from a template, a file or a folder; or a loss without this term",
            'data: {captions: {template: "a photo of a {class}"}}, or remove `loss.matching`',
            "loss.matching",
        )


def _loss(value: Mapping[str, float], name: str, model: ModelConfig) -> dict[str, float]:
    """The loss weights above 0, in the order of the terms.

    A model without parameters accepts any term, because it uses none: the base may have one of a user's method.
    """
    special = {**adversarial_names(), **discriminator_names(), **network_names()}
    own = (*model.adversarial, *model.discriminator_terms, *model.terms)
    theirs = [term for term in value if references.parse(term)]
    _check_labels(theirs, {*registry.names("loss"), *special})
    terms = (*registry.names("loss"), *(own if model.trains else special), *theirs)
    for key in value:
        if key in special and key not in terms:
            raise TrialError(
                f"loss.{key} with model.name: {name}",
                f"{name} has no {'discriminator for this term' if key in adversarial_names() else 'such term'}",
                f"models with this term: {', '.join(special[key])}; terms of {name}: {', '.join(terms)}",
                f"remove `loss.{key}`, or choose another model",
                f"loss.{key}",
            )
        if key not in terms:
            if model.trains:
                raise unknown_name_error("loss", key, terms, f"loss.{key}")
            terms = (*terms, key)
    weights = positive_weights({term: value.get(term, 0.0) for term in terms}, "l2")
    _check_discriminators(weights, model)
    return weights


def _check_labels(theirs: Iterable[str], taken: set[str]) -> None:
    """Check that every term of a user has a column of its own."""
    for name in theirs:
        label = references.label(name)
        if label in taken:
            raise TrialError(
                f"loss.{name}",
                f"there is another loss term {label}, and each needs a column of its own",
                "functions whose names no other term has",
                f"rename the function, for example to my_{label}",
                "loss",
            )
        taken = {*taken, label}


def _check_discriminators(weights: Mapping[str, float], config: ModelConfig) -> None:
    """Check that additional discriminator terms come with an adversarial term, whose discriminator is trained."""
    if not config.trains or any(term in weights for term in config.adversarial):
        return
    for term in config.discriminator_terms:
        if term in weights:
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
            f"a weight above 0 for at least one of {', '.join(registry.names('loss'))}",
            "add `l2_hole: 1.0` to `loss`, or set `phases: null`",
            "phases",
        )


# --- networks of other trials ----------------------------------------------------------------------------------------


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
    required = registry.find("method", model["name"]).options(model).reads_as()
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
    task = registry.model(model).config.task
    if task != "match":
        raise TrialError(
            given,
            f"it is a trial of task {task} (model {model}), which does not match captions with images",
            "a finished trial of task match",
            f"{key}: {{best: {{sweep: text-encoder, metric: val/text_r1}}}}, or the id of a trial of task match",
            key,
        )
