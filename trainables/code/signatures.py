"""The signatures of a user's functions and classes: their parameters, the options among them, and errors about them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import create_model
from pydantic.errors import PydanticSchemaGenerationError

from trainables.code import cache
from trainables.code.references import Resolved
from trainables.config.sections import StrictConfig
from trainables.errors import TrialError


def place(error: BaseException, default: str) -> str:
    """The last line in a user's code that led to an error, `file:line`; the default if there is none."""
    trace = error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if theirs := cache.path_in_code(file):
            default = f"{theirs}:{trace.tb_lineno}"
        trace = trace.tb_next
    return default


def error(name: Resolved, why: str, allowed: str, fix: str) -> TrialError:
    """The error about a user's file."""
    shown = f"{name.file}:{name.item}" if name.item else name.file
    return TrialError(shown, why, allowed, fix)


def parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    """The parameters by name; none of a function that has no signature, such as a built-in one."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def options(
    function: Any,
    given: Mapping[str, inspect.Parameter],
    inputs: Iterable[str],
    name: Resolved,
    base: type[StrictConfig],
) -> Any:
    """A class with a field for each parameter that is not an input."""
    hints = _hints(function)
    fields: dict[str, Any] = {}
    for one in given.values():
        if one.name in inputs or one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            continue
        if one.name == "name" or one.name.startswith("_"):
            raise error(
                name,
                f"an option cannot be called {one.name!r}",
                "another name",
                f"rename the parameter, for example to own_{one.name.strip('_')}",
            )
        default = ... if one.default is one.empty else one.default
        usual = Any if default in (..., None) else type(default)
        fields[one.name] = (hints.get(one.name, usual), default)
    try:
        return create_model("Config", __base__=base, **fields)
    except PydanticSchemaGenerationError as mistake:
        raise error(
            name,
            f"a parameter has a type that no YAML value has: {mistake}",
            "int, float, bool, str, list and dict, and Path for a file",
            "annotate it with one of these types, or give it a default",
        ) from mistake


def _hints(function: Any) -> dict[str, Any]:
    target = function.__init__ if inspect.isclass(function) else function
    try:
        return typing.get_type_hints(target, include_extras=True)
    except Exception:  # an annotation that only a type checker understands
        return {}
