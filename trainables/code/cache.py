"""The code of users on this machine: a folder for each hash, whole and as it was hashed, or absent.

Code is always imported from such a folder, on the machine that plans a sweep as on every node. What was hashed is what
runs, whatever happens to the user's files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from trainables.code.syntax import reads_docstrings, source_hash
from trainables.errors import TrialError

MOST_BYTES = 10_000_000
"""Code larger than this is refused: data belongs in the data root."""
HASH_DIGITS = 16


def files_hash(files: Mapping[str, bytes]) -> str:
    """16 hexadecimal digits: equal for files of equal names and content; in Python, of equal syntax trees.

    Raises SyntaxError. Docstrings count in all files if one of them reads docstrings.
    """
    hashed = hashlib.sha256()
    documented = any(name.endswith(".py") and reads_docstrings(content) for name, content in files.items())
    for name in sorted(files):
        content = files[name]
        text = source_hash(content, documented, name) if name.endswith(".py") else hashlib.sha256(content).hexdigest()
        hashed.update(f"{name}\0{text}\n".encode())
    return hashed.hexdigest()[:HASH_DIGITS]


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
