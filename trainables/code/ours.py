"""Which of our own modules a trial runs, and a hash of each: so that a result tells whether today's code made it.

Imports are read from the syntax tree, starting with the modules of the task and of the model that the trial names: the
code of other methods does not count. Comments, docstrings and layout do not change a hash.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from trainables import registry
from trainables.code import references
from trainables.code.mentions import imports
from trainables.code.syntax import reads_docstrings, tree_hash
from trainables.forgery import layouts

HERE = Path(__file__).resolve().parents[1]
PACKAGE = "trainables"
NOT_NUMBERS = (
    "trainables.code",
    "trainables.errors",
    "trainables.registry",
    "trainables.config.messages",
    "trainables.user_task.config",
)
"""Modules that find code and explain mistakes: no number depends on them."""


def modules_of(task: str, config: Mapping[str, Any]) -> Mapping[str, str]:
    """The hash of each of our modules that a trial with this resolved configuration runs, by dotted name."""
    return _closure(_starts(task, config))


def digest_of(task: str, config: Mapping[str, Any]) -> str:
    """16 hexadecimal digits for `modules_of` a trial."""
    return _digest(_starts(task, config))


def _starts(task: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """The modules of the task, of the layouts of published sets, and of the model, if it is ours."""
    model = (config.get("model") or {}).get("name")
    ours = [registry.model(model).module] if model and not references.parse(model) else []
    start = registry.USER_TASK if references.parse(task) else registry.find("task", task).module
    return (start, *ours, *_layouts(config))


def _layouts(config: Mapping[str, Any]) -> Iterator[str]:
    """The modules of the layouts of the published sets that a trial reads; not of one that this version lacks."""
    tested = config.get("test_sets")
    sections = [config.get("data"), *(tested.values() if isinstance(tested, Mapping) else ())]
    for section in sections:
        given = section.get("set") if isinstance(section, Mapping) else None
        if isinstance(given, Mapping) and given.get("layout") in layouts.NAMES:
            yield f"{layouts.__name__}.{given['layout']}"


@cache
def _digest(starts: tuple[str, ...]) -> str:
    hashes = _closure(starts)
    text = "\n".join(f"{name} {hashes[name]}" for name in sorted(hashes))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _closure(starts: tuple[str, ...]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in found and not name.startswith(NOT_NUMBERS):
            found[name], imported = _module(name)
            waiting += [*imported, *([name.rpartition(".")[0]] if "." in name else [])]
    return found


@cache
def _module(name: str) -> tuple[str, tuple[str, ...]]:
    """The hash of a module, and the modules of ours that it imports."""
    source = _file(name).read_bytes()
    tree = ast.parse(source)
    imported = dict.fromkeys(one for one, _, _ in imports(tree, name.rpartition(".")[0]))
    ours = (one for one in imported if one.partition(".")[0] == PACKAGE and _file(one).is_file())
    return tree_hash(tree, reads_docstrings(source)), tuple(ours)


def _file(name: str) -> Path:
    path = HERE.joinpath(*name.split(".")[1:])
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
