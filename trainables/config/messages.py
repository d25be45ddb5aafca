"""Turns pydantic validation errors into a four-part `TrialError`; imports no torch."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from trainables.config.variant import Extensible, Variant
from trainables.errors import TrialError


def validated(
    section: str, config: type[BaseModel], value: Any, context: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A section with its defaults filled in, as plain data. Raises TrialError for the first wrong key.

    section: the dotted key of the section, '' for top-level keys. context: of the validation.
    """
    try:
        return config.model_validate(value, context=context).model_dump()
    except ValidationError as error:
        raise _translate(section, config, _Given(value, context), error) from None


@dataclass(frozen=True)
class _Given:
    """A value, and the context in which it was validated."""

    value: Any
    context: Mapping[str, Any] | None

    def __getitem__(self, key: int | str) -> _Given:
        try:
            return _Given(self.value[key], self.context)
        except (TypeError, LookupError):
            return _Given(None, self.context)


def _translate(section: str, config: type[BaseModel], value: _Given, error: ValidationError) -> TrialError:
    """An unknown key is told first: it is often the reason why another one is missing."""
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    loc, context, given = first["loc"], first.get("ctx", {}), first["input"]
    if loc and loc[-1] == "[key]":  # of a mapping: its key is wrong, which the error of the key names itself
        loc = loc[: -2 if isinstance(context.get("error"), TrialError) else -1]
    key = ".".join([section] * bool(section) + [str(part) for part in loc])
    owner, name = _owner(config, value, loc)
    if isinstance(context.get("error"), TrialError):
        return below(key, context["error"])
    if first["type"] == "extra_forbidden":
        what = key.rpartition(".")[0] or section or "key"
        return unknown_name_error(what, str(loc[-1]), tuple(owner.model_fields), key)
    if first["type"] == "unknown_name":
        return unknown_name_error(f"{key}.name", str(context["name"]), tuple(context["allowed"]), f"{key}.name")
    if first["type"] == "no_name":
        return TrialError(
            f"{key}: {given!r}"[:200], "it has no `name`", "{name: ..., options}", f"{key}: {{name: ...}}"
        )
    if first["type"] == "missing":
        above = key.rpartition(".")[0]
        return TrialError(
            f"{above or 'base'} without `{loc[-1]}`",
            "it is required",
            _allowed(owner, name),
            f"add `{loc[-1]}:` under `{above or 'base'}:`",
            key,
        )
    why = first["msg"].removeprefix("Value error, ")
    return TrialError(
        f"{key}: {given!r}"[:200], why[0].lower() + why[1:], _allowed(owner, name), f"change `{key}`", key
    )


def below(section: str, error: TrialError) -> TrialError:
    """The error of a section's own check, told of the section."""
    if not section:
        return error
    key = f"{section}.{error.key}" if error.key else section
    begins = bool(error.key) and error.given.startswith(error.key)
    return TrialError(f"{section}{'.' if begins else ': '}{error.given}", error.why, error.allowed, error.fix, key)


def _owner(config: type[BaseModel], value: _Given, loc: tuple[int | str, ...]) -> tuple[type[BaseModel], str]:
    """The class of the innermost section that contains a place, and the name of the place's field in it."""
    name = str(loc[0]) if loc else ""
    field = config.model_fields.get(name)
    if field is None or len(loc) == 1:
        return config, name
    return _inner(field.annotation, field.metadata, value[name], loc[1:]) or (config, name)


def _inner(
    annotation: Any, metadata: Sequence[Any], value: _Given, loc: tuple[int | str, ...]
) -> tuple[type[BaseModel], str] | None:
    """As `_owner`, for a place below a value with this type; None if no section is below it."""
    for item in metadata:
        if isinstance(item, Variant):
            return _owner(item.config(value.value, value.context), value, loc)
        if isinstance(item, Extensible):
            return _owner(item.config(value.value, value.context, annotation), value, loc)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _inner(arguments[0], arguments[1:], value, loc)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _owner(annotation, value, loc)
    if origin in (dict, list):
        return _inner(arguments[-1], (), value[loc[0]], loc[1:]) if len(loc) > 1 else None
    found = (_inner(argument, (), value, loc) for argument in arguments)
    return next((one for one in found if one), None)


