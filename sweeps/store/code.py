"""The code of users in a store: `code/<hash>/<path>`, and `code/<hash>.json` with the paths when all are there."""

from __future__ import annotations

from collections.abc import Mapping

from sweeps.errors import StoreError
from sweeps.results.columns import SCHEMA
from sweeps.store.base import Store
from sweeps.store.layout import dump, get_json


def put_code(store: Store, name: str, files: Mapping[str, bytes]) -> None:
    """Store the files of a user's code under its hash, unless they are there."""
    if get_json(store, f"code/{name}.json") is None:
        for path, content in files.items():
            store.put(f"code/{name}/{path}", content)
        store.create(f"code/{name}.json", dump({"schema": SCHEMA, "files": sorted(files)}))


def get_code(store: Store, name: str) -> dict[str, bytes]:
    """The files of a user's code by path. StoreError if the store does not hold all of them.

    The caller checks their hash.
    """
    listed = get_json(store, f"code/{name}.json")
    paths = listed["files"] if listed else []
    found = store.get_many([f"code/{name}/{path}" for path in paths])
    files = {path: found[f"code/{name}/{path}"] for path in paths if f"code/{name}/{path}" in found}
    if not paths or len(files) < len(paths):
        raise StoreError(
            f"code {name}",
            f"the store {store.uri} does not hold it completely",
            "a store that the sweep was run in",
            "sweeps run FILE, which stores the code again",
        )
    return files
