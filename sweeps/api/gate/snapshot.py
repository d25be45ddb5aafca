"""The files of a program as they are now, hashed and kept, so that they can run after the folder has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweeps.errors import SweepError
from sweeps.store.base import Store

_LEFT_OUT = ("__pycache__", "node_modules")


def take(folder: Path, patterns: Sequence[str], store: Store) -> tuple[str, list[str]]:
    """Keep the files of a folder in the cache of this machine; returns their hash and names.

    patterns: of the files, as `code` of task `command`; empty: in a git repository the files that git does not ignore,
    tracked or not, and elsewhere all files, without hidden ones, virtual environments and the store itself.
    Raises SweepError or TrialError for files that are too large together, that cannot be read, and Python files with
    syntax errors.
    """
    from trainables.command import files

    names = files.find(patterns, folder) if patterns else sorted(_all(folder, store))
    _check_size(folder, names)
    return files.keep(names, folder), names


def _all(folder: Path, store: Store) -> Iterator[str]:
    from trainables.data.listing import is_junk

    own = os.path.realpath(store.uri)  # of a store on S3, a path that does not exist
    for name in _known_to_git(folder) or _below(folder):
        file, parts = folder / name, Path(name).parts
        in_store = os.path.realpath(file).startswith(own + os.sep)
        if not in_store and not any(part in _LEFT_OUT or is_junk(part) for part in parts) and file.is_file():
            yield Path(name).as_posix()


def _known_to_git(folder: Path) -> list[str]:
    """The files that git tracks or would add, relative to the folder; empty outside a repository."""
    git = shutil.which("git")
    if git is None:
        return []
    command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name] if listed.returncode == 0 else []


def _below(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        inside = [name for name in folders if not name.startswith(".") and name not in _LEFT_OUT]
        folders[:] = sorted(name for name in inside if not os.path.exists(os.path.join(place, name, "pyvenv.cfg")))
        yield from (os.path.relpath(os.path.join(place, name), folder) for name in names if not name.startswith("."))


def _check_size(folder: Path, names: Sequence[str]) -> None:
    from trainables.code import cache

    if not names:
        raise SweepError(
            f"folder {folder}",
            "it has no files that git does not ignore",
            "the folder of the program, in which its command runs",
            "cd to that folder and run the command again, or name the files with --code",
        )
    sizes = {name: (folder / name).stat().st_size for name in names}
    total, largest = sum(sizes.values()), max(sizes, key=lambda name: sizes[name])
    if total > cache.MOST_BYTES:
        raise SweepError(
            f"folder {folder}",
            f"its {len(names):,} files have {total / 1e6:.1f} MB together; the largest is {largest}",
            f"at most {cache.MOST_BYTES / 1e6:.0f} MB, because they are stored with every candidate",
            "list data and results in .gitignore, or name the program's files with --code at `sweeps gate init`",
        )


def check_covered(folder: Path, run: Sequence[str | int | float], names: Sequence[str]) -> None:
    """Raise SweepError if an argument is a file of the folder that the snapshot does not have."""
    for argument in map(str, run):
        name = os.path.normpath(argument)
        inside = argument and "{" not in argument and not os.path.isabs(name) and not name.startswith("..")
        if inside and len(name) < 256 and Path(name).as_posix() not in names and (folder / name).is_file():
            raise SweepError(
                f"--command: {argument}",
                "the program runs in a copy of its files, which does not have this one: git ignores it, or --code "
                "leaves it out",
                "files of the copy, and absolute paths of what never changes",
                "remove it from .gitignore, or name it with --code at `sweeps gate init`",
            )
