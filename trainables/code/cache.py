"""The code of users on this machine: a folder for each hash, whole and as it was hashed, or absent.

Code is always imported from such a folder, on the machine that plans a sweep as on every node. What was hashed is what
runs, whatever happens to the user's files.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from trainables.code.syntax import reads_docstrings, source_hash
from trainables.data.listing import is_junk
from trainables.errors import TrialError

MOST_BYTES = 10_000_000
"""Code larger than this is refused: data belongs in the data root."""
HASH_DIGITS = 16
_COMPILED = "__pycache__"
_HASH = re.compile(rf"[0-9a-f]{{{HASH_DIGITS}}}")


def is_hash(name: str) -> bool:
    """Whether a name has the form of the hash of code."""
    return _HASH.fullmatch(name) is not None


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
    paths = {path: safe_path(path) for path in files}
    name = files_hash(files)
    target = cache_folder() / name
    if not is_kept(name):
        cache_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        if target.is_symlink():
            target.unlink()
        shutil.rmtree(target, ignore_errors=True)  # damaged
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            whole = Path(folder) / name
            for path, content in files.items():
                file = whole / paths[path]
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
    """Whether the cache has the code with this hash, unchanged and without symbolic links."""
    folder = cache_folder() / name
    try:
        if not is_hash(name) or folder.is_symlink() or not folder.is_dir():
            return False
        return not any(path.is_symlink() for path in folder.rglob("*")) and files_hash(kept_files(name)) == name
    except (OSError, SyntaxError, ValueError):
        return False


def kept_files(name: str) -> dict[str, bytes]:
    """The files of the code with this hash, without what Python and other programs leave beside them."""
    folder = cache_folder() / name
    paths = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    files = {path.as_posix(): (folder / path).read_bytes() for path in paths if _COMPILED not in path.parts}
    own = {path: content for path, content in files.items() if not is_junk(PurePosixPath(path).name)}
    return files if len(own) == len(files) or files_hash(files) == name else own


def safe_path(path: str) -> PurePosixPath:
    """A path in a bundle, which cannot leave it. Raises TrialError."""
    pure = PurePosixPath(path)
    leaves = pure.is_absolute() or ".." in pure.parts or not pure.parts or "\\" in path or "\0" in path
    if leaves or path != pure.as_posix() or _COMPILED in pure.parts or re.match("[A-Za-z]:", path):
        raise TrialError(
            f"code file {path[:200]!r}",
            "it is outside the folder of the code, or in a folder that Python writes itself",
            "a path below the folder",
            "do not use this store",
        )
    return pure
