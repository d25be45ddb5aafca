"""Brings the code of users from a machine that plans into the store, and from there to the machines that run it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sweeps.errors import StoreError
from sweeps.store import code as stored_code
from sweeps.store.base import Store
from trainables import schema
from trainables.code import cache


def store_code(store: Store, task: str, configs: Iterable[dict[str, Any]]) -> None:
    """Store the code that configurations name; the machine that resolved them has it in its cache."""
    needed = {name for config in configs for name in schema.code_of(task, config)}
    for name in sorted(needed):
        if cache.is_kept(name):  # otherwise they were read from the store, which has it
            stored_code.put_code(store, name, cache.kept_files(name))


def bring_code(store: Store, names: Iterable[str]) -> None:
    """Put code from a store into this machine's cache. StoreError if the store does not hold what was hashed."""
    for name in names:
        if cache.is_kept(name):
            continue
        if not cache.is_hash(name):
            raise StoreError(
                f"code {name[:200]!r}",
                "it is not the hash of code",
                f"{cache.HASH_DIGITS} hexadecimal digits",
                "restore the plan or trial that names it from a copy, or do not use this store",
            )
        kept = cache.keep(stored_code.get_code(store, name))
        if kept != name:
            raise StoreError(
                f"code {name}",
                f"the files under code/{name} in {store.uri} have another hash, {kept}: they were changed",
                "code as it was stored",
                "delete that folder and run the sweep again, or use another store",
            )
