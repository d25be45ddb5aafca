"""What models, masks and loss terms there are and what each accepts, read out of their source; imports no torch.

The options of a model are the fields of the `Config` class in `trainables/models/<name>.py`, those of a mask the
keyword-only parameters of its function in `trainables/data/masks.py`, and the loss terms are the public functions of
`trainables/losses.py`, or of `detection_losses.py`, with the terms that a model's `Config` names: of its
discriminators, and of its network. Their source is read and only those definitions are executed, so that a sweep file
can be checked in milliseconds. They may use nothing but the names in `_NAMES`; `tests/trainables/test_schema.py`
compares what is read here with what the imported modules say.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, create_model, model_validator

from trainables.data.files import FolderConfig
from trainables.errors import TrialError
from trainables.sections import (
    DetectorConfig,
    FractionRange,
    IntRange,
    ModelConfig,
    RegionConfig,
    StackConfig,
    Strict,
    TrainedTextConfig,
)

HERE = Path(__file__).parent

_NAMES: dict[str, Any] = {
    "Annotated": Annotated,
    "Any": Any,
    "ClassVar": ClassVar,
    "DetectorConfig": DetectorConfig,
    "StackConfig": StackConfig,
    "Field": Field,
    "FolderConfig": FolderConfig,
    "FractionRange": FractionRange,
    "IntRange": IntRange,
    "Literal": Literal,
    "Mapping": Mapping,
    "ModelConfig": ModelConfig,
    "RegionConfig": RegionConfig,
    "TrainedTextConfig": TrainedTextConfig,
    "TrialError": TrialError,
    "model_validator": model_validator,
}


@cache
def all_model_names() -> tuple[str, ...]:
    """The models of every task."""
    return tuple(sorted(p.stem for p in (HERE / "models").glob("*.py") if not p.stem.startswith("_")))


@cache
def model_names(task: str = "inpaint") -> tuple[str, ...]:
    """The models of a task."""
    return tuple(name for name in all_model_names() if model_config(name).task == task)


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
    return _by_term({model: model_config(model).adversarial for model in model_names()})


@cache
def discriminator_names() -> dict[str, tuple[str, ...]]:
    """The further terms of discriminators, each with the models that have them."""
    return _by_term({model: model_config(model).discriminator_terms for model in model_names()})


@cache
def network_names() -> dict[str, tuple[str, ...]]:
    """The terms that networks give themselves, each with the models whose networks do."""
    return _by_term({model: model_config(model).terms for model in model_names()})


def _by_term(terms: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for model, names in terms.items():
        for term in names:
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


@cache
def detection_inputs() -> dict[str, tuple[str, ...]]:
    """The loss terms of task `detect`, the public functions of `trainables/detection_losses.py`, as `loss_inputs`."""
    found = _public_functions(HERE / "detection_losses.py")
    return {node.name: tuple(a.arg for a in node.args.args) for node in found}


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
