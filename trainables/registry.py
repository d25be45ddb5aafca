"""Turns a name in a sweep file into the code that it means; the only place that does so.

The names of a kind are found by listing: a package for each task, method, detector, ensemble and matching network, and
a public function for each mask and loss term. The options of a name are a pydantic class that is imported without
torch, so that a sweep file is checked in milliseconds; the code itself is imported when it is first used.
"""

from __future__ import annotations

import ast
import importlib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from trainables.code import definitions, references
from trainables.code.definitions import Definition
from trainables.config.code_checks import check_config
from trainables.config.messages import unknown_name_error
from trainables.config.model_sections import ModelConfig
from trainables.config.sections import SizedConfig, StrictConfig
from trainables.config.variant import Variant, options
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
METRICS = ("metric", "detection_metric")
"""The kinds of metrics, of tasks `inpaint` and `detect`; those of ours have no names here."""
USER_KINDS = (*MODELS, "mask", "loss", "dataset", "change", *METRICS, "task")
"""The kinds of code that users can bring."""
USER_TASK = "trainables.user_task.learner"
"""The module that runs a user's task."""
_USER_NAMES = r"\.py(:.+)?$|^[A-Za-z_][\w.]*:\w+$"
"""How users write the names of their files and modules, as a regular expression for JSON schemas."""


@dataclass(frozen=True)
class Code:
    """What a name means."""

    kind: str
    name: str
    config: type[Any]
    """The class of its options; for a task, of a whole configuration."""
    module: str
    """Dotted name of the module with its code."""
    definition: Definition | None = None
    """Of a user's code: what its file defines."""

    def options(self, section: Mapping[str, Any]) -> Any:
        """The options of a section of a resolved configuration, as an instance of `config`."""
        return options(self.config, section)

    def load(self) -> Any:
        """The module with its code; of a user's task, an object with the functions of such a module. Imports torch."""
        if self.kind == "task" and self.definition:
            return importlib.import_module(USER_TASK).UserTask(self)
        return self.definition.code if self.definition else importlib.import_module(self.module)

    def function(self) -> Any:
        """The function of a mask, loss term, metric or user's task; the class or function of a user's data set."""
        return self.definition.code if self.definition else getattr(self.load(), self.name)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Of a loss term, metric, data set or user's task: the names of its inputs, in the order of its parameters."""
        return self.definition.inputs if self.definition else parameters(self.kind)[self.name]


@cache
def names(kind: str) -> tuple[str, ...]:
    """The names of a kind."""
    if kind == "mask":
        return tuple(_masks())
    if kind == "dataset":
        return typing.get_args(SizedConfig.model_fields["name"].annotation)
    if kind in ("change", *METRICS):
        return ()
    if kind in FUNCTIONS:
        return tuple(parameters(kind))
    files = (HERE / FOLDERS[kind]).glob(f"*/{_module(kind)}.py")
    return tuple(sorted(file.parent.name for file in files if file.with_name("config.py").exists()))


@cache
def find(kind: str, name: str) -> Code:
    """The code of a name of ours, or of a resolved name of a user's.

    Raises TrialError if there is no such name, or if its `Config` cannot be used.
    """
    theirs = references.parse(name)
    if theirs and kind in USER_KINDS:
        defined = definitions.define(kind, theirs)
        return Code(kind, name, defined.config, theirs.module, defined)
    if name not in names(kind):
        raise unknown_name_error(kind, name, names(kind))
    if kind == "mask":
        return Code(kind, name, _masks()[name], _dotted(FUNCTIONS[kind]))
    if kind in FUNCTIONS:
        return Code(kind, name, StrictConfig, _dotted(FUNCTIONS[kind]))
    if kind == "dataset":
        return Code(kind, name, StrictConfig, _dotted("data/images"))
    package = _dotted(f"{FOLDERS[kind]}/{name}")
    base = StrictConfig if kind == "task" else ModelConfig
    config = check_config(importlib.import_module(f"{package}.config"), name, base)
    return Code(kind, name, config, f"{package}.{_module(kind)}")


def model(name: str) -> Code:
    """The code of `model.name`, of whatever task. Raises TrialError if there is no such model."""
    for kind in MODELS:
        if name in names(kind):
            return find(kind, name)
    if theirs := references.parse(name):
        return find(definitions.model_kind(theirs), name)
    raise unknown_name_error("model.name", name, models(), "model.name")


def models() -> tuple[str, ...]:
    """The models of every task."""
    return tuple(sorted(name for kind in MODELS for name in names(kind)))


class Options(Mapping[str, type[StrictConfig]]):
    """The classes of options of a kind, by name; a class is imported when it is asked for."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __getitem__(self, name: str) -> type[StrictConfig]:
        if name not in self:
            raise KeyError(name)
        config: type[StrictConfig] = find(self.kind, name).config
        return config

    def __contains__(self, name: object) -> bool:
        return name in names(self.kind) or (self.kind in USER_KINDS and bool(references.parse(str(name))))

    def __iter__(self) -> Iterator[str]:
        return iter(names(self.kind))

    def __len__(self) -> int:
        return len(names(self.kind))


def section(kind: str) -> Variant:
    """The annotation of a section that names code of a kind, ours or a user's, and gives its options."""
    return Variant(Options(kind), partial(resolve_name, kind), partial(user_names, kind))


def user_names(kind: str) -> dict[str, Any]:
    """The JSON schema of the names of users' code of a kind: files, modules, and entry points of installed packages."""
    written = {"type": "string", "pattern": _USER_NAMES}
    installed = sorted(references.installed(kind))
    return {"anyOf": [written, {"enum": installed}]} if installed else written


def resolve_name(kind: str, name: str, context: Mapping[str, Any]) -> str:
    """The name that `find` takes, of a name in a sweep file.

    context: `folder` of the sweep file, None for a stored plan, and `user_code`, which holds the names of a user's code
    that are resolved, and gets those that are resolved now: within one plan, a name means the same even if its file
    changes.
    """
    known: dict[str, str] = context.get("user_code", {})
    if name in names(kind) or kind not in USER_KINDS or references.parse(name):
        return name
    if name not in known and (references.is_written(name) or name in references.installed(kind)):
        known[name] = references.resolve(kind, name, context.get("folder"))
    return known.get(name, name)


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
