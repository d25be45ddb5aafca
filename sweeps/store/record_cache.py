"""Caches the finished records of a sweep in one object, so that a report on a thousand trials reads few objects.

`sweeps/<name>/records.parquet` has a row for each object that a report reads and that is written only once: results,
suggestions and their outcomes. Columns: key; version (from `Store.find`); body (the object, for a result without its
history); history (of a result: {column: values by epoch}, NaN for null; parsing it as JSON would take most of the time
of a report). It is only a copy: a row is used only if the store has the object with the same version, which listings
tell for a thousand objects at a time. So a report does not depend on who wrote the copy last, or on what was deleted,
changed or retrained afterwards.

The file carries the SHA-256 of the whole of it, and its pages carry checksums: a copy that does not match is dropped,
and its objects are read anew. Only intact objects are copied.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeps.errors import StoreError
from sweeps.parallel import parallel_map
from sweeps.results import progress
from sweeps.store import layout, listing
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store
from sweeps.store.forwarding import ForwardingStore

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

    History = Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]

_THREADS = 8
STALE = 20
"""A report that had to read more objects than this rewrites the copy."""


def key_of(name: str) -> str:
    return f"sweeps/{name}/records.parquet"


@dataclass(frozen=True)
class _CachedObject:
    """One object in the copy."""

    version: str
    body: bytes
    """The object; for a result without its history."""
    history: History | None
    """Of a result, else None."""


class CachedStore(ForwardingStore):
    """A store for reading a sweep that takes objects from the copy if their versions match those in the store."""

    def __init__(self, store: Store, name: str, versions: Mapping[str, str] | None = None) -> None:
        """versions: known versions of results, from `result_versions`; others are looked up."""
        super().__init__(store)
        self._name = name
        self._copy: dict[str, _CachedObject] | None = None
        self._used: dict[str, _CachedObject] = {}
        self._versions = dict(versions or {})
        self.damaged: dict[str, layout.DamagedError] = {}
        """Damaged results that were left out, by key."""
        self.missed = 0
        """Number of objects that were read one by one because the copy did not have them."""

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        wanted = list(keys)
        lasting = {key for key in wanted if _lasts(key, self._name) and not _is_result(key)}
        read = self._store.get_many(key for key in wanted if key not in lasting)
        return read | {key: row.body for key, row in self._take(lasting).items()}

    def results(self, keys: Iterable[str]) -> dict[str, tuple[layout.Json, History]]:
        """Intact results: key -> (result without history, history as {column: values by epoch} with NaN for null)."""
        return {key: (json.loads(row.body), row.history or {}) for key, row in self._take(keys).items()}

    def find_damaged(self, results: Iterable[str]) -> Collection[str]:
        """The keys of results that cannot be read."""
        wanted = list(results)
        self._take(wanted)
        return self.damaged.keys() & set(wanted)

    def _take(self, keys: Iterable[str]) -> dict[str, _CachedObject]:
        """Read objects that are written only once, from the copy or the store."""
        wanted = list(keys)
        self._look(key for key in wanted if key not in self._versions)
        versions = {key: self._versions[key] for key in wanted if self._versions[key]}
        copy = self._read() | self._used if versions else {}
        rows = {key: copy[key] for key, version in versions.items() if key in copy and copy[key].version == version}
        read = self._store.get_many(key for key in versions if key not in rows and key not in self.damaged)
        self.missed += len(read)
        for key, data in read.items():
            try:
                rows[key] = _row(key, versions[key], data)
            except layout.DamagedError as error:
                layout.report_damage(error)
                self.damaged[key] = error
        self._used |= rows
        return rows

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        """Which keys exist; the answer for an object that is written only once is remembered."""
        wanted = list(keys)
        lasting = {key for key in wanted if _lasts(key, self._name)}
        self._look(key for key in lasting if key not in self._versions)
        others = self._store.exists_many(key for key in wanted if key not in lasting)
        return others | {key for key in lasting if self._versions[key]}

    def _look(self, keys: Iterable[str]) -> None:
        """Look up the versions of objects; '' for absent ones."""
        wanted = list(keys)
        versions = self._store.find(wanted)
        self._versions |= {key: versions.get(key, "") for key in wanted}

    def _read(self) -> dict[str, _CachedObject]:
        """The rows of the copy; empty if it is missing or damaged."""
        if self._copy is None:
            try:
                self._copy = _unpack(self._store.get(key_of(self._name)))
            except (KeyError, ValueError, TypeError, OSError):
                self._copy = {}
        return self._copy

    def refresh(self, stale: int = STALE) -> bool:
        """Rewrite the copy, with the objects read through this store, if more than `stale` of them were not in it."""
        if self.missed <= stale:
            return False
        self._store.put(key_of(self._name), _pack(self._read() | self._used))
        return True


def cached(store: Store, name: str) -> CachedStore:
    """A store for reading a sweep: the given one if it is of this kind, so that nothing is read twice."""
    return store if isinstance(store, CachedStore) else CachedStore(store, name)


def trial_states(copied: CachedStore, plan: layout.Json, now: float | None = None) -> dict[str, progress.TrialState]:
    """As `progress.trial_states`, but damaged results are noticed, which takes reading all results of the plan."""
    return states_of(copied, progress.targets(plan), now)


def states_of(
    copied: CachedStore, wanted: dict[str, tuple[int, ...]], now: float | None = None
) -> dict[str, progress.TrialState]:
    """As `progress.states_of`, but damaged results are noticed, which takes reading all results."""
    keys = [layout.result_key(trial, epochs) for trial, many in wanted.items() for epochs in many]
    return progress.states_of(copied, wanted, now, copied.find_damaged(keys))


def result_versions(store: Store, names: Iterable[str]) -> dict[str, str]:
    """Key -> version of all results in the newest plans of the sweeps; '' for absent ones.

    The trials of all sweeps share one folder, so a single pass over its listing serves many sweeps.
    """
    plans = parallel_map(lambda name: stored_plans.newest_plan(store, name), names, _THREADS)
    targets = [progress.targets(plan) for plan in plans if plan is not None]
    keys = [layout.result_key(trial, epochs) for one in targets for trial, many in one.items() for epochs in many]
    versions = store.find(keys)
    return {key: versions.get(key, "") for key in keys}


def refresh(store: Store, name: str) -> None:
    """Update the copy at the end of a run. If the store fails, only the copy is missing: StoreErrors are ignored."""
    copied = CachedStore(store, name)
    try:
        plan = stored_plans.newest_plan(store, name)
        if plan is None:
            return
        searched = copied.get_many(
            key for part in ("search", "pruned") for key in listing.keys(store, f"sweeps/{name}/{part}/")
        )
        tried = layout.intact({key: data for key, data in searched.items() if key.endswith(".trials.json")}).values()
        trials = {*progress.targets(plan), *(trial for trials in tried for trial in trials.values())}
        copied.results(listing.find(store, (layout.join("trials", trial, "result") + "/" for trial in trials)))
        copied.refresh(0)
    except StoreError:
        return


def _lasts(key: str, name: str) -> bool:
    """Whether an object is written only once."""
    return _is_result(key) or key.startswith((f"sweeps/{name}/search/", f"sweeps/{name}/pruned/"))


def _is_result(key: str) -> bool:
    parts = key.split("/")
    return len(parts) == 4 and parts[0] == "trials" and parts[2] == "result"


def _row(key: str, version: str, data: bytes) -> _CachedObject:
    if not _is_result(key):
        return _CachedObject(version, data, None)
    import numpy as np

    body = layout.load(key, data)
    history = {name: np.array(values, dtype=np.float64) for name, values in body.pop("history").items()}
    return _CachedObject(version, json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode(), history)


# --- the file ---------------------------------------------------------------------------------------------------------


_MARK, _BLANK = b"sha256:", b"0" * 64
"""The file's metadata has the hash of the whole file after `_MARK`; it is computed with `_BLANK` in its place."""


