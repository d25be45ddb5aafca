"""Turns a name in a sweep file into the code that it means; the only place that does so.

The names of a kind are found by listing: a package for each task, method, detector, ensemble and matching network, and
a public function for each mask and loss term. The options of a name are a pydantic class that is imported without
torch, so that a sweep file is checked in milliseconds; the code itself is imported when it is first used.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from trainables.config.messages import unknown_name_error
from trainables.config.sections import StrictConfig
from trainables.config.variant import options
from trainables.masks import config as mask_config

HERE = Path(__file__).parent
FOLDERS: Mapping[str, str] = {
    "task": "",
    "method": "inpaint/methods",
    "detector": "detect/detectors",
    "ensemble": "stack/ensembles",
    "matcher": "match/networks",
}
"""By kind: the folder with a package for each name. A package has `config.py`, with a class `Config`, and its code in
`task.py` for a task and in `network.py` otherwise."""
FUNCTIONS = {"mask": "masks/families", "loss": "inpaint/losses", "detection_loss": "detect/losses"}
"""By kind: the module with a public function for each name."""
MODELS = ("method", "detector", "ensemble", "matcher")
"""The kinds of code that `model.name` can mean; each belongs to another task."""


@dataclass(frozen=True)
class Code:
    """What a name means."""

    kind: str
    name: str
    config: type[Any]
    """The class of its options; for a task, of a whole configuration."""
    module: str
    """Dotted name of the module with its code."""

    def options(self, section: Mapping[str, Any]) -> Any:
        """The options of a section of a resolved configuration, as an instance of `config`."""
        return options(self.config, section)

    def load(self) -> Any:
        """The module with its code; imports torch."""
        return importlib.import_module(self.module)


@cache
def names(kind: str) -> tuple[str, ...]:
    """The names of a kind."""
    if kind == "mask":
        return tuple(_masks())
    if kind in FUNCTIONS:
        return tuple(parameters(kind))
    files = (HERE / FOLDERS[kind]).glob(f"*/{_module(kind)}.py")
    return tuple(sorted(file.parent.name for file in files if file.with_name("config.py").exists()))


@cache
def find(kind: str, name: str) -> Code:
    """The code of a name. Raises TrialError if there is no such name."""
    if name not in names(kind):
        raise unknown_name_error(kind, name, names(kind))
    if kind == "mask":
        return Code(kind, name, _masks()[name], _dotted(FUNCTIONS[kind]))
    package = _dotted(f"{FOLDERS[kind]}/{name}")
    return Code(kind, name, importlib.import_module(f"{package}.config").Config, f"{package}.{_module(kind)}")


def model(name: str) -> Code:
    """The code of `model.name`, of whatever task. Raises TrialError if there is no such model."""
    for kind in MODELS:
        if name in names(kind):
            return find(kind, name)
    raise unknown_name_error("model.name", name, models(), "model.name")


def models() -> tuple[str, ...]:
    """The models of every task."""
    return tuple(sorted(name for kind in MODELS for name in names(kind)))


class Options(Mapping[str, type[StrictConfig]]):
    """The classes of options of a kind, by name; a class is imported when it is asked for."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __getitem__(self, name: str) -> type[StrictConfig]:
        if name not in names(self.kind):
            raise KeyError(name)
        return find(self.kind, name).config

    def __iter__(self) -> Iterator[str]:
        return iter(names(self.kind))

    def __len__(self) -> int:
        return len(names(self.kind))


@cache
def parameters(kind: str) -> dict[str, tuple[str, ...]]:
    """The public functions of a kind, in the order of their source, each with the names of its parameters."""
    tree = ast.parse((HERE / f"{FUNCTIONS[kind]}.py").read_text())
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]
    return {node.name: tuple(argument.arg for argument in node.args.args) for node in functions}


@cache
def _masks() -> dict[str, type[mask_config.MaskConfig]]:
    """The classes of the module, in their order."""
    classes = [one for one in vars(mask_config).values() if isinstance(one, type)]
    families = [one for one in classes if issubclass(one, mask_config.MaskConfig) and one is not mask_config.MaskConfig]
    return {one.family: one for one in families}


def _module(kind: str) -> str:
    return "task" if kind == "task" else "network"


def _dotted(path: str) -> str:
    return ".".join([__package__, *filter(None, path.split("/"))])
