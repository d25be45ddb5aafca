"""Imports code from the cache, so that what was hashed is what runs: modules, and files that it opens.

Several codes may have modules of the same names, such as two versions of a file. Those that were imported last are in
`sys.modules`. Each module of a code gets an `__import__` of its own, which puts the modules of that code there first,
so that an import inside a function finds its own code at any time. Its `open` finds files of the code by a path that is
relative to the source, wherever the process runs.
"""

from __future__ import annotations

import builtins
import importlib
import os
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from trainables.code import relative_reads
from trainables.code.cache import cache_folder, is_kept, kept_files
from trainables.errors import TrialError

_set_aside: dict[str, dict[str, ModuleType]] = {}
"""Modules that are not in `sys.modules` now, by the hash of their code and their name."""
_active = ""
"""The hash of the code whose modules can be imported now."""


def load(name: str, module: str) -> ModuleType:
    """Import a module of the code with this hash from the cache."""
    if not is_kept(name):
        raise TrialError(
            f"code {name}",
            "the code is not on this machine, or has been changed there",
            "code that a sweep or a store has brought here",
            "run the command again",
        )
    files, path = kept_files(name), module.replace(".", "/")
    if f"{path}.py" not in files and f"{path}/__init__.py" not in files:
        raise TrialError(
            f"module {module[:200]!r} of code {name}",
            "the code has no such file, and no other module is imported in its place",
            f"its files: {', '.join(sorted(files)[:8])}",
            "do not use this store, or run the sweep again from its file",
        )
    if _finder not in sys.path_hooks:
        sys.path_hooks.insert(0, _finder)
    relative_reads.watch()
    _activate(name)
    return importlib.import_module(module)


def _activate(name: str) -> None:
    """Make the modules of a code those that an import finds."""
    global _active
    folder = cache_folder() / name
    if _active == name and sys.path[0] == str(folder):
        return
    tops = {path.name.partition(".")[0] for path in folder.iterdir()}
    for key in [key for key in sys.modules if key.partition(".")[0] in tops]:
        owner = _hash_of(sys.modules[key])
        if owner != name:
            module = sys.modules.pop(key)
            if owner:
                _set_aside.setdefault(owner, {})[key] = module
    sys.modules.update(_set_aside.pop(name, {}))
    sys.path[:] = [str(folder), *(entry for entry in sys.path if not Path(entry).is_relative_to(cache_folder()))]
    importlib.invalidate_caches()
    _active = name


def _hash_of(module: ModuleType) -> str | None:
    """The hash of the code that a module belongs to; None for other modules."""
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    inside = [
        Path(one).relative_to(cache_folder()) for one in places if one and Path(one).is_relative_to(cache_folder())
    ]
    return inside[0].parts[0] if inside else None


def _finder(path: str) -> FileFinder:
    """A path hook for the folders of the cache."""
    if not Path(path).is_relative_to(cache_folder()):
        raise ImportError(path)
    return FileFinder(path, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_Loader, SOURCE_SUFFIXES))


class _Loader(SourceFileLoader):
    """Executes a source with the functions of this module for `__import__` and `open`."""

    def exec_module(self, module: ModuleType) -> None:
        folder = Path(self.path).parent
        name = folder.relative_to(cache_folder()).parts[0] if folder != cache_folder() else ""
        own = {"__import__": _import_in(name), "open": _open_in(folder, cache_folder() / name)}
        module.__dict__["__builtins__"] = {**vars(builtins), **own}
        super().exec_module(module)


def _import_in(code: str) -> Callable[..., Any]:
    def import_here(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        _activate(code)
        return builtins.__import__(name, globals, locals, fromlist, level)

    return import_here


def _open_in(*folders: Path) -> Callable[..., Any]:
    def open(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if isinstance(file, (str, os.PathLike)) and not set(mode) & set("wax+"):
            found = (folder / file for folder in folders if not Path(file).is_absolute())
            file = next((one for one in found if one.is_file()), file)
        return builtins.open(file, mode, *arguments, **named)

    return open
