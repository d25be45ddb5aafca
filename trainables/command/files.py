"""The files of a program: found by patterns, hashed, kept in the cache, and copied for a trial."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from trainables.code import cache
from trainables.command.arguments import placeholders
from trainables.data.listing import is_junk
from trainables.errors import TrialError

LEFT_OUT = (".git", "__pycache__")
"""Folders that `*` and `**` do not enter."""


def find(patterns: Sequence[str], folder: Path) -> list[str]:
    """The files that the patterns match, relative to the folder of the sweep file.

    A folder stands for everything in it. Raises TrialError for a pattern without a match, a file outside the folder,
    or more than `cache.MOST_BYTES` of files.
    """
    found: set[str] = set()
    for pattern in patterns:
        matches = _matches(pattern, folder)
        if not matches:
            raise TrialError(
                f"code: {pattern}",
                f"no file in {folder} matches it",
                "paths and patterns with * and **, relative to the sweep file",
                f"create the file, or choose among: {_listing(folder)}",
                "code",
            )
        found |= matches
    check_size(found, folder)
    return sorted(found)


def _matches(pattern: str, folder: Path) -> set[str]:
    parts = Path(pattern).parts
    if not parts or Path(pattern).is_absolute() or ".." in parts or "\0" in pattern:
        raise _outside(pattern, folder)
    found = set()
    for path in folder.glob(pattern):
        for file in path.rglob("*") if path.is_dir() else [path]:
            parts = file.relative_to(folder).parts
            if file.is_file() and not any(part in LEFT_OUT or is_junk(part) for part in parts):
                if leaves(file, folder):
                    raise _outside(f"{pattern} ({file} is a link to {file.resolve()})", folder)
                found.add(file.relative_to(folder).as_posix())
    return found


def leaves(file: Path, folder: Path) -> bool:
    """Whether a file is a symbolic link, or below one, to a place outside the folder."""
    return not file.resolve().is_relative_to(folder.resolve())


def left_out(run: Sequence[str | int | float], names: Collection[str], folder: Path) -> Iterator[tuple[str, str]]:
    """The arguments of a command that are files of a folder, but not among `names`; each with the file's name."""
    for argument in map(str, run):
        name = os.path.normpath(argument)
        inside = argument and not placeholders(argument) and not os.path.isabs(name) and ".." not in Path(name).parts
        if inside and len(name) < 256 and Path(name).as_posix() not in names and (folder / name).is_file():
            yield argument, name


def _outside(given: str, folder: Path) -> TrialError:
    return TrialError(
        f"code: {given}",
        f"it leaves the folder of the sweep file, {folder}",
        "files below the folder of the sweep file",
        "move the sweep file to the root of the program's repository, or copy the files beside it",
        "code",
    )


def check_size(
    found: Collection[str], folder: Path, fix: str = "narrow the patterns, and move data to the data root (SWEEPS_DATA)"
) -> None:
    """Raise TrialError if files have more than `cache.MOST_BYTES` together."""
    sizes = {name: (folder / name).stat().st_size for name in found}
    total = sum(sizes.values())
    if total > cache.MOST_BYTES:
        raise TrialError(
            f"code: {len(found)} files",
            f"they have {total / 1e6:.1f} MB together; the largest is {max(sizes, key=lambda name: sizes[name])}",
            f"at most {cache.MOST_BYTES / 1e6:.0f} MB of code",
            fix,
            "code",
        )


def _listing(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))[:12])


def keep(found: Sequence[str], folder: Path) -> str:
    """Write files into the cache of this machine; returns their hash. Raises TrialError if they cannot be read."""
    try:
        stats = [(folder / name).stat() for name in found]
        return _keep(folder.resolve(), tuple((n, s.st_mtime_ns, s.st_size) for n, s in zip(found, stats, strict=True)))
    except OSError as error:
        why = f"{error.filename} cannot be read: {error.strerror}"
        raise TrialError("code", why, "readable files", f"chmod u+r {error.filename}", "code") from error
    except SyntaxError as error:
        raise TrialError(
            f"code: {error.filename}",
            f"line {error.lineno} does not parse as Python: {error.msg}",
            "Python files without syntax errors",
            "correct the line, or leave the file out of `code`",
            "code",
        ) from error


@lru_cache(maxsize=64)
def _keep(folder: Path, known: tuple[tuple[str, int, int], ...]) -> str:
    """known: name, time of the last change and size of each file: unchanged files are not read again."""
    return cache.keep({name: (folder / name).read_bytes() for name, _, _ in known})


def copy(name: str, target: Path) -> None:
    """Copy the code with this hash to a new folder. Files that begin with `#!`, and binaries, become executable."""
    if not cache.is_kept(name):
        raise TrialError(
            f"code {name}",
            "the program's files are not on this machine",
            "code that a sweep or a store has brought here",
            "run the command again with the sweep file: sweeps run FILE",
        )
    for path, content in cache.kept_files(name).items():
        file = target / cache.safe_path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        if is_program(content):
            os.chmod(file, 0o755)


def is_program(content: bytes) -> bool:
    """Whether a file begins with `#!`, or is a binary."""
    return content.startswith((b"#!", b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"))
