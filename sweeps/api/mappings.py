"""Sweeps that are given as a mapping with the keys of a sweep file, and with classes and functions as code."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.errors import SweepError

if TYPE_CHECKING:
    from sweeps.spec.yaml_document import Document, Place

PYTHON = "<python>"
"""Name of the document, in errors and in stored plans."""
_DEPTH = 40


def document(given: Mapping[Any, Any], question: str, folder: Path) -> tuple[Document, dict[str, str]]:
    """A mapping as the document of a sweep file, and what the names of collected code in it mean.

    question: the first line of the file. folder: for the names of files.
    Raises SweepError for values that no sweep file has, and for code that cannot be collected.
    """
    from sweeps.spec import yaml_document

    reader = _PythonReader(folder)
    value = reader.read(given, ())
    comment = "".join(f"# {line}\n" for line in question.splitlines())
    source = yaml_document.parse(comment + yaml_document.dump(value), PYTHON)
    source.origins = dict.fromkeys(source.origins, PYTHON)
    source.notes.clear()
    return source, reader.code


class _PythonReader:
    """Turns values of Python into those of a sweep file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[int, str] = {}
        """By identity of the class or function."""
        self.code: dict[str, str] = {}
        """Resolved names by written ones."""

    def read(self, value: Any, place: Place) -> Any:
        if value is None or isinstance(value, (bool, str)):
            return value if value is None or type(value) in (bool, str) else str(value)
        if isinstance(value, numbers.Integral):
            return int(value)
        if isinstance(value, numbers.Real) and math.isfinite(value):
            return float(value)
        if isinstance(value, Path):
            return str(value)
        if len(place) > _DEPTH:
            why = "it is nested too deeply, or contains itself"
            raise SweepError(_named(place[:3]), why, f"at most {_DEPTH} levels", "write it without a circle")
        if isinstance(value, Mapping):
            return self._mapping(value, place)
        if isinstance(value, (list, tuple, range)):
            return [self.read(item, (*place, number)) for number, item in enumerate(value)]
        if callable(value):
            return self._name(value, place)
        raise SweepError(
            f"{_named(place)} = {value!r}"[:200],
            f"a value of type {type(value).__name__} has no place in a sweep file",
            "text, finite numbers, true and false, None, lists, mappings, classes and functions",
            "convert it, for example by .tolist() or float(...)",
        )

    def _mapping(self, value: Mapping[Any, Any], place: Place) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for key, item in value.items():
            name = self._name(key, place) if callable(key) else str(key)
            if name in read:
                raise SweepError(_named((*place, name)), "the key is repeated", "each key once", "remove one of them")
            read[name] = self.read(item, (*place, name))
        return read

    def _name(self, item: Any, place: Place) -> str:
        """The name of a class or function. Different ones with the same name get a number."""
        from trainables.code.notebook import objects
        from trainables.errors import TrialError

        if id(item) in self._written:
            return self._written[id(item)]
        try:
            named = objects.name_object(item, self._folder)
        except TrialError as error:
            raise SweepError(f"{_named(place)}: {error.given}", error.why, error.allowed, error.fix) from None
        written, number = named.written, 1
        while written in self._written.values():
            number += 1
            written = named.written.replace(".py:", f"_{number}.py:")
        self._written[id(item)] = written
        if named.resolved:
            self.code[written] = named.resolved
        return written


def _named(place: Place) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return f"{PYTHON}: `{text.removeprefix('.')}`" if place else PYTHON
