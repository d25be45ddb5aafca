"""A sweep's finished records in one object, so that a report on a thousand trials reads few objects.

`sweeps/<name>/records.parquet` has a row for each object that a report reads and that is not written again: results,
suggestions and what became of them. Columns: key, version (as `Store.find` gives it), data. It is a copy and no truth:
a row counts only while the object itself is in the store with the same version, which listings tell, a thousand at a
time. So whoever writes it last, and whatever is deleted, altered or trained anew afterwards, no report can differ.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator

from sweeps import ledger, progress
from sweeps.errors import StoreError
from sweeps.store import Store, never

STALE = 20
"""A report that had to read more objects than this writes the copy anew."""


def key_of(name: str) -> str:
    return f"sweeps/{name}/records.parquet"


class Copied:
    """A store for reading a sweep: takes an object from the copy where that is the store's own version of it."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name
        self._copy: dict[str, tuple[str, bytes]] | None = None
        self._used: dict[str, tuple[str, bytes]] = {}
        self._versions: dict[str, str] = {}
        self.missed = 0
        """Objects that were read one by one, though a copy could have had them."""

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        wanted = list(keys)
        lasting = [key for key in wanted if _lasts(key, self._name)]
        self._look(key for key in lasting if key not in self._versions)
        versions = {key: self._versions[key] for key in lasting if self._versions[key]}
        copy = self._read() if versions else {}
        held = {key: copy[key][1] for key, version in versions.items() if copy.get(key, ("",))[0] == version}
        others = [key for key in wanted if key not in held and (key in versions or not _lasts(key, self._name))]
        read = self._store.get_many(others)
        self.missed += sum(key in versions for key in read)
        self._used |= {key: (versions[key], data) for key, data in (held | read).items() if key in versions}
        return held | read

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        """As the store has it, remembered: a report asks for the same objects soon after."""
        wanted = list(keys)
        lasting = {key for key in wanted if _lasts(key, self._name)}
        self._look(lasting)
        others = self._store.exists_many(key for key in wanted if key not in lasting)
        return others | {key for key in lasting if self._versions[key]}

    def _look(self, keys: Iterable[str]) -> None:
        """Learn the versions of objects, empty where there is none."""
        wanted = list(keys)
        found = self._store.find(wanted)
        self._versions |= {key: found.get(key, "") for key in wanted}

    def _read(self) -> dict[str, tuple[str, bytes]]:
        """The copy; nothing where there is none or where it is damaged."""
        if self._copy is None:
            try:
                self._copy = _unpack(self._store.get(key_of(self._name)))
            except (KeyError, ValueError, OSError):
                self._copy = {}
        return self._copy

    def refresh(self, stale: int = STALE) -> bool:
        """Write the copy anew, with what was read through this store, if more than `stale` objects were not in it."""
        if self.missed <= stale:
            return False
        self._store.put(key_of(self._name), _pack(self._read() | self._used))
        return True

    # What a report does besides goes to the store itself.

    @property
    def uri(self) -> str:
        return self._store.uri

    @property
    def exclusive(self) -> bool:
        return self._store.exclusive

    def get(self, key: str) -> bytes:
        return self._store.get(key)

    def find(self, prefixes: Iterable[str]) -> dict[str, str]:
        return self._store.find(prefixes)

    def keys(self, prefix: str) -> Iterator[str]:
        return self._store.keys(prefix)

    def children(self, prefix: str) -> list[str]:
        return self._store.children(prefix)

    def put(self, key: str, data: bytes, abandoned: Callable[[], bool] = never) -> None:
        self._store.put(key, data, abandoned)

    def create(self, key: str, data: bytes) -> bool:
        return self._store.create(key, data)

    def create_many(self, objects: Iterable[tuple[str, bytes]]) -> set[str]:
        return self._store.create_many(objects)

    def delete(self, keys: Iterable[str]) -> None:
        self._store.delete(keys)


def refresh(store: Store, name: str) -> None:
    """Copy the records of a sweep's finished trials, at the end of a run. An outage costs the copy only."""
    copied = Copied(store, name)
    try:
        plan = ledger.newest_plan(store, name)
        if plan is None:
            return
        searched = copied.get_many([*store.keys(f"sweeps/{name}/search/"), *store.keys(f"sweeps/{name}/pruned/")])
        tried = [ledger.load(key, data) for key, data in searched.items() if key.endswith(".trials.json")]
        trials = {*progress.targets(plan), *(trial for trials in tried for trial in trials.values())}
        copied.get_many(store.find(f"trials/{trial}/result/" for trial in trials))
        copied.refresh(0)
    except StoreError:
        return


def _lasts(key: str, name: str) -> bool:
    """Whether an object is written once and for all."""
    parts = key.split("/")
    if parts[0] == "trials":
        return len(parts) == 4 and parts[2] == "result"
    return key.startswith((f"sweeps/{name}/search/", f"sweeps/{name}/pruned/"))


def _pack(rows: dict[str, tuple[str, bytes]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    keys = sorted(rows)
    columns = {"key": keys, "version": [rows[key][0] for key in keys], "data": [rows[key][1] for key in keys]}
    kinds = [("key", pyarrow.string()), ("version", pyarrow.string()), ("data", pyarrow.binary())]
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns, pyarrow.schema(kinds)), sink, compression="zstd")
    return sink.getvalue()


def _unpack(data: bytes) -> dict[str, tuple[str, bytes]]:
    """Raises what pyarrow raises for a damaged file: a ValueError or an OSError."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(pyarrow.BufferReader(data)).to_pydict()
    return {key: (version, d) for key, version, d in zip(table["key"], table["version"], table["data"], strict=True)}
