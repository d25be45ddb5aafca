"""The data root: one folder of data sets, or several in which a data set is looked up in order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PosixPath

from sweeps.errors import SweepError

DataFolders = str | Path | Sequence[str | Path]
"""A folder, several, or a text of several with `os.pathsep` between them, as in $SWEEPS_DATA."""
VARIABLE = "SWEEPS_DATA"


class DataRoots(PosixPath):
    """Several folders as one path: `roots / "set"` is in the first folder that has it.

    Its text holds all folders, with `os.pathsep` between them. So does the path of what no folder has: an error that
    names this path names all folders.
    """

    @property
    def folders(self) -> list[Path]:
        return [Path(folder) for folder in str(self).split(os.pathsep)]

    def with_segments(self, *parts: str | os.PathLike[str]) -> Path:
        """What is derived from it is a plain path."""
        return Path(*parts)

    def __truediv__(self, key: str | os.PathLike[str]) -> Path:  # type: ignore[override]
        return next((folder / key for folder in self.folders if (folder / key).exists()), Path(str(self), key))

    def joinpath(self, *keys: str | os.PathLike[str]) -> Path:  # type: ignore[override]
        """As `/`; without a key the first folder, in which patterns that begin with a wildcard are looked up."""
        return self / Path(*keys) if keys else self.folders[0]

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        return any(folder.exists() for folder in self.folders)

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return any(folder.is_dir() for folder in self.folders)

    def iterdir(self) -> Iterator[Path]:  # type: ignore[override]
        """What is in the folders; of entries of the same name the first."""
        found: dict[str, Path] = {}
        for folder in self.folders:
            for entry in folder.iterdir() if folder.is_dir() else ():
                found.setdefault(entry.name, entry)
        yield from found.values()


def split(given: DataFolders) -> list[Path]:
    """The folders of a data root, in order. A text is split at `os.pathsep` unless it is itself a folder."""
    texts = [str(given)] if isinstance(given, str | Path) else [str(one) for one in given]
    parts = [[text] if os.path.isdir(text) else text.split(os.pathsep) for text in texts]
    return [Path(part) for some in parts for part in some if part]


def text(given: DataFolders) -> str:
    """A data root as one text."""
    return os.pathsep.join(map(str, split(given)))


def path(given: DataFolders | None, absolute: bool = True) -> Path | None:
    """A data root as a path; None without a folder.

    Raises SweepError where one of several folders has `os.pathsep` in its name.
    """
    folders = list(dict.fromkeys(one.resolve() if absolute else one for one in split(given or ())))
    if len(folders) < 2:
        return folders[0] if folders else None
    for folder in folders:
        if os.pathsep in str(folder):
            raise SweepError(
                f"--data {folder}",
                f"its name contains {os.pathsep!r}, which separates folders",
                f"several folders without {os.pathsep!r} in their names, or this folder alone",
                "rename the folder, or make a link to it under another name",
            )
    return DataRoots(os.pathsep.join(map(str, folders)))


def local(given: DataFolders | None) -> Path | None:
    """The data root of this machine: the given one, else $SWEEPS_DATA; None if neither is set."""
    return path(given or os.environ.get(VARIABLE))
