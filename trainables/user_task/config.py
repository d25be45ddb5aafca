"""The configuration of a user's task: options of its function, and columns that it reports; imports no torch."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from trainables.code import files
from trainables.code.metrics_and_datasets import DIRECTIONS
from trainables.code.references import Resolved
from trainables.code.signatures import error, options, parameters
from trainables.config.code_checks import check_config, check_defaults
from trainables.config.data_paths import DataPath, of_patterns
from trainables.config.messages import validated
from trainables.config.sections import StrictConfig
from trainables.config.task_config import TaskConfig, strings, without_none
from trainables.errors import TrialError

INPUTS = ("config", "context")
"""The parameters of the function that are no options: an instance of the file's `Config`, and a `Context`."""
SECTION = "parameters"
"""Key of a resolved configuration with the options of the function, which a sweep file writes directly in `base`."""
FILLED_IN = ("user_code", "metrics", "extend", SECTION)
"""Keys of a resolved configuration that a sweep file does not have."""
_COLUMN = re.compile(r"(val|test)/[a-z][a-z0-9_]*")
_EXAMPLE = 'metrics = {"val/accuracy": "max", "test/accuracy": "max"}'


class UserTaskConfig(TaskConfig):
    """Base of the classes of the configurations of users' tasks. Every other key of `base` is an option."""

    options_class: ClassVar[type[BaseModel]] = StrictConfig
    """The options of the function."""
    columns: ClassVar[Mapping[str, str]] = {}
    """The columns that it reports, each with its better direction."""
    extends: ClassVar[bool] = False
    """Whether no result depends on the total number of epochs."""

    epochs: int = Field(1, ge=1, description="number of epochs, each with one record of the function")
    reads: list[str] = Field(
        [],
        description="data that the function reads: files and folders, with * and **, relative to the data root; each "
        "result holds their fingerprint",
    )
    metrics: dict[str, str] | None = Field(None, description="columns that the file declares; filled in")
    extend: bool | None = Field(None, description="whether the file declares `extend = True`; filled in")
    parameters: dict[str, Any] = Field({}, description="options of the function; a sweep file has them in `base`")

    @classmethod
    def resolve(cls, config: dict[str, Any], folder: Path | None = None) -> dict[str, Any]:
        """As for every task. Keys that are not fields become `parameters`."""
        own = {key: value for key, value in config.items() if key in cls.model_fields and key != SECTION}
        others = {key: value for key, value in config.items() if key not in cls.model_fields}
        given = {**config[SECTION], **others} if isinstance(config.get(SECTION), dict) else others
        code = dict(config.get("user_code") or {})
        context = {"folder": folder, "user_code": code}
        pinned = files.pin_options(cls.options_class, given, context)
        placed = {option: files.path_of(name) for option, name in pinned.items()}
        resolved = validated("", cls.options_class, {**given, **placed}, context) | pinned
        found = super().resolve({**own, SECTION: resolved}, folder)
        used = {written: name for written, name in code.items() if name in set(strings(resolved))}
        return {**found, "user_code": used} if used else found

    @classmethod
    def complete(cls, resolved: dict[str, Any]) -> dict[str, Any]:
        """Fill in what the file declares, which a sweep file cannot change."""
        for key, value in (("metrics", dict(cls.columns)), ("extend", cls.extends)):
            if resolved[key] not in (None, value):
                raise TrialError(
                    f"{key}: {resolved[key]}",
                    "the file of the task declares it",
                    f"{key} = {value!r} in the file",
                    f"remove `{key}` from `base`, or change the file",
                    key,
                )
            resolved = {**resolved, key: value}
        return resolved

    @classmethod
    def identity(cls, resolved: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """The options of the function, and `epochs` unless the file declares `extend`. The task's name has its code."""
        epochs = None if resolved["extend"] else resolved["epochs"]
        return {"seed": seed, **without_none({SECTION: resolved[SECTION], "epochs": epochs})}

    @classmethod
    def data_paths(cls, resolved: Mapping[str, Any]) -> Iterator[DataPath]:
        """What the function reads below the data root."""
        yield from of_patterns(resolved["reads"])


def task(function: Callable[..., Any], module: ModuleType, name: Resolved) -> type[UserTaskConfig]:
    """The class of the configurations of a user's task.

    Raises TrialError for a function that does not take `context` or does not yield records, for options that cannot be
    used, and for columns that are not declared.
    """
    given, label = parameters(function), getattr(function, "__name__", str(name.item))
    if "context" not in given:
        raise error(
            name,
            f"{label} has no parameter `context`",
            "train(context, *, options), or train(config, context) with a class Config",
            f"def {label}(context, lr: float = 0.1):",
        )
    if not inspect.isgeneratorfunction(inspect.unwrap(function)):
        raise error(
            name,
            f"{label} does not yield: a task reports one record for each epoch",
            "a function with a loop over context.epochs that yields a dict in each epoch",
            'yield {"train/loss": loss, "val/accuracy": accuracy}',
        )
    chosen = _with_config(given, module, name) if "config" in given else _from_signature(function, given, module, name)
    for option in chosen.model_fields:
        if option in UserTaskConfig.model_fields:
            raise error(
                name,
                f"an option cannot be called {option!r}, which is a key of `base`: "
                f"{UserTaskConfig.model_fields[option].description}",
                "other names; the number of epochs is context.last_epoch",
                f"rename it, for example to own_{option}",
            )
    found = create_model("Config", __base__=UserTaskConfig)
    found.options_class = chosen
    found.columns = _columns(getattr(function, "metrics", getattr(module, "metrics", None)), name)
    found.extends = getattr(function, "extend", getattr(module, "extend", False))
    if not isinstance(found.extends, bool):
        allowed = "True, if no result depends on the total number of epochs; else False"
        raise error(name, f"`extend` is {found.extends!r}", allowed, "extend = True")
    return found


def tasks_in(functions: list[Any]) -> list[Any]:
    """Those of a module's own functions that are tasks."""
    return [one for one in functions if "context" in parameters(one)]


def _with_config(given: Mapping[str, inspect.Parameter], module: ModuleType, name: Resolved) -> type[BaseModel]:
    """The file's `Config`, with unknown keys refused."""
    beside = [one for one in given if one not in INPUTS]
    if beside:
        raise error(
            name,
            f"the function has a parameter {beside[0]!r} beside `config`",
            "train(config, context), with every option in Config; or train(context, *, options)",
            f"make {beside[0]!r} a field of Config",
        )
    config = check_config(module, name.file, BaseModel)
    check_defaults(config, name.file, module)
    place = {"__module__": config.__module__, "__qualname__": config.__qualname__}
    strict: type[BaseModel] = type(config)("Config", (config,), {"model_config": ConfigDict(extra="forbid"), **place})
    return strict


def _from_signature(
    function: Callable[..., Any], given: Mapping[str, inspect.Parameter], module: ModuleType, name: Resolved
) -> type[BaseModel]:
    if hasattr(module, "Config") and isinstance(module.Config, type) and module.Config.__module__ == module.__name__:
        raise error(
            name,
            "the file defines `Config`, and the function does not take it",
            "train(config, context), or options as parameters and no class Config",
            "add the parameter `config`",
        )
    chosen: type[BaseModel] = options(function, given, INPUTS, name, StrictConfig)
    return chosen


def _columns(metrics: Any, name: Resolved) -> Mapping[str, str]:
    """The columns that a file declares. Raises TrialError unless one of `val` or `test` is among them."""
    allowed = "a dict of columns val/NAME and test/NAME, each with max or min; those of train need no declaration"
    if not isinstance(metrics, dict) or not metrics:
        why = "it declares no `metrics`" if metrics is None else f"`metrics` is {metrics!r}"[:200]
        raise error(name, why, allowed, _EXAMPLE)
    for column, better in metrics.items():
        if not isinstance(column, str) or not _COLUMN.fullmatch(column) or better not in DIRECTIONS:
            raise error(name, f"`metrics` has {column!r}: {better!r}"[:200], allowed, _EXAMPLE)
    return dict(metrics)
