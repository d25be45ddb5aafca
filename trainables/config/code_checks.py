"""Checks of the modules that a user can add, right after their import, and where a faulty piece of code is.

They take a loaded module, from whatever file. This file imports no torch: `Config` is checked with a sweep file.
"""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from trainables.code.cache import path_in_code
from trainables.config.model_sections import ModelConfig
from trainables.errors import TrialError

KEY = "model.name"


def source_place(item: Any) -> str:
    """`file:line` of a class or a function, `file:1` of a module; its module's name if there is no source.

    The file is relative to the folder of a user's code, or to the working directory if it is below it.
    """
    item = inspect.unwrap(item) if callable(item) else item
    try:
        file = inspect.getsourcefile(item) or inspect.getfile(item)
        line = 1 if inspect.ismodule(item) else inspect.getsourcelines(item)[1]
    except (TypeError, OSError):
        functions = [one for one in vars(item).values() if inspect.isfunction(one)] if isinstance(item, type) else []
        if functions:  # the module of the class is not in `sys.modules`
            return source_place(functions[0])
        return str(getattr(item, "__module__", None) or getattr(item, "__name__", item))  # built in
    return _shown(file, line)


def _shown(file: str, line: int) -> str:
    path, here = Path(file).resolve(), Path.cwd()
    theirs = path_in_code(path)
    if theirs:
        return f"{theirs}:{line}"
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{line}"


def described(item: Any) -> str:
    """A class or a function for an error: its name and its place."""
    item = inspect.unwrap(item)
    name = getattr(item, "__qualname__", type(item).__qualname__)
    return f"{name.rpartition('<locals>.')[2]} ({source_place(item)})"


def check_config(module: ModuleType, name: str, base: type[BaseModel] = ModelConfig) -> Any:
    """The class `Config` of a module. Raises TrialError if it cannot be the options of `name`."""
    config = getattr(module, "Config", None)
    if config is None:
        raise _config_error(name, source_place(module), "the module has no class `Config`", base, _hint(module, base))
    if not isinstance(config, type) or not issubclass(config, base):
        kind = type(config).__name__
        why = (
            f"`Config` is no subclass of {base.__name__}" if isinstance(config, type) else f"`Config` is of type {kind}"
        )
        raise _config_error(name, _place_in(module, "Config"), why, base, f"class Config({base.__name__}): ...")
    if issubclass(config, ModelConfig):
        _check_options(config, name, module)
    return config


def _hint(module: ModuleType, base: type[BaseModel]) -> str:
    """What to write where there is no `Config`: another class of the module may be meant."""
    own = [
        one.__name__
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, base) and one.__module__ == module.__name__
    ]
    return f"rename class {own[0]} to Config" if own else f"class Config({base.__name__}): ..."


def _config_error(name: str, place: str, why: str, base: type[BaseModel], fix: str) -> TrialError:
    return TrialError(
        f"Config of {name} ({place})",
        why,
        f"a class `Config`, a subclass of {base.__module__}.{base.__name__} with a field for each option",
        fix,
        KEY,
    )


def _check_options(config: type[ModelConfig], name: str, module: ModuleType) -> None:
    """Check the fields of the options, and the constants that say what kind of model it is."""
    for constant in sorted(ModelConfig.__class_vars__):
        if constant in config.model_fields:
            raise _field_error(name, module, constant, "it is a field, so the value has no effect", _constant(constant))
        kind = type(getattr(ModelConfig, constant))
        if not isinstance(getattr(config, constant), kind):
            why = f"it is {getattr(config, constant)!r}, and not of type {kind.__name__}"
            raise _field_error(name, module, constant, why, _constant(constant))
    if "name" in config.model_fields:
        why = "`name` names the model in a sweep file, so an option cannot have this name"
        raise _field_error(name, module, "name", why, "rename the field, for example to kind")
    check_defaults(config, name, module)


def check_defaults(config: type[BaseModel], name: str, module: ModuleType) -> None:
    """Check that each default is a value that the field allows, and plain data: it becomes part of a trial's id."""
    fields = {key: field for key, field in config.model_fields.items() if not field.is_required()}
    defaults = {key: field.get_default(call_default_factory=True) for key, field in fields.items()}
    for key, value in defaults.items():
        try:
            json.dumps(value, default=_plain)
        except TypeError:
            why = f"its default is of type {type(value).__name__}, which a trial's configuration cannot have"
            fix = "use a number, text, true or false, null, or a list or dict of them, and make the object in `build`"
            raise _field_error(name, module, key, why, fix) from None
    try:
        config.model_validate(defaults)
    except ValidationError as error:
        for one in error.errors():
            if one["type"] != "missing" and one["loc"]:
                why = f"its default is not allowed: {one['msg'][0].lower()}{one['msg'][1:]}"
                fix = "change the default, or the type or bounds of the field"
                raise _field_error(name, module, ".".join(map(str, one["loc"])), why, fix) from None


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, Path):
        return str(value)
    raise TypeError


def _constant(name: str) -> str:
    return f"{name}: ClassVar[{ModelConfig.__annotations__[name].removeprefix('ClassVar[')} = ..."


def _field_error(name: str, module: ModuleType, field: str, why: str, fix: str) -> TrialError:
    return TrialError(
        f"`{field}` in the Config of {name} ({_place_in(module, 'Config')})",
        why,
        "fields of plain data with a type and a default; constants of ModelConfig as ClassVar",
        fix,
        KEY,
    )


def check_network(module: ModuleType, name: str) -> None:
    """Raise TrialError unless a module has `build(config, size)`, and `method(setup)` if it has a `method` at all."""
    if not hasattr(module, "build"):
        raise _function_error(name, source_place(module), "the module has no function `build`")
    _check_call(module, name, "build", ("config", "size"))
    if hasattr(module, "method"):
        _check_call(module, name, "method", ("setup",))


def _check_call(module: ModuleType, name: str, function: str, arguments: tuple[str, ...]) -> None:
    value: Any = getattr(module, function)
    if not callable(value):
        why = f"`{function}` is of type {type(value).__name__}, not a function"
        raise _function_error(name, _place_in(module, function), why)
    try:
        signature = inspect.signature(value)
    except ValueError:  # a built-in function may have none
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        why = f"it cannot be called as `{function}({', '.join(arguments)})`: it is `{function}{signature}`"
        raise _function_error(name, source_place(value), why) from None


def _function_error(name: str, place: str, why: str) -> TrialError:
    return TrialError(
        f"the code of {name} ({place})",
        why,
        "`build(config, size) -> torch.nn.Module`, and for another way of training `method(setup)`",
        "def build(config: Config, size: int) -> nn.Module: ...",
        KEY,
    )


def _place_in(module: ModuleType, name: str) -> str:
    """Where a module defines a name; where the value is defined if the module imports it."""
    file = module.__file__
    if file is None:
        return module.__name__
    for statement in reversed(ast.parse(Path(file).read_text(encoding="utf-8")).body):
        names = [
            node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        ]
        own = [statement.name] if isinstance(statement, (ast.ClassDef, ast.FunctionDef)) else names
        if name in own:
            return _shown(file, statement.lineno)
    value = getattr(module, name)
    return source_place(value if callable(value) else module)
