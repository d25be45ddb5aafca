"""The data that trials have read: which versions of a folder a sweep has used, and results from more than one.

Each result records a digest for every folder and file that its trial read (`provenance.data`). The store keeps what a
digest stands for under `fingerprints/<digest>.json`, and the digests that a sweep has used, in their order, under
`sweeps/<name>/data/`. Results of versions that recorded none are not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sweeps.errors import StoreError
from sweeps.results.columns import SCHEMA
from sweeps.store import layout, listing, record_cache
from sweeps.store.base import Store

Files = Mapping[str, Sequence[int | str]]
"""Size and hash of each file, by name."""
_ATTEMPTS = 100


def store_files(store: Store, path: str, digest: str, files: Files) -> None:
    """Store what a digest stands for."""
    key = _files_key(digest)
    if layout.get_intact(store, key) is None:
        layout.create(
            store, key, {"schema": SCHEMA, "path": path, "files": {name: list(file) for name, file in files.items()}}
        )


def used(store: Store, sweep: str) -> dict[str, list[str]]:
    """The digests with which a sweep has used each path, oldest first; the last one is what its trials must read."""
    bodies = layout.intact(store.get_many(listing.keys(store, f"sweeps/{sweep}/data/")))
    found: dict[str, list[str]] = {}
    for _, body in sorted(bodies.items()):
        found.setdefault(body["path"], []).append(body["digest"])
    return found


def use(store: Store, sweep: str, path: str, digest: str) -> str:
    """Add a digest to those that a sweep has used for a path, as the newest one. Returns the key of its object."""
    body = layout.dump({"schema": SCHEMA, "path": path, "digest": digest})
    for _ in range(_ATTEMPTS):  # another process may take the number
        number = 1 + max(listing.numbers(store, f"sweeps/{sweep}/data"), default=0)
        key = f"sweeps/{sweep}/data/{number:04d}.json"
        if store.create(key, body):
            return key
    raise StoreError(
        f"the folder sweeps/{sweep}/data",
        f"other processes have taken {_ATTEMPTS} names in it one after the other",
        "a store that creates each object once",
        "sweeps run FILE again",
    )


def recorded(result: Mapping[str, object]) -> Mapping[str, str]:
    """The digests of the data that a result was made from, by path."""
    made_by = result.get("provenance")
    data = made_by.get("data") if isinstance(made_by, Mapping) else None
    return data if isinstance(data, Mapping) else {}


def mixed_data_of(store: Store, plan: layout.Json) -> list[str]:
    """`mixed_data` of the finished trials of a stored plan."""
    trials = (trial for arm in plan["arms"] for trial in arm["trials"].values())
    keys = {layout.result_key(trial["id"], trial["epochs"]) for trial in trials}
    found = record_cache.cached(store, plan["name"]).results(sorted(keys))
    return mixed_data(store, [result for result, _ in found.values()])


def mixed_data(store: Store, results: Iterable[Mapping[str, object]]) -> list[str]:
    """A sentence for each path of which finished trials have read more than one version."""
    counts: dict[str, Counter[str]] = {}
    for result in results:
        for path, digest in recorded(result).items():
            counts.setdefault(path, Counter())[digest] += 1
    sentences = []
    for path, versions in counts.items():
        (first, many), *others = versions.most_common()
        for other, few in others:
            sentences.append(
                f"Different data under one path: {few} of {versions.total()} finished trials read another version of "
                f"{path} than the other {many}: {difference(store, first, other)}. They are not comparable; "
                "`sweeps run FILE --retrain-stale` trains on the present data what was trained on others."
            )
    return sentences


def difference(store: Store, before: str, after: str) -> str:
    """How the files of two digests differ: '40 and 42 files; the first that differs is im003.png'."""
    bodies = [layout.get_intact(store, _files_key(digest)) for digest in (before, after)]
    if None in bodies:
        return "the store does not name their files"
    old, new = (body["files"] for body in bodies if body)
    first = next((name for name in sorted({*old, *new}) if old.get(name) != new.get(name)), "")
    numbers = f"{len(old)} and {len(new)} files" if len(old) != len(new) else f"{len(old)} files in both"
    if not first:
        return f"{numbers}, whose content differs"
    how = "" if first in old and first in new else ", which only one of them has"
    return f"{numbers}; the first that differs is {first}{how}"


def _files_key(digest: str) -> str:
    return f"fingerprints/{digest}.json"
