"""A user's code as one unit: its files, their hash, and how it is imported.

Code is always imported from a folder below `cache_folder()` that is named by the hash and was checked against it, on
the machine that plans a sweep as on every node. What was hashed is what runs, whatever happens to the user's files.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType

from trainables.code.closure import OURS, closure, is_installed, is_installed_path, module_name
from trainables.code.syntax import source_hash
from trainables.errors import TrialError

MOST_BYTES = 10_000_000
"""Code larger than this is refused: data belongs in the data root."""
HASH_DIGITS = 16


@dataclass(frozen=True)
class Bundle:
    """A module of a user and the files that it needs."""

    module: str
    """Dotted name of the module in the bundle."""
    files: Mapping[str, bytes]
    """By path in the bundle."""
    packages: tuple[str, ...] = ()
    """Top-level names of installed packages that it imports."""

    @property
    def hash(self) -> str:
        return files_hash(self.files)


def files_hash(files: Mapping[str, bytes]) -> str:
    """16 hexadecimal digits: equal for files of equal names and content; in Python, of equal syntax trees."""
    hashed = hashlib.sha256()
    for name in sorted(files):
        hashed.update(f"{name}\0{_content_hash(name, files[name])}\n".encode())
    return hashed.hexdigest()[:HASH_DIGITS]


def _content_hash(name: str, content: bytes) -> str:
    return source_hash(content) if name.endswith(".py") else hashlib.sha256(content).hexdigest()


def pack(file: Path, given: str) -> Bundle:
    """The code that starts with a file.

    given: the name as the user wrote it, for errors. Raises TrialError if a file does not parse, is missing, is larger
    than `MOST_BYTES`, or has the name of a package that it would hide.
    """
    root, module = module_name(file)
    try:
        found = closure(file)
        files = {name: path.read_bytes() for name, path in found.files.items()}
        for name, content in files.items():
            _content_hash(name, content)
    except SyntaxError as error:
        raise TrialError(
            given,
            f"{error.filename}:{error.lineno} does not parse: {error.msg}",
            "valid Python",
            f"python -m py_compile {error.filename}, which shows the line",
        ) from error
    except OSError as error:
        raise TrialError(
            given,
            f"{error.filename} cannot be read: {error.strerror}",
            "a readable file",
            f"chmod u+r {error.filename}",
        ) from error
    _check_size(given, files)
    _check_names(given, files, module.partition(".")[0] if is_installed_path(root) else None)
    for name, place in found.missing.items():
        raise TrialError(
            given,
            f"{place} imports {name}, which is neither beside the file nor installed",
            "modules in the folder of the file, and installed packages",
            f"create {name.replace('.', '/')}.py, or pip install {name.partition('.')[0]}",
        )
    return Bundle(module, files, tuple(sorted(found.packages)))


def _check_size(given: str, files: Mapping[str, bytes]) -> None:
    total = sum(map(len, files.values()))
    if total > MOST_BYTES:
        largest = max(files, key=lambda name: len(files[name]))
        raise TrialError(
            given,
            f"its files have {total / 1e6:.1f} MB together; the largest is {largest}",
            f"at most {MOST_BYTES / 1e6:.0f} MB of code",
            "move data and weights to the data root, and name them by an option",
        )


def _check_names(given: str, files: Mapping[str, bytes], own: str | None) -> None:
    """own: the top-level name of an installed package that the code is part of."""
    tops = {PurePosixPath(name).parts[0].removesuffix(".py") for name in files if name.endswith(".py")}
    for top in sorted(tops):
        hidden = "of this package" if top in OURS else "of Python" if top in sys.stdlib_module_names else ""
        if not hidden and top != own and is_installed(top):
            hidden = "of an installed package"
        if hidden:
            raise TrialError(
                given,
                f"its module {top} would hide the module {top} {hidden}",
                "names that no other module has",
                f"rename it, for example to my_{top}.py",
            )


# --- the cache --------------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """The folder that holds the code of users on this machine, a folder for each hash."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "inpaint-sweeps" / "code"


def keep(files: Mapping[str, bytes]) -> str:
    """Write files into the cache; returns their hash. A folder there is complete or absent."""
    name = files_hash(files)
    target = cache_folder() / name
    if not is_kept(name):
        cache_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(target, ignore_errors=True)  # damaged
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            whole = Path(folder) / name
            for path, content in files.items():
                file = whole / safe_path(path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            try:
                whole.rename(target)
            except OSError:  # another process was faster
                if not is_kept(name):
                    raise
    return name


def path_in_code(path: Path) -> str | None:
    """The path of a kept file as its user knows it, below the folder of the code; None for other files."""
    try:
        return Path(*path.resolve().relative_to(cache_folder().resolve()).parts[1:]).as_posix()
    except ValueError:
        return None


def is_kept(name: str) -> bool:
    """Whether the cache has the code with this hash, unchanged."""
    folder = cache_folder() / name
    try:
        return folder.is_dir() and files_hash(kept_files(name)) == name
    except (OSError, SyntaxError):
        return False


def kept_files(name: str) -> dict[str, bytes]:
    """The files of the code with this hash."""
    folder = cache_folder() / name
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def safe_path(path: str) -> PurePosixPath:
    """A path in a bundle, which cannot leave it. Raises TrialError."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\\" in path or "\0" in path:
        raise TrialError(
            f"code file {path!r}", "it is outside the folder of the code", "a path below it", "do not use this store"
        )
    return pure


# --- importing --------------------------------------------------------------------------------------------------------


def load(name: str, module: str) -> ModuleType:
    """Import a module of the code with this hash from the cache.

    Code of another hash that has modules of the same names is forgotten by Python first; objects of it stay usable.
    """
    folder = cache_folder() / name
    if not is_kept(name):
        raise TrialError(
            f"code {name}",
            "the code is not on this machine, or has been changed there",
            "code that a sweep or a store has brought here",
            "run the command again",
        )
    tops = {path.name.removesuffix(".py") for path in folder.iterdir()}
    for loaded in [key for key in sys.modules if key.partition(".")[0] in tops]:
        if not _is_below(sys.modules[loaded], folder):
            del sys.modules[loaded]
    sys.path[:] = [str(folder), *(entry for entry in sys.path if entry != str(folder))]
    importlib.invalidate_caches()
    return importlib.import_module(module)


def _is_below(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).is_relative_to(folder)
