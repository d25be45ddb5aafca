"""Names of a user's code in a sweep file, and what they mean once the file is planned.

As written: `./net.py`, `./net.py:Net` (relative to the sweep file), `package.module:Net`, or the name of an entry point
of an installed package. As resolved: `net.py:Net#0123456789abcdef` or `net.py#0123456789abcdef`, the file in the code,
the name in the file, and the hash of the code. A resolved name means the same on every machine and at any time.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from trainables.code import bundle, cache, files
from trainables.code.closure import findable, module_name
from trainables.errors import TrialError

_RESOLVED = re.compile(r"(?P<file>([\w-][\w.-]*/)*[\w-][\w.-]*\.py)(:(?P<item>\w+))?#(?P<hash>[0-9a-f]{16})")
_FILE = re.compile(r"(?P<file>.+\.py)(:(?P<item>\w+))?$")
_MODULE = re.compile(r"(?P<module>[A-Za-z_]\w*(\.\w+)*):(?P<item>[A-Za-z_]\w*)$")
GROUPS = {
    "method": "inpaint_sweeps.methods",
    "loss": "inpaint_sweeps.losses",
    "mask": "inpaint_sweeps.masks",
    "metric": "inpaint_sweeps.metrics",
    "detection_metric": "inpaint_sweeps.metrics",
    "dataset": "inpaint_sweeps.datasets",
    "change": "inpaint_sweeps.changes",
    "task": "inpaint_sweeps.tasks",
}
"""Groups of entry points, by kind."""


@dataclass(frozen=True)
class Resolved:
    """A resolved name, in its parts."""

    file: str
    """Path of the file in the code."""
    item: str | None
    """Name of the class or function in the file; None if the file does not have to say which."""
    hash: str

    @property
    def module(self) -> str:
        """Dotted name of the file's module."""
        parts = self.file.removesuffix(".py").split("/")
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def label(self) -> str:
        """The short name: of the class or function, or of the file."""
        return self.item or self.module.rpartition(".")[2]


def parse(name: str) -> Resolved | None:
    """The parts of a resolved name; None for other names."""
    match = _RESOLVED.fullmatch(name)
    return Resolved(match["file"], match["item"], match["hash"]) if match else None


def label(name: str) -> str:
    """The short form of a name, for columns and messages: of the class or function, or of the file."""
    resolved = parse(name)
    return resolved.label if resolved else name


def is_written(name: str) -> bool:
    """Whether a name is written like one of a user's code."""
    return bool(_FILE.match(name) or _MODULE.match(name))


def hashes(names: Iterable[str]) -> tuple[str, ...]:
    """The hashes of the code and files that resolved names mean, each once; other names are ignored."""
    matches = (_RESOLVED.match(name) or files.PINNED.fullmatch(name) for name in names if "#" in name)
    return tuple(dict.fromkeys(match["hash"] for match in matches if match))


def installed(kind: str) -> Mapping[str, EntryPoint]:
    """The entry points of a kind in the installed packages, by name."""
    return _entry_points(GROUPS[kind], _search_path()) if kind in GROUPS else {}


@lru_cache(maxsize=16)
def _entry_points(group: str, _path: tuple[tuple[str, int, int], ...]) -> Mapping[str, EntryPoint]:
    """Reads the metadata of every installed package, which takes 0.1 s, so it is done once for each search path."""
    return {point.name: point for point in entry_points(group=group)}


def _search_path() -> tuple[tuple[str, int, int], ...]:
    """The entries of `sys.path` with number and time of each folder; installing a package changes its folder's time."""
    found = []
    for entry in sys.path:
        with contextlib.suppress(OSError):
            folder = os.stat(entry or ".")
            found.append((entry, folder.st_ino, folder.st_mtime_ns))
    return tuple(found)


def resolve(kind: str, name: str, folder: Path | None) -> str:
    """The resolved form of a name; the code is put into this machine's cache.

    folder: of the sweep file; None if there is no file, and nothing is looked up. Raises TrialError if there is no such
    code, or if it cannot be used.
    """
    if folder is None:
        raise files.unpinned_error(name, "code")
    point = installed(kind).get(name)
    written = point.value if point else name
    file, item = _located(written, folder.resolve())
    found = bundle.pack(file, name)
    root, _ = module_name(file)
    named = f":{item}" if item else ""
    return f"{file.relative_to(root).as_posix()}{named}#{cache.keep(found.files)}"


def _located(name: str, folder: Path) -> tuple[Path, str | None]:
    """The file of a name, and the name in it."""
    match = _FILE.match(name)
    if match:
        return _file(name, match["file"], folder), match["item"]
    match = _MODULE.match(name)
    if match is None:
        raise TrialError(
            name, "it is not a name of code", "./FILE.py, ./FILE.py:NAME or package.module:NAME", "./FILE.py:NAME"
        )
    return _module_file(name, match["module"]), match["item"]


def _file(name: str, path: str, folder: Path) -> Path:
    file = Path(os.path.realpath(folder / path))  # unlike `resolve`, also of a link to itself
    if not re.fullmatch(r"[\w./-]+", path):
        better = re.sub(r"[^\w./-]+", "_", path)
        raise TrialError(
            name,
            "its path has other characters than letters, digits, `_`, `-` and `.`",
            "paths of these characters",
            f"rename the file, for example to {better}",
        )
    if not file.is_relative_to(folder):
        raise TrialError(
            name,
            f"{file} is outside the folder of the sweep file, {folder}",
            "a file in that folder or below it",
            f"move {file.name} there, or install it as a package and name it as package.module:NAME",
        )
    if not file.is_file():
        found = file.parent.glob("[!.]*.py") if file.parent.is_dir() else ()
        near = ", ".join(sorted(one.name for one in found if one.is_file()))
        raise TrialError(
            name,
            f"there is no file {file}" + (", but something else of this name" if os.path.lexists(file) else ""),
            f"a Python file, relative to the sweep file{f'; there are {near}' if near else ''}",
            f"create {path}, or correct the path",
        )
    return file


def _module_file(name: str, module: str) -> Path:
    """The file of a module, found without importing it."""
    folders: list[str] = []
    for count in range(1, module.count(".") + 2):
        part = ".".join(module.split(".")[:count])
        spec = PathFinder.find_spec(part, folders) if count > 1 else findable(part)
        if spec is None:
            raise TrialError(
                name,
                f"there is no module {part}",
                "the module of an installed package, as package.module:NAME",
                f"pip install the package, or name a file: ./{module.rpartition('.')[2]}.py",
            )
        folders = list(spec.submodule_search_locations or [])
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise TrialError(name, f"{module} has no Python source", "a module written in Python", "wrap it in one")
    return Path(spec.origin).resolve()