def _pack(rows: Mapping[str, _CachedObject]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    keys = sorted(rows)
    columns = {
        "key": pyarrow.array(keys, pyarrow.string()),
        "version": pyarrow.array([rows[key].version for key in keys], pyarrow.string()),
        "body": pyarrow.array([rows[key].body for key in keys], pyarrow.binary()),
        "history": _packed([rows[key].history or {} for key in keys]),
    }
    sink = io.BytesIO()
    texts = ["key", "version", "body", "history.key_value.key"]  # dictionary encoding does not compress measured values
    table = pyarrow.table(columns).replace_schema_metadata({"checksum": _MARK + _BLANK})
    pyarrow.parquet.write_table(table, sink, compression="zstd", use_dictionary=texts, write_page_checksum=True)
    blank = sink.getvalue()
    return blank.replace(_MARK + _BLANK, _MARK + hashlib.sha256(blank).hexdigest().encode(), 1)


def _is_intact(data: bytes) -> bool:
    """Whether a file matches the hash in its metadata, which stands near its end."""
    start = data.rfind(_MARK) + len(_MARK)
    blank = data[:start] + _BLANK + data[start + len(_BLANK) :]
    return hashlib.sha256(blank).hexdigest().encode() == data[start : start + len(_BLANK)]


def _packed(histories: list[History]) -> pyarrow.MapArray:
    import numpy as np
    import pyarrow

    def starts(lengths: Iterable[int]) -> pyarrow.Array:
        return pyarrow.array(list(itertools.accumulate(lengths, initial=0)), pyarrow.int32())

    values = [column for history in histories for column in history.values()]
    flat = pyarrow.array(np.concatenate(values) if values else np.array([], dtype=np.float64), pyarrow.float64())
    names = pyarrow.array([name for history in histories for name in history], pyarrow.string())
    items = pyarrow.ListArray.from_arrays(starts(map(len, values)), flat)
    return pyarrow.MapArray.from_arrays(starts(map(len, histories)), names, items)


def _unpack(data: bytes) -> dict[str, _CachedObject]:
    """Read the rows. Raises ValueError for a damaged file, or one without a checksum."""
    import pyarrow
    import pyarrow.parquet

    if not _is_intact(data):
        raise ValueError("the copy does not match its checksum")

    # No `read_table` and no threads: a process that exits soon afterwards sometimes aborts (apache/arrow#34314).
    source = pyarrow.BufferReader(data)
    file = pyarrow.parquet.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)
    table = file.read(use_threads=False)
    keys, versions, bodies = (table[name].to_pylist() for name in ("key", "version", "body"))
    histories = [history for part in table["history"].chunks for history in _unpacked(part)]
    return {
        key: _CachedObject(version, body, history if _is_result(key) else None)
        for key, version, body, history in zip(keys, versions, bodies, histories, strict=True)
    }


def _unpacked(part: pyarrow.MapArray) -> Iterator[History]:
    names, lists = part.keys.to_pylist(), part.items
    values = lists.values.to_numpy()
    edges = lists.offsets.to_pylist()
    first = part.offsets.to_pylist()
    for start, end in itertools.pairwise(first):
        yield {names[i]: values[edges[i] : edges[i + 1]] for i in range(start, end)}
