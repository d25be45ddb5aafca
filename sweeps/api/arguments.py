"""What the functions of the Python interface take: a store, a sweep file, folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sweeps.errors import SweepError

if TYPE_CHECKING:
    from sweeps.spec.loader import Sweep
    from sweeps.store.base import Store

    StoreLike: TypeAlias = Store | str | Path
    """An open store, or the address of one: a folder or `s3://bucket/prefix`."""


@dataclass(frozen=True)
class LoadedSweep:
    """A sweep as its file states it; references to other sweeps are not resolved yet."""

    sweep: Sweep
    folder: Path | None
    """Folder in which the files of other sweeps are looked up; None for a sweep that was read from a store."""

    @property
    def name(self) -> str:
        return self.sweep.spec.name


def open(store: StoreLike) -> Store:
    """Open the store at a folder, or at an address `s3://bucket/prefix`. An open store is returned unchanged."""
    from sweeps.store.open import open_store

    return open_store(str(store)) if isinstance(store, (str, Path)) else store


def load(file: str | Path, *, tiny: bool = False, changes: Sequence[str] = ()) -> LoadedSweep:
    """Read and check a sweep file.

    file: its path, or the name of a shipped study. tiny: its small form, which takes seconds. changes: KEY=VALUE, as
    for `--set`.
    """
    from sweeps.spec import loader, studies

    path = studies.sweep_file(file)
    return LoadedSweep(loader.load(path, tiny, tuple(changes)), path.parent)


def absolute(folder: str | Path | None) -> Path | None:
    """The absolute path of a folder, such as that of the data sets."""
    return Path(folder).resolve() if folder else None


def make_folder(folder: Path) -> None:
    """Create an output folder. SweepError if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SweepError(f"--out {folder}", str(error), "a folder that this user may write to", "--out ./out") from None
