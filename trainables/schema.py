"""What every task, model, mask and optimiser accepts, as plain data; imports no torch.

The options of a model are the fields of the `Config` class in `trainables/models/<name>.py`, those of a mask the
keyword-only parameters of its function in `trainables/data/masks.py`, and the loss terms are the public functions of
`trainables/losses.py`. Their source is read and only those definitions are executed, so that a sweep file can be
checked in milliseconds. They may use nothing but the names in `_NAMES`; `tests/trainables/test_schema.py` compares what
is read here with what the imported modules say.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import typing
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from trainables.errors import TrialError

HERE = Path(__file__).parent


class Strict(BaseModel):
    """Base of every configuration: unknown keys and wrong types are errors, values never change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ModelConfig(Strict):
    """Base of every model's `Config`. A class variable `trains = False` marks a model without parameters."""

    trains: ClassVar[bool] = True
    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """Range in which the model's losses are computed."""


def _ascending(pair: list[Any]) -> list[Any]:
    if pair[0] > pair[1]:
        raise ValueError(f"the first number is above the second ({pair[0]} > {pair[1]})")
    return pair


IntRange = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2), AfterValidator(_ascending)]
"""[lowest, highest], both drawn with equal chance."""
FractionRange = Annotated[
    list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=2, max_length=2), AfterValidator(_ascending)
]
"""[lowest, highest] share of the image, both within (0, 1)."""

_NAMES: dict[str, Any] = {
    name: globals()[name]
    for name in (
        "Annotated",
        "Any",
        "ClassVar",
        "Field",
        "FractionRange",
        "IntRange",
        "Literal",
        "ModelConfig",
        "model_validator",
    )
}


class DataConfig(Strict):
    name: Literal["cifar10", "folder"] = Field(description="which data set; `folder` is any folder of images")
    path: str | None = Field(None, description="folder: where it lies below the data root")
    split: str | None = Field(None, description="folder: CSV file below the data root, columns `file` and `split`")
    size: int = Field(32, ge=8, le=1024, description="side of the square images, px")
    train: int | None = Field(None, ge=2, description="how many training images; null for all")
    val: int | None = Field(None, ge=1, description="how many validation images; null for all")
    test: int | None = Field(None, ge=1, description="how many test images; null for all")

    @model_validator(mode="after")
    def _folder_needs_path(self) -> DataConfig:
        if (self.name == "folder") != (self.path is not None):
            raise ValueError("`path` goes with `name: folder`, and only with it")
        if self.split is not None and self.name != "folder":
            raise ValueError("`split` goes with `name: folder`")
        return self


class AdamConfig(Strict):
    name: Literal["adam"] = "adam"
    lr: float = Field(1e-3, gt=0, description="learning rate")
    betas: list[Annotated[float, Field(ge=0, lt=1)]] = Field([0.9, 0.999], min_length=2, max_length=2)
    weight_decay: float = Field(0.0, ge=0)


class SGDConfig(Strict):
    name: Literal["sgd"] = "sgd"
    lr: float = Field(1e-2, gt=0, description="learning rate")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)