def _allowed(config: type[BaseModel], name: str) -> str:
    """The allowed values of a field in words: type, bounds, default and meaning."""
    if name not in config.model_fields:
        return "a valid combination of " + ", ".join(config.model_fields)
    field = config.model_fields[name]
    default = "" if field.is_required() else f" (default {field.default!r})"
    return values_in_words(field) + default + (f": {field.description}" if field.description else "")


# --- fields in words --------------------------------------------------------------------------------------------------


def variant(field: FieldInfo) -> Variant | None:
    """The choices of a field that is a section with a `name`; None for other fields."""
    given = (*field.metadata, *(item for one in typing.get_args(field.annotation) for item in typing.get_args(one)[1:]))
    return next((item for item in given if isinstance(item, Variant)), None)


def values_in_words(field: FieldInfo) -> str:
    """Type and bounds of a field: `a whole number of at least 1`."""
    choices = variant(field)
    kind = _type_name(field.annotation)
    if choices:
        kind = f"one of {', '.join(choices.choices)}" + " or null" * kind.endswith("null")
    return _with_bounds(kind, field.metadata)


_BOUNDS = {
    "ge": "of at least",
    "gt": "above",
    "le": "of at most",
    "lt": "below",
    "multiple_of": "that is a multiple of",
}


def _with_bounds(kind: str, metadata: Sequence[Any]) -> str:
    nested = (item.metadata if isinstance(item, FieldInfo) else [item] for item in metadata)
    bounds = [item for items in nested for item in items if type(item).__module__ == "annotated_types"]
    words = [
        f"{words} {getattr(item, name)}" for item in bounds for name, words in _BOUNDS.items() if hasattr(item, name)
    ]
    least = next((item.min_length for item in bounds if hasattr(item, "min_length")), None)
    most = next((item.max_length for item in bounds if hasattr(item, "max_length")), None)
    if kind.startswith("a list") and least is not None:
        kind = kind.replace("a list", f"a list of length {least}{'' if most == least else ' or more'}", 1)
    before_null, null, _ = kind.partition(" or null")
    return " ".join(filter(None, [before_null, ", ".join(words)])) + null


def _type_name(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " or ".join(repr(item) for item in arguments)
    if origin is Annotated:
        choices = next((item for item in arguments[1:] if isinstance(item, Variant)), None)
        kind = f"one of {', '.join(choices.choices)}" if choices else _type_name(arguments[0])
        return _with_bounds(kind, arguments[1:])
    if isinstance(annotation, type) and origin is None:
        if issubclass(annotation, BaseModel):
            return "a section"
        return {
            "int": "a whole number",
            "float": "a number",
            "str": "text",
            "bool": "true or false",
            "NoneType": "null",
            "Any": "any value",
        }.get(annotation.__name__, annotation.__name__)
    if origin is list:
        return f"a list ({_type_name(arguments[0])})"
    if origin is dict:
        return "a section" if arguments[1] is Any else f"a mapping of names ({_type_name(arguments[1])})"
    return " or ".join(_type_name(item) for item in arguments) or "any value"


def unknown_name_error(what: str, given: str, allowed: tuple[str, ...], key: str = "") -> TrialError:
    """The error for a name that is not allowed; it suggests the most similar allowed name."""
    near = difflib.get_close_matches(given, allowed, 1)
    choose = "choose one of the allowed names" if allowed else f"remove {given!r}"
    hint = f"did you mean {near[0]!r}?" if near else choose
    if what == "model.name":
        file = f"./{PurePosixPath(given).stem or 'net'}.py"
        hint += f" (for one of your own, name its file: {file}; `sweeps new method {file}` writes one to start from)"
    return TrialError(f"{what} {given!r}", "there is no such name", ", ".join(allowed) or "nothing", hint, key)


def no_fills_error(task: str, scores: Sequence[str]) -> TrialError:
    """The error for `report.extra` with a task whose trials do not fill images."""
    return TrialError(
        f"report.extra: {list(scores)}",
        f"these metrics score filled images, and task {task} does not fill images",
        "no `extra` for this task",
        "remove `extra` from `report`",
        "report.extra",
    )
