"""Lists the models, masks and loss terms with their options; imports no torch, so that a sweep file is checked quickly.

The options of a model are the fields of `Config` in `config.py` of its package in one of FOLDERS. Only this file of the
package is imported. The options of a mask are the keyword-only parameters of its function in `masks/families.py`, read
from the source: only these definitions are executed, and they may use only the names in `_NAMES`. The loss terms are
the public functions of `inpaint/losses.py` and `detect/losses.py`, plus the terms of discriminators and networks that a
model's `Config` names. `tests/trainables/config/test_schema.py` compares what is read with the imported modules.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from trainables.config.model_sections import ModelConfig
from trainables.config.sections import FractionRange, IntRange, StrictConfig

HERE = Path(__file__).parent
FOLDERS = ("inpaint/methods", "detect/detectors", "stack/ensembles", "match/networks")
"""The folders of the models: each holds one package for each model, with the model's name."""

_NAMES: dict[str, Any] = {
    "Annotated": Annotated,
    "Field": Field,
    "FractionRange": FractionRange,
    "IntRange": IntRange,
    "Literal": Literal,
}


@cache
def all_model_names() -> tuple[str, ...]:
    """The models of every task."""
    return tuple(sorted(_model_packages()))


@cache
def _model_packages() -> dict[str, str]:
    """The dotted name of each model's package."""
    packages = [path.parent for folder in FOLDERS for path in (HERE / folder).glob("*/config.py")]
    return {path.name: ".".join([__package__, *path.relative_to(HERE).parts]) for path in packages}


def model_module(name: str) -> str:
    """The dotted name of the module with a model's `build`."""
    return f"{_model_packages()[name]}.network"


@cache
def model_names(task: str = "inpaint") -> tuple[str, ...]:
    """The models of a task."""
    return tuple(name for name in all_model_names() if model_config(name).task == task)


@cache
def model_config(name: str) -> type[ModelConfig]:
    """The `Config` class of a model."""
    config: type[ModelConfig] = importlib.import_module(f"{_model_packages()[name]}.config").Config
    return config


@cache
def mask_configs() -> dict[str, type[StrictConfig]]:
    """A configuration class for each mask family.

    The families are the functions of `trainables/masks/families.py` that return a `MaskDraw`, except `draw`.
    """
    return {
        node.name: _function_config(node)
        for node in _public_functions(HERE / "masks" / "families.py")
        if node.returns is not None and ast.unparse(node.returns) == "MaskDraw" and node.name != "draw"
    }


@cache
def adversarial_names() -> dict[str, tuple[str, ...]]:
    """The adversarial loss terms, each with the models that have a discriminator for it."""
    return _by_term({model: model_config(model).adversarial for model in model_names()})


@cache
def discriminator_names() -> dict[str, tuple[str, ...]]:
    """The additional loss terms of discriminators, each with the models that have it."""
    return _by_term({model: model_config(model).discriminator_terms for model in model_names()})


@cache
def network_names() -> dict[str, tuple[str, ...]]:
    """The loss terms that a network computes itself, each with the models that do so."""
    return _by_term({model: model_config(model).terms for model in model_names()})


def _by_term(terms: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    models: dict[str, tuple[str, ...]] = {}
    for model, names in terms.items():
        for term in names:
            models[term] = (*models.get(term, ()), model)
    return models


@cache
def loss_inputs() -> dict[str, tuple[str, ...]]:
    """The reconstruction terms (the public functions of `inpaint/losses.py`) with their parameter names."""
    return {
        node.name: tuple(a.arg for a in node.args.args) for node in _public_functions(HERE / "inpaint" / "losses.py")
    }


@cache
def loss_names() -> tuple[str, ...]:
    """The reconstruction terms."""
    return tuple(loss_inputs())


@cache
def detection_inputs() -> dict[str, tuple[str, ...]]:
    """The loss terms of task `detect` (the public functions of `detect/losses.py`) with their parameter names."""
    functions = _public_functions(HERE / "detect" / "losses.py")
    return {node.name: tuple(a.arg for a in node.args.args) for node in functions}


def _public_functions(path: Path) -> list[ast.FunctionDef]:
    tree = ast.parse(path.read_text())
    return [n for n in tree.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]


def _function_config(node: ast.FunctionDef) -> type[StrictConfig]:
    arguments = ast.arguments([], [], None, node.args.kwonlyargs, node.args.kw_defaults, None, [])
    stub = ast.parse(f"def {node.name}({ast.unparse(arguments)}): ...").body[0]
    function = _execute(stub, "trainables.masks.families")[node.name]
    fields = {
        p.name: (p.annotation, ... if p.default is p.empty else p.default)
        for p in inspect.signature(function).parameters.values()
    }
    config: type[StrictConfig] = create_model(
        node.name, __base__=StrictConfig, name=(Literal[node.name], ...), **fields
    )  # type: ignore[call-overload]
    return config


def _execute(node: ast.stmt, module: str) -> dict[str, Any]:
    names = dict(_NAMES, __name__=module)
    exec(compile(ast.Module([node], []), module, "exec", dont_inherit=True), names)  # one definition of our own source
    return names