OPTIMISERS: dict[str, type[Strict]] = {"adam": AdamConfig, "sgd": SGDConfig}
TASKS = ("inpaint",)
SECTIONS = ("data", "mask", "model", "loss", "optimiser", "batch", "epochs")


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
def loss_names() -> tuple[str, ...]:
    """The reconstruction terms: the public functions of `trainables/losses.py`."""
    return tuple(node.name for node in _public_functions(HERE / "losses.py"))


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
    """A complete configuration with every default filled in, as plain data.

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
    model, mask, optimiser = (_choose(key, config.get(key, {"name": "adam"})) for key in ("model", "mask", "optimiser"))
    resolved = {
        "data": _validate("data", DataConfig, config["data"]),
        "mask": _validate("mask", mask, config["mask"]),
        "model": {"name": config["model"]["name"], **_validate("model", model, _options(config["model"]))},
        "loss": _loss(config.get("loss", {"l2": 1.0})),
        "optimiser": _validate("optimiser", optimiser, config.get("optimiser", {"name": "adam"})),
        "batch": _validate("", _Batch, {"batch": config.get("batch", 64)})["batch"],
        "epochs": _validate("", _Epochs, {"epochs": config.get("epochs", 1)})["epochs"],
    }
    if not trains(resolved):
        resolved["epochs"] = 0
    return resolved


def trains(resolved: dict[str, Any]) -> bool:
    """Whether the model has parameters to train."""
    return model_config(resolved["model"]["name"]).trains


def identity(task: str, resolved: dict[str, Any], seed: int) -> dict[str, Any]:
    """The part of a resolved configuration that decides the outcome; see `sweeps.trial.Trial`.

    Options that are off (null) are left out, so an option that is added later does not change the identity of older
    trials. `epochs` is left out: no schedule depends on the total yet.
    """
    parts = {key: value for key, value in resolved.items() if key != "epochs"}
    if not trains(resolved):
        return {"task": task, **_without_none({key: parts[key] for key in ("data", "mask", "model")})}
    return {"task": task, "seed": seed, **_without_none(parts)}


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


class _Batch(Strict):
    batch: int = Field(ge=2, description="images a step; batch normalisation needs two")


class _Epochs(Strict):
    epochs: int = Field(ge=1, description="passes over the training images")


def _options(section: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != "name"}


def _choose(section: str, value: Any) -> type[Strict]:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise TrialError(
            f"{section}: {value!r}", "it does not say which", "{name: ..., options}", f"{section}: {{name: ...}}"
        )
    name = value["name"]
    if section == "model":
        if name not in model_names():
            raise unknown("model.name", name, model_names(), "model.name")
        return model_config(name)
    choices = mask_configs() if section == "mask" else OPTIMISERS
    if name not in choices:
        raise unknown(f"{section}.name", name, tuple(choices), f"{section}.name")
    return choices[name]


def _loss(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise TrialError(f"loss: {value!r}", "it is not a mapping", "{term: weight}", "loss: {l2: 1.0}")
    for key in value:
        if key not in loss_names():
            raise unknown("loss", key, loss_names(), f"loss.{key}")
    fields: dict[str, Any] = {name: (Annotated[float, Field(ge=0)], 0.0) for name in loss_names()}
    weights = _validate("loss", create_model("Loss", __base__=Strict, **fields), value)
    if not any(weights.values()):
        raise TrialError(
            "loss with no weight above 0", "there is nothing to learn", "one weight above 0", "loss: {l2: 1.0}"
        )
    return {name: weight for name, weight in weights.items() if weight}


def _validate(section: str, config: type[Strict], value: Any) -> dict[str, Any]:
    try:
        return config.model_validate(value).model_dump()
    except ValidationError as error:
        raise _translate(section, config, error) from None


def _translate(section: str, config: type[Strict], error: ValidationError) -> TrialError:
    first = error.errors()[0]
    key = ".".join([section] * bool(section) + [str(part) for part in first["loc"]])
    top = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return unknown(section, top, tuple(config.model_fields), key)
    if first["type"] == "missing":
        return TrialError(
            f"{section or 'base'} without `{top}`",
            "it is required",
            _allowed(config, top),
            f"add `{top}:` under `{section}:`",
        )
    why = first["msg"].removeprefix("Value error, ")
    return TrialError(
        f"{key}: {first['input']!r}" if first["loc"] else f"{section}: {first['input']!r}",
        why[0].lower() + why[1:],
        _allowed(config, top),
        f"change `{key}`",
        key,
    )


def _allowed(config: type[Strict], name: str) -> str:
    """What a field takes, in words: its type, bounds and default."""
    if name not in config.model_fields:
        return "values that fit together: " + ", ".join(config.model_fields)
    field = config.model_fields[name]
    kind = _type_name(field.annotation)
    bounds = [str(item) for item in field.metadata if not isinstance(item, AfterValidator)]
    default = "" if field.is_required() else f" (default {field.default!r})"
    return " ".join([kind, *bounds]) + default + (f": {field.description}" if field.description else "")


def _type_name(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return " or ".join(repr(item) for item in typing.get_args(annotation))
    if origin is Annotated:
        return _type_name(typing.get_args(annotation)[0])
    if isinstance(annotation, type) and origin is None:
        return {
            "int": "a whole number",
            "float": "a number",
            "str": "text",
            "bool": "true or false",
            "NoneType": "null",
        }.get(annotation.__name__, annotation.__name__)
    if origin is list:
        return f"a list of {_type_name(typing.get_args(annotation)[0])}"
    return " or ".join(_type_name(item) for item in typing.get_args(annotation))


def unknown(what: str, given: str, allowed: tuple[str, ...], key: str = "") -> TrialError:
    """The error for a name that is not among those allowed, with the nearest one suggested."""
    near = difflib.get_close_matches(given, allowed, 1)
    hint = f"did you mean {near[0]!r}?" if near else "one of those"
    if what == "model.name":
        hint += f" (to add one, create trainables/models/{given}.py)"
    return TrialError(f"{what} {given!r}", "there is no such name", ", ".join(allowed) or "nothing", hint, key)
