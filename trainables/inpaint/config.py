"""What a configuration of task `inpaint` accepts, and which part of it decides the outcome; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import Field, create_model

from trainables.config.messages import unknown, validated
from trainables.config.model_sections import ModelConfig
from trainables.config.sections import (
    BatchConfig,
    DataConfig,
    DrawsConfig,
    EpochsConfig,
    FeaturesConfig,
    JudgeConfig,
    Needs,
    PhasesConfig,
    PrecisionConfig,
    Strict,
    SyncConfig,
)
from trainables.config.variants import choose, chosen, options, test_masks, unless, without_none
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
    """A complete configuration with every default filled in, as plain data. What is off is left out, or null.

    Raises TrialError naming the key, what is wrong and what is allowed. A model without parameters has no epochs.
    """
    for key in config:
        if key not in SECTIONS:
            raise unknown("key", key, SECTIONS, key)
    for key in ("data", "mask", "model"):
        if key not in config:
            raise TrialError(
                f"base without `{key}`", "a trial needs it", f"{key}: {{name: ...}}", f"add `{key}:` to the base"
            )
    given = {"optimiser": {"name": "adam"}, **config}
    model, mask, optimiser = (choose(key, given[key]) for key in ("model", "mask", "optimiser"))
    name = config["model"]["name"]
    resolved = {
        "data": validated("data", DataConfig, config["data"]),
        "mask": validated("mask", mask, config["mask"]),
        "test_masks": test_masks(config.get("test_masks")),
        "model": {"name": name, **validated("model", model, options(config["model"]))},
        "loss": _loss(config.get("loss", {"l2": 1.0}), name),
        "features": validated("features", FeaturesConfig, config.get("features") or {}),
        "optimiser": validated("optimiser", optimiser, given["optimiser"]),
        "discriminator_optimiser": chosen("discriminator_optimiser", config.get("discriminator_optimiser")),
        "schedule": chosen("schedule", config.get("schedule")),
        "phases": None if config.get("phases") is None else validated("phases", PhasesConfig, config["phases"]),
        "batch": validated("", BatchConfig, {"batch": config.get("batch", 64)})["batch"],
        "epochs": validated("", EpochsConfig, {"epochs": config.get("epochs", 1)})["epochs"],
        "sync_batch_norm": unless(True, "sync_batch_norm", SyncConfig, config),
        "precision": unless("float32", "precision", PrecisionConfig, config),
        "draws": unless(None, "draws", DrawsConfig, config),
        "judge": None if config.get("judge") is None else validated("judge", JudgeConfig, config["judge"]),
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
            "there is nothing that images could match",
            "captions from a template, a file or a folder, or the other terms alone",
            'data: {captions: {template: "a photo of a {class}"}}, or remove `loss.matching`',
            "loss.matching",
        )
    _check_matchers(resolved)
    checked = model_config(name).model_validate(options(resolved["model"]))
    for section in (resolved["mask"], *(resolved["test_masks"] or {}).values()):
        checked.check(section, resolved["data"]["size"])
    return resolved


def _trains(resolved: Mapping[str, Any]) -> bool:
    return model_config(resolved["model"]["name"]).trains


def adversarial_terms(resolved: Mapping[str, Any]) -> tuple[str, ...]:
    """The adversarial loss terms that are on: those whose discriminators are built and trained."""
    return tuple(term for term in resolved["loss"] if term in adversarial_names())


def network_terms(resolved: Mapping[str, Any]) -> tuple[str, ...]:
    """The loss terms that are on and that the network gives itself."""
    return tuple(term for term in resolved["loss"] if term in network_names())


def identity(resolved: dict[str, Any], seed: int) -> dict[str, Any]:
    """The part of a resolved configuration that decides the outcome; see `sweeps.spec.trial.Trial`.

    Options that are off (null) are left out, so an option that is added later does not change the identity of older
    trials. `epochs` is left out unless a schedule or the phases count in shares of them.
    """
    parts = {key: value for key, value in resolved.items() if key != "epochs"}
    if not _trains(resolved):
        return without_none({key: parts[key] for key in ("data", "mask", "test_masks", "model", "judge")})
    if resolved["phases"] or isinstance((resolved["schedule"] or {}).get("every"), float):
        parts["epochs"] = resolved["epochs"]
    return {"seed": seed, **without_none(parts)}


def needs(resolved: Mapping[str, Any], seed: int) -> Needs:  # noqa: ARG001 - as of the other tasks
    """The networks that judge the fills, and that read captions; images and masks are files."""
    return Needs(networks=tuple(dict.fromkeys(_matchers(resolved).values())))


def _matchers(resolved: Mapping[str, Any]) -> dict[str, str]:
    """Trials of task `match` by the key that names them."""
    named = {"judge": resolved.get("judge"), "model.text_encoder": resolved["model"].get("text_encoder")}
    return {key: section["trial"] for key, section in named.items() if section}


def _check_matchers(resolved: Mapping[str, Any]) -> None:
    """They need captions, and a judge weights of its own."""
    named = _matchers(resolved)
    if named and resolved["data"]["captions"] is None:
        key = next(iter(named))
        raise TrialError(
            f"{key} with images that have no captions",
            "there are none that it could read",
            "captions from a template, a file or a folder, those that it was trained with",
            f'data: {{captions: {{template: "a photo of a {{class}}"}}}}, or remove `{key}`',
            key,
        )
    if len(set(named.values())) < len(named):
        raise TrialError(
            f"judge and model.text_encoder: {{trial: {named['judge']}}}",
            "a judge that shares weights with what it judges is none",
            "two trials of task match, of two arms of a sweep for instance",
            "judge: {best: {sweep: text-encoder, metric: val/text_r1, arm: sentence alone}}",
            "judge",
        )


def check_networks(resolved: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise TrialError where a trial whose network is used is none that can be. configs: resolved, by trial."""
    for key, trial in _matchers(resolved).items():
        if trial not in configs:
            continue
        given, config, size = f"{key}: {{trial: {trial}}}", configs[trial], resolved["data"]["size"]
        _check_matcher(given, config["model"]["name"], key)
        if config["data"]["size"] != size:
            raise TrialError(
                given,
                f"it was trained on images of {config['data']['size']} px, these have {size}",
                f"a trial of task match on images of {size} px",
                f"data: {{size: {config['data']['size']}}}, or another trial",
                key,
            )
        if key == "model.text_encoder":
            _check_sizes(given, config["model"], resolved["model"])


