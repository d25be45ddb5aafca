"""What every task, model, mask and optimiser accepts, as plain data; imports no torch.

The options of a model are the fields of the `Config` class in `trainables/models/<name>.py`, those of a mask the
keyword-only parameters of its function in `trainables/data/masks.py`, and the loss terms are the public functions of
`trainables/losses.py` with the adversarial terms that a model's `Config` names. Their source is read and only those
definitions are executed, so that a sweep file can be checked in milliseconds. They may use nothing but the names in
`_NAMES`; `tests/trainables/test_schema.py` compares what is read here with what the imported modules say.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, create_model, model_validator

from trainables.data.files import FolderConfig
from trainables.errors import TrialError
from trainables.explain import unknown, validated
from trainables.sections import (
    OPTIMISERS,
    SCHEDULES,
    BatchConfig,
    DataConfig,
    EpochsConfig,
    FeaturesConfig,
    FractionRange,
    IntRange,
    ModelConfig,
    PhasesConfig,
    RegionConfig,
    Strict,
    SyncConfig,
)

HERE = Path(__file__).parent
TASKS = ("inpaint",)
LABEL = re.compile(r"[a-z][a-z0-9]*$")
"""What the masks of `test_masks` may be called."""
SECTIONS = (
    *("data", "mask", "test_masks", "model", "loss", "features", "optimiser", "discriminator_optimiser"),
    *("schedule", "phases", "batch", "epochs", "sync_batch_norm"),
)

_NAMES: dict[str, Any] = {
    "Annotated": Annotated,
    "Any": Any,
    "ClassVar": ClassVar,
    "Field": Field,
    "FolderConfig": FolderConfig,
    "FractionRange": FractionRange,
    "IntRange": IntRange,
    "Literal": Literal,
    "Mapping": Mapping,
    "ModelConfig": ModelConfig,
    "RegionConfig": RegionConfig,
    "TrialError": TrialError,
    "model_validator": model_validator,
}


# --- reading definitions out of source files --------------------------------------------------------------------------


@cache
def model_names() -> tuple[str, ...]:
    return tuple(sorted(p.stem for p in (HERE / "models").glob("*.py") if not p.stem.startswith("_")))


@cache
def model_config(name: str) -> type[ModelConfig]:
    """The `Config` class of `trainables/models/<name>.py`."""
    tree = ast.parse((HERE / "models" / f"{name}.py").read_text())
    node = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Config")
    config: type[ModelConfig] = _execute(node, f"trainables.models.{name}")["Config"]
    return config


@cache
def mask_configs() -> dict[str, type[Strict]]:
    """A configuration class for each mask: the functions of `trainables/data/masks.py` that return a `MaskDraw`.

    All but `draw`, which calls them.
    """
    return {
        node.name: _function_config(node)
        for node in _public_functions(HERE / "data" / "masks.py")
        if node.returns is not None and ast.unparse(node.returns) == "MaskDraw" and node.name != "draw"
    }


@cache
def adversarial_names() -> dict[str, tuple[str, ...]]:
    """The adversarial terms, each with the models that have a discriminator for it."""
    found: dict[str, tuple[str, ...]] = {}
    for model in model_names():
        for term in model_config(model).adversarial:
            found[term] = (*found.get(term, ()), model)
    return found


@cache
def loss_inputs() -> dict[str, tuple[str, ...]]:
    """The reconstruction terms, which are the public functions of `trainables/losses.py`, with what each takes."""
    return {node.name: tuple(a.arg for a in node.args.args) for node in _public_functions(HERE / "losses.py")}


@cache
def loss_names() -> tuple[str, ...]:
    """The reconstruction terms."""
    return tuple(loss_inputs())


def _public_functions(path: Path) -> list[ast.FunctionDef]:
    tree = ast.parse(path.read_text())
    return [n for n in tree.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]


def _function_config(node: ast.FunctionDef) -> type[Strict]:
    arguments = ast.arguments([], [], None, node.args.kwonlyargs, node.args.kw_defaults, None, [])
    stub = ast.parse(f"def {node.name}({ast.unparse(arguments)}): ...").body[0]
    function = _execute(stub, "trainables.data.masks")[node.name]
    fields = {
        p.name: (p.annotation, ... if p.default is p.empty else p.default)
        for p in inspect.signature(function).parameters.values()
    }
    config: type[Strict] = create_model(node.name, __base__=Strict, name=(Literal[node.name], ...), **fields)  # type: ignore[call-overload]
    return config


def _execute(node: ast.stmt, module: str) -> dict[str, Any]:
    names = dict(_NAMES, __name__=module)
    exec(
        compile(ast.Module([node], []), module, "exec", dont_inherit=True), names
    )  # our own source, one definition of it
    return names


# --- resolving --------------------------------------------------------------------------------------------------------


def resolve(task: str, config: dict[str, Any]) -> dict[str, Any]:
    """A complete configuration with every default filled in, as plain data. What is off is left out, or null.

    Raises TrialError naming the key, what is wrong and what is allowed. A model without parameters has no epochs.
    """
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    for key in config:
        if key not in SECTIONS:
            raise unknown("key", key, SECTIONS, key)
    for key in ("data", "mask", "model"):
        if key not in config:
            raise TrialError(
                f"base without `{key}`", "a trial needs it", f"{key}: {{name: ...}}", f"add `{key}:` to the base"
            )
    given = {"optimiser": {"name": "adam"}, **config}
    model, mask, optimiser = (_choose(key, given[key]) for key in ("model", "mask", "optimiser"))
    name = config["model"]["name"]
    resolved = {
        "data": validated("data", DataConfig, config["data"]),
        "mask": validated("mask", mask, config["mask"]),
        "test_masks": _test_masks(config.get("test_masks")),
        "model": {"name": name, **validated("model", model, _options(config["model"]))},
        "loss": _loss(config.get("loss", {"l2": 1.0}), name),
        "features": validated("features", FeaturesConfig, config.get("features") or {}),
        "optimiser": validated("optimiser", optimiser, given["optimiser"]),
        "discriminator_optimiser": _chosen("discriminator_optimiser", config.get("discriminator_optimiser")),
        "schedule": _chosen("schedule", config.get("schedule")),
        "phases": None if config.get("phases") is None else validated("phases", PhasesConfig, config["phases"]),
        "batch": validated("", BatchConfig, {"batch": config.get("batch", 64)})["batch"],
        "epochs": validated("", EpochsConfig, {"epochs": config.get("epochs", 1)})["epochs"],
        "sync_batch_norm": _unless(True, "sync_batch_norm", SyncConfig, config),
    }
    if not adversarial_terms(resolved):
        resolved["discriminator_optimiser"] = resolved["phases"] = None
    if not trains(resolved) or not any("features" in loss_inputs().get(term, ()) for term in resolved["loss"]):
        resolved["features"] = None
    if resolved["schedule"] == {"name": "none"}:
        resolved["schedule"] = None
    if resolved["phases"]:
        _check_phases(resolved)
    if not trains(resolved):
        resolved["epochs"] = 0
    checked = model_config(name).model_validate(_options(resolved["model"]))
    for section in (resolved["mask"], *(resolved["test_masks"] or {}).values()):
        checked.check(section, resolved["data"]["size"])
    return resolved


def trains(resolved: dict[str, Any]) -> bool:
    """Whether the model has parameters to train."""
    return model_config(resolved["model"]["name"]).trains


def adversarial_terms(resolved: Mapping[str, Any]) -> tuple[str, ...]:
    """The adversarial loss terms that are on: those whose discriminators are built and trained."""
    return tuple(term for term in resolved["loss"] if term in adversarial_names())


def identity(task: str, resolved: dict[str, Any], seed: int) -> dict[str, Any]:
    """The part of a resolved configuration that decides the outcome; see `sweeps.trial.Trial`.

    Options that are off (null) are left out, so an option that is added later does not change the identity of older
    trials. `epochs` is left out unless a schedule or the phases count in shares of them.
    """
    parts = {key: value for key, value in resolved.items() if key != "epochs"}
    if not trains(resolved):
        return {"task": task, **_without_none({key: parts[key] for key in ("data", "mask", "test_masks", "model")})}
    if resolved["phases"] or isinstance((resolved["schedule"] or {}).get("every"), float):
        parts["epochs"] = resolved["epochs"]
    return {"task": task, "seed": seed, **_without_none(parts)}


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def _options(section: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != "name"}


def _test_masks(value: Any) -> dict[str, Any] | None:
    """Mask sections by label; null where there are none. A label with null is one that is taken out."""
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(label, str) and LABEL.match(label) for label in value):
        raise TrialError(
            f"test_masks: {value!r}",
            "it is no mapping of labels, which end the names of columns",
            "{label: {name: ..., options}}, labels of lower-case letters and digits that begin with a letter",
            "test_masks: {lines: {name: lines}}",
            "test_masks",
        )
    given = {label: mask for label, mask in value.items() if mask is not None}
    return {
        label: validated(f"test_masks.{label}", _choose("mask", mask), mask) for label, mask in given.items()
    } or None


def _chosen(section: str, value: Any) -> dict[str, Any] | None:
    """A section with its defaults; null where it is not given."""
    return None if value is None else validated(section, _choose(section, value), value)


def _unless(usual: Any, key: str, config_class: type[Strict], config: Mapping[str, Any]) -> Any:
    """A key's value; null where it is the usual one, so that identities stay what they were without the key."""
    value = validated("", config_class, {key: config.get(key)})[key]
    return None if value == usual else value


