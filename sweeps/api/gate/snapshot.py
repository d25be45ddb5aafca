"""The files of a program as they are now, hashed and kept, so that they can run after the folder has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweeps.errors import SweepError
from sweeps.store.base import Store

_LEFT_OUT = ("node_modules",)
"""Folders that are not entered, with those that `code` of task `command` does not enter."""


def take(folder: Path, patterns: Sequence[str], store: Store) -> tuple[str, list[str]]:
    """Keep the files of a folder in the cache of this machine; returns their hash and names.

    patterns: of the files, as `code` of task `command`; empty: in a git repository the files that git does not ignore,
    tracked or not, those of submodules included, and elsewhere all files, without hidden ones, virtual environments
    and the store itself. Links to folders are not followed.
    Raises SweepError or TrialError if git cannot list the files, for files that are too large together, that are links
    out of the folder, that cannot be read, and Python files with syntax errors.
    """
    from trainables.command import files

    names = files.find(patterns, folder) if patterns else sorted(_all(folder, store))
    if not names:
        raise SweepError(
            f"folder {folder}",
            "it has no files that git does not ignore",
            "the folder of the program, in which its command runs",
            "cd to that folder and run the command again, or name the files with --code",
        )
    fix = "list data and results in .gitignore, or name the program's files with --code at `sweeps gate init`"
    files.check_size(names, folder, fix)
    return files.keep(names, folder), names


def check_covered(folder: Path, run: Sequence[str | int | float], names: Sequence[str]) -> None:
    """Raise SweepError if an argument is a file of the folder that the snapshot does not have."""
    from trainables.command import files

    for argument, _ in files.left_out(run, names, folder):
        raise SweepError(
            f"--command: {argument}",
            "the program runs in a copy of its files, which does not have this one: git ignores it, or --code "
            "leaves it out",
            "files of the copy, and absolute paths of what never changes",
            "remove it from .gitignore, or name it with --code at `sweeps gate init`",
        )


def _all(folder: Path, store: Store) -> Iterator[str]:
    from trainables.command import files
    from trainables.data.listing import is_junk

    own = os.path.realpath(store.uri)  # of a store on S3, a path that does not exist
    known = _known_to_git(folder)
    for name in _below(folder) if known is None else known:
        file, parts = folder / name, Path(name).parts
        in_store = os.path.realpath(file).startswith(own + os.sep)
        if in_store or any(part in (*_LEFT_OUT, *files.LEFT_OUT) or is_junk(part) for part in parts):
            continue
        if file.is_file():
            if files.leaves(file, folder):
                raise SweepError(
                    f"folder {folder}",
                    f"{name} is a link to {file.resolve()}, outside the folder, so a copy would not be the program's",
                    "files of the folder itself",
                    "copy the file into the folder, list the link in .gitignore, or name the program's files with "
                    "--code at `sweeps gate init`",
                )
            yield Path(name).as_posix()


def _known_to_git(folder: Path) -> list[str] | None:
    """The files that git tracks or would add, relative to the folder; None outside a repository.

    Those of submodules and other repositories in the folder are included. Raises SweepError if git cannot list them:
    without it, files that git ignores, such as passwords, would be stored.
    """
    if not any((place / ".git").exists() for place in (folder, *folder.parents)):
        return None
    git = shutil.which("git")
    if git is None:
        raise _git_error(folder, "it is in a git repository, but this machine has no git to list what it ignores")
    command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    if listed.returncode:
        said = " ".join(os.fsdecode(listed.stderr).split())
        raise _git_error(folder, f"git cannot list its files (exit code {listed.returncode}): {said}")
    found: list[str] = []
    for name in filter(None, map(os.fsdecode, listed.stdout.split(b"\0"))):
        inner = folder / name
        if inner.is_dir() and not inner.is_symlink() and (inner / ".git").exists():  # git lists no file of these
            found += [os.path.join(name, below) for below in _known_to_git(inner) or ()]
        else:
            found.append(name)
    return found


def _git_error(folder: Path, why: str) -> SweepError:
    return SweepError(
        f"folder {folder}",
        why,
        "a folder outside a git repository, or one whose files git lists",
        "run `git status` there and follow its advice, or name the program's files with --code at `sweeps gate init`",
    )


def _below(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        inside = [name for name in folders if not name.startswith(".") and name not in _LEFT_OUT]
        folders[:] = sorted(name for name in inside if not os.path.exists(os.path.join(place, name, "pyvenv.cfg")))
        yield from (os.path.relpath(os.path.join(place, name), folder) for name in names if not name.startswith("."))
