"""Names of code for classes and functions that are given as Python objects."""

from __future__ import annotations

import ast
import inspect
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from trainables.code import bundle, cache
from trainables.code.closure import OURS, is_installed_path
from trainables.code.mentions import named_files
from trainables.code.notebook import interactive
from trainables.errors import TrialError


@dataclass(frozen=True)
class NamedObject:
    """A class or function, by the names that a sweep file has for it."""

    written: str
    """`./FILE.py:NAME` or `package.module:NAME`."""
    resolved: str | None
    """What the name means; None if it is looked up when the sweep is planned, as if it stood in a file."""


def name_object(item: Any, folder: Path) -> NamedObject:
    """The name of a class or function.

    One of a module file becomes `./FILE.py:NAME` if the file is in `folder`, and `package.module:NAME` otherwise. One
    that the session itself defines, in a cell of a notebook or in the script that runs, is collected into a file of its
    own, which is put into this machine's cache. Raises TrialError for an object without a name, and for code that
    cannot be collected.
    """
    folder = folder.resolve()
    _check(item)
    if interactive.is_interactive(item):
        return _collected(item, folder)
    file = _file(item)
    if file.is_relative_to(folder) and not is_installed_path(file):
        return NamedObject(f"./{file.relative_to(folder).as_posix()}:{item.__name__}", None)
    return NamedObject(f"{item.__module__}:{item.__name__}", None)


def _check(item: Any) -> None:
    """Refuse what has no name at the level of a module."""
    kind = type(item).__name__
    if not inspect.isclass(item) and not isinstance(inspect.unwrap(item), FunctionType):
        raise TrialError(
            f"an object of type {kind}",
            "it is neither a class nor a function written in Python, and a worker builds everything from code",
            "a class or a function, with its options beside it",
            f"{{'name': {kind}, ...}}" if interactive.is_definition(type(item)) else "def NAME(...): ...",
        )
    interactive.check_has_name(item)
    if str(item.__module__).partition(".")[0] in OURS:
        raise TrialError(
            f"{item.__module__}.{item.__name__}",
            "it is part of this package",
            "its name as text; `sweeps.list_names(KIND)` lists them",
            "{'name': 'NAME', ...}",
        )


def _file(item: Any) -> Path:
    try:
        return Path(inspect.getfile(inspect.unwrap(item))).resolve()
    except TypeError:
        raise TrialError(
            f"{item.__module__}.{item.__name__}",
            "it is not written in Python",
            "a class or a function written in Python",
            "wrap it in a class of your own",
        ) from None


def _collected(item: Any, folder: Path) -> NamedObject:
    """Collect code of the session. Files that it names by a constant are those in the working folder."""
    source = interactive.collect(item)
    name = f"python_{item.__name__}.py"
    with tempfile.TemporaryDirectory(prefix="sweeps-code-") as made:
        file = Path(made) / name
        file.write_text(source, encoding="utf-8")
        for used in filter(lambda one: one.is_relative_to(folder), named_files(ast.parse(source), [folder])):
            copy = Path(made) / used.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(used, copy)
        packed = bundle.pack(file.resolve(), item.__name__)
    return NamedObject(f"./{name}:{item.__name__}", f"{name}:{item.__name__}#{cache.keep(packed.files)}")
