"""What the functions of the Python interface take: a store, a sweep, folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sweeps import sizes
from sweeps.api import display
from sweeps.errors import SweepError
from sweeps.store.forwarding import ForwardingStore

if TYPE_CHECKING:
    from sweeps.spec.loader import Sweep
    from sweeps.store.base import Store

    StoreLike: TypeAlias = Store | str | Path
    """An open store, or the address of one: a folder or `s3://bucket/prefix`."""


@dataclass(frozen=True)
class LoadedSweep:
    """A sweep as its file or mapping states it; references to other sweeps are not resolved yet."""

    sweep: Sweep
    folder: Path | None
    """Folder in which files are looked up; None for a sweep that was read from a store."""

    @property
    def name(self) -> str:
        return self.sweep.spec.name

    def _repr_html_(self) -> str:
        """Its question and arms, for notebooks."""
        spec, question = self.sweep.spec, self.sweep.document.question
        arms = [(spec.base_name, "the base configuration")]
        arms += [(arm.name, display.changes(arm.set)) for arm in spec.arms]
        arms += [(f"without {arm.name}", display.changes(arm.set)) for arm in spec.leave_one_out]
        arms += [(arm.name, f"in pairs: {display.changes(arm.set)}") for arm in spec.pairs]
        grid = [f"each with {key}: {', '.join(map(str, levels))}" for key, levels in spec.grid.items()]
        search = [f"search by {spec.search.sampler}, {spec.search.trials} suggestions"] if spec.search else []
        seeds = f"task {spec.task}; seeds {', '.join(map(str, spec.seed_list))}"
        return display.block(
            self.name, display.text(question), display.text(seeds, *grid, *search), display.table(["arm", "set"], arms)
        )


class StoreHandle(ForwardingStore):
    """A store for users, which adds to the store itself what `sweeps.open` documents."""

    @property
    def plain(self) -> Store:
        """The store itself."""
        return self._store


def plain_store(store: StoreLike) -> Store:
    """The store at a folder, or at an address `s3://bucket/prefix`. An open store is returned, without its handle."""
    from sweeps.store.open import open_store

    if isinstance(store, StoreHandle):
        return store.plain
    return open_store(str(store)) if isinstance(store, (str, Path)) else store


def load(
    file: str | Path | Mapping[str, Any],
    *,
    size: str = sizes.FULL,
    tiny: bool = False,
    changes: Sequence[str] = (),
    changes_for: Mapping[str, Sequence[str]] | None = None,
    question: str = "",
) -> LoadedSweep:
    """Read and check a sweep: a file, the name of a shipped study, or a mapping with the keys of a sweep file.

    size: `full`, `small` (within an hour on two cores) or `tiny` (seconds), by the block of this name. tiny: short for
    `size="tiny"`. changes: KEY=VALUE, as for `--set`. changes_for: the same for sweeps that this one depends on,
    by name. question: what a mapping asks; a file says so in its first line.

    In a mapping, classes and functions may stand wherever a sweep file names code: `{"name": MyNet, "width": 8}`,
    `{"loss": {my_loss: 1.0}}`. One of a module is named by its file. One that a cell of a notebook or the running
    script defines is collected with what it uses, and stored with the trials. Paths are relative to the working folder.

    Raises SweepError for a mistake in the file or mapping, and for code that cannot be collected.
    """
    from sweeps.api import mappings
    from sweeps.spec import loader, studies

    size = sizes.TINY if tiny else size
    others = {name: tuple(values) for name, values in (changes_for or {}).items()}
    if isinstance(file, Mapping):
        source, code = mappings.document(file, question, Path.cwd())
        loaded = loader.adapt(source, size, tuple(changes))
        loaded.folder, loaded.user_code = Path.cwd(), code
        loaded.changes_for = others
        return LoadedSweep(loaded, Path.cwd())
    if question:
        raise SweepError(
            f"question={question!r}", "the file says it itself", "a question for a mapping", "leave it out"
        )
    path = studies.sweep_file(file)
    loaded = loader.load(path, size, tuple(changes))
    loaded.changes_for = others
    return LoadedSweep(loaded, path.parent)


def make_folder(folder: Path) -> None:
    """Create an output folder. SweepError if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SweepError(f"--out {folder}", str(error), "a folder that this user may write to", "--out ./out") from None
