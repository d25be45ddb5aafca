"""Turns pydantic validation errors into a four-part `TrialError`; imports no torch."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ValidationError

from trainables.errors import TrialError


def validated(section: str, config: type[BaseModel], value: Any) -> dict[str, Any]:
    """A section with its defaults filled in, as plain data. Raises TrialError for the first wrong key.

    section: the dotted key of the section, '' for top-level keys.
    """
    try:
        return config.model_validate(value).model_dump()
    except ValidationError as error:
        raise _translate(section, config, error) from None


def _translate(section: str, config: type[BaseModel], error: ValidationError) -> TrialError:
    first = error.errors()[0]
    key = ".".join([section] * bool(section) + [str(part) for part in first["loc"]])
    top = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        fields = _section_of(config, first["loc"]).model_fields
        return unknown_name_error(key.rpartition(".")[0] or section, str(first["loc"][-1]), tuple(fields), key)
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


def _section_of(config: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The class of the section that contains a key; the innermost one that can be determined."""
    for part in loc[:-1]:
        field = config.model_fields.get(str(part))
        inner = [] if field is None else [field.annotation, *typing.get_args(field.annotation)]
        sections = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if len(sections) != 1:
            break
        config = sections[0]
    return config


def _allowed(config: type[BaseModel], name: str) -> str:
    """The allowed values of a field in words: type, bounds, default and meaning."""
    if name not in config.model_fields:
        return "a valid combination of " + ", ".join(config.model_fields)
    field = config.model_fields[name]
    kind = _type_name(field.annotation)
    bounds = ", ".join(_bound(item) for item in field.metadata if not isinstance(item, AfterValidator))
    default = "" if field.is_required() else f" (default {field.default!r})"
    return " ".join(filter(None, [kind, bounds])) + default + (f": {field.description}" if field.description else "")


_BOUNDS = {
    "ge": "of at least",
    "gt": "above",
    "le": "of at most",
    "lt": "below",
    "multiple_of": "that is a multiple of",
}


def _bound(item: Any) -> str:
    """A bound of `annotated_types` in words."""
    return next((f"{words} {getattr(item, name)}" for name, words in _BOUNDS.items() if hasattr(item, name)), str(item))


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


def unknown_name_error(what: str, given: str, allowed: tuple[str, ...], key: str = "") -> TrialError:
    """The error for a name that is not allowed; it suggests the most similar allowed name."""
    near = difflib.get_close_matches(given, allowed, 1)
    hint = f"did you mean {near[0]!r}?" if near else "choose one of the allowed names"
    if what == "model.name":
        hint += f" (to add one, create trainables/inpaint/methods/{given}/ with config.py and network.py)"
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
