"""A user's code as one unit: a module and the files that it needs, read from where the user keeps them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainables.code.cache import MOST_BYTES, files_hash
from trainables.code.closure import OURS, closure, is_installed, is_installed_path, module_name
from trainables.errors import TrialError


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


def pack(file: Path, given: str) -> Bundle:
    """The code that starts with a file.

    given: the name as the user wrote it, for errors. Raises TrialError if a file does not parse, is missing, is larger
    than `MOST_BYTES`, or has the name of a package that it would hide.
    """
    root, module = module_name(file)
    try:
        found = closure(file)
        _check_size(given, {name: path.stat().st_size for name, path in found.files.items()})
        files = {name: path.read_bytes() for name, path in found.files.items()}
        files_hash(files)
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
    _check_names(given, files, module.partition(".")[0] if is_installed_path(root) else None)
    for name, place in found.missing.items():
        raise TrialError(
            given,
            f"{place} imports {name}, which is neither beside the file nor installed",
            "modules in the folder of the file, and installed packages",
            f"create {name.replace('.', '/')}.py, or pip install {name.partition('.')[0]}",
        )
    return Bundle(module, files, tuple(sorted(found.packages)))


def _check_size(given: str, sizes: Mapping[str, int]) -> None:
    """sizes: of the files, in bytes. Checked before any of them is read."""
    total = sum(sizes.values())
    if total > MOST_BYTES:
        largest = max(sizes, key=lambda name: sizes[name])
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