def _choose(section: str, value: Any) -> type[Strict]:
    """The class of the variant that a section names."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise TrialError(
            f"{section}: {value!r}", "it does not say which", "{name: ..., options}", f"{section}: {{name: ...}}"
        )
    name = value["name"]
    if section == "model":
        if name not in model_names():
            raise unknown("model.name", name, model_names(), "model.name")
        return model_config(name)
    choices = {"mask": mask_configs(), "schedule": SCHEDULES}.get(section, OPTIMISERS)
    if name not in choices:
        raise unknown(f"{section}.name", name, tuple(choices), f"{section}.name")
    return choices[name]


def _loss(value: Any, model: str) -> dict[str, float]:
    """The weights above 0. A model that does not train takes the terms of every model: it has no use for any."""
    if not isinstance(value, dict):
        raise TrialError(f"loss: {value!r}", "it is not a mapping", "{term: weight}", "loss: {l2: 1.0}")
    config = model_config(model)
    terms = (*loss_names(), *(config.adversarial if config.trains else adversarial_names()))
    for key in value:
        if key in adversarial_names() and key not in terms:
            raise TrialError(
                f"loss.{key} with model.name: {model}",
                "that model has no discriminator for it",
                f"models that have one: {', '.join(adversarial_names()[key])}; terms of {model}: {', '.join(terms)}",
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
    return {name: weight for name, weight in weights.items() if weight}


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
    if len(adversarial_terms(resolved)) == len(resolved["loss"]):
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
