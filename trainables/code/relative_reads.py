"""Refuses to read what a source names relative to the working directory: it is no part of the code that was hashed.

On another machine, or after a change, it would be another file or none, and the trial's id would be the same. A path
that is an option, and so part of the configuration, is not refused.
"""

from __future__ import annotations

import ast
import os
import sys
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from trainables.code.cache import cache_folder, path_in_code
from trainables.code.mentions import path_text
from trainables.errors import TrialError

_EVENTS = ("open", "os.listdir", "os.scandir")


@cache
def watch() -> None:
    """Check from now on what code of the cache opens in this process."""
    sys.addaudithook(_check)


def _check(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _EVENTS or not isinstance(arguments[0], (str, os.PathLike)):
        return
    path = os.fspath(arguments[0])
    if not isinstance(path, str) or os.path.isabs(path) or (event == "open" and _writes(arguments)):
        return
    frame = sys._getframe(1)
    folder = str(cache_folder())
    while frame is not None and not frame.f_code.co_filename.startswith(folder):
        frame = frame.f_back  # type: ignore[assignment]
    if frame is None or not os.path.exists(path):
        return
    file = Path(frame.f_code.co_filename)
    normal = os.path.normpath(path)
    if any(fnmatchcase(normal, pattern) for pattern in _patterns(cache_folder() / file.relative_to(folder).parts[0])):
        raise TrialError(
            f"{path_in_code(file)}:{frame.f_lineno}",
            f"it reads {path} relative to the working directory, which differs from machine to machine",
            "a file beside the source, by a path that starts with Path(__file__); or an option with the path",
            f"Path(__file__).with_name({Path(path).name!r})",
        )


def _writes(arguments: tuple[Any, ...]) -> bool:
    """Whether the arguments of the event `open` are those of a file that is written."""
    mode, flags = arguments[1:3]
    return bool(set(mode) & set("wxa+")) if isinstance(mode, str) else bool(flags & (os.O_WRONLY | os.O_RDWR))


@cache
def _patterns(folder: Path) -> tuple[str, ...]:
    """Patterns of the paths that the sources of a code name."""
    trees = [ast.parse(file.read_bytes()) for file in folder.rglob("*.py")]
    found = {os.path.normpath(text) for tree in trees for node in ast.walk(tree) if (text := path_text(node))}
    named = sorted(text for text in found if text.strip("*./"))
    return (*named, *(f"{text}/*" for text in named))
