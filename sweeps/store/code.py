"""The code of users in a store: `code/<hash>/<path>`, and `code/<hash>.json` with the paths when all are there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sweeps.errors import StoreError
from sweeps.results.columns import SCHEMA
from sweeps.store.base import Store
from sweeps.store.layout import create, get_intact, join

_HASH = re.compile(r"\.py(:\w+)?#([0-9a-f]{16})$")


def hashes_in(config: Any) -> tuple[str, ...]:
    """The hashes of the user's code that a resolved configuration names, each once."""
    if isinstance(config, str):
        return tuple(match[2] for match in [_HASH.search(config)] if match)
    if isinstance(config, Mapping):
        own = config.get("code_hash")  # of task `command`
        inside = [*config, *(value for key, value in config.items() if key != "user_code")]
        found = [*([own] if isinstance(own, str) else []), *(one for part in inside for one in hashes_in(part))]
        return tuple(dict.fromkeys(found))
    if isinstance(config, (list, tuple)):
        return tuple(dict.fromkeys(one for part in config for one in hashes_in(part)))
    return ()


def put_code(store: Store, name: str, files: Mapping[str, bytes]) -> None:
    """Store the files of a user's code under its hash, unless they are there."""
    listed = join("code", f"{name}.json")
    if get_intact(store, listed) is None:
        for path, content in files.items():
            store.put(f"code/{name}/{path}", content)
        create(store, listed, {"schema": SCHEMA, "files": sorted(files)})


def get_code(store: Store, name: str) -> dict[str, bytes]:
    """The files of a user's code by path. StoreError if the store does not hold all of them.

    The caller checks their hash.
    """
    listed = get_intact(store, join("code", f"{name}.json"))
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