def _check_sizes(given: str, matcher: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """Whether the encoders of a matching network stand where those of a model do."""
    wanted = model_config(model["name"]).model_validate(options(dict(model))).reads_as()
    wrong = [f"{name} is {matcher.get(name)}" for name, value in wanted.items() if matcher.get(name) != value]
    if wrong:
        raise TrialError(
            given,
            "its encoders do not fit those of the model: "
            + ", ".join(f"{name} is {matcher.get(name)}" for name in wrong),
            f"a trial of {matcher['name']} with " + ", ".join(f"{name}: {value}" for name, value in wanted.items()),
            "another trial, or other sizes here: `model.width`, `model.embedding`, `model.recurrent`",
            "model.text_encoder",
        )


def _check_matcher(given: str, model: str, key: str) -> None:
    task = model_config(model).task
    if task != "match":
        raise TrialError(
            given,
            f"it is a trial of task {task} (model {model}), which reads no captions for images",
            "a finished trial of task match",
            f"{key}: {{best: {{sweep: text-encoder, metric: val/text_r1}}}}, or the id of such a trial",
            key,
        )


def _loss(value: Any, model: str) -> dict[str, float]:
    """The weights above 0. A model that does not train takes the terms of every model: it has no use for any."""
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
                f"that model has no {'discriminator for it' if key in adversarial_names() else 'such term'}",
                f"models that have one: {', '.join(special[key])}; terms of {model}: {', '.join(terms)}",
                f"remove `loss.{key}`, or choose another model",
                f"loss.{key}",
            )
        if key not in terms:
            raise unknown("loss", key, terms, f"loss.{key}")
    weights = validated("loss", _loss_config(terms), value)
    if not any(weights.values()):
        raise TrialError(
            "loss with no weight above 0", "there is nothing to learn", "one weight above 0", "loss: {l2: 1.0}"
        )
    _check_discriminators(weights, config)
    return {name: weight for name, weight in weights.items() if weight}


def _check_discriminators(weights: Mapping[str, float], config: type[ModelConfig]) -> None:
    """Their further terms need one that learns."""
    if not config.trains or any(weights[term] for term in config.adversarial):
        return
    for term in config.discriminator_terms:
        if weights[term]:
            raise TrialError(
                f"loss.{term}: {weights[term]} without a weight of {' or '.join(config.adversarial)}",
                "it is of a discriminator, and none is trained",
                f"{term} with {config.adversarial[0]}, or neither",
                f"add `{config.adversarial[0]}: 1.0` to `loss`, or set `loss.{term}: 0.0`",
                f"loss.{term}",
            )


def _check_phases(resolved: dict[str, Any]) -> None:
    """Every phase needs an epoch, and the network something to learn where it learns alone."""
    phases, epochs = PhasesConfig.model_validate(resolved["phases"]), resolved["epochs"]
    if phases.at(epochs, epochs) != "both":
        raise TrialError(
            f"phases: {resolved['phases']} with epochs: {epochs}",
            "no epoch is left in which the network and its discriminators learn together",
            "shares of the epochs that leave one, where each phase has one at least",
            f"epochs: {max(3, epochs)} with phases: {{}}, or `phases: null` for both from the first epoch on",
            "phases",
        )
    judged = {*adversarial_names(), *discriminator_names()}
    if judged.issuperset(resolved["loss"]):
        raise TrialError(
            f"phases with loss: {resolved['loss']}",
            "the network learns without its discriminators first, and has nothing else to learn from",
            f"one of {', '.join(loss_names())} with a weight",
            "add `l2_hole: 1.0` to `loss`, or set `phases: null`",
            "phases",
        )


@cache
def _loss_config(terms: tuple[str, ...]) -> type[Strict]:
    fields: dict[str, Any] = {name: (Annotated[float, Field(ge=0)], 0.0) for name in terms}
    return create_model("Loss", __base__=Strict, **fields)
