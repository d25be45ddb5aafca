"""The contract of every store: objects under keys.

`tests/sweeps/store/test_store.py` tests it against every backend:

- A key is relative, with `/` between its parts; it cannot leave the store.
- `put` is atomic: a reader sees the whole old object or the whole new one, even if the writer is killed.
- `create` writes only if the key is free, and returns whether it did: of two writers, one wins.
- `get` of an absent key raises a KeyError; every other problem is a `StoreError`.
- `keys` lists, in the order of keys, every object that was written before the call.
- Objects that are still being written are not listed.
- `find` returns a version for each object: a string that changes when the object does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from sweeps.errors import StoreError

TEMPORARY = ".writing-"
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]|%(2e|2f|5c|00)|^[A-Za-z]:", re.IGNORECASE)
"""What no key contains: control characters, a backslash, a drive letter, an encoded `.`, `/`, backslash or NUL."""


class Abandoned(Exception):  # noqa: N818 - not an error
    """A write was abandoned on request. It has left nothing that a reader sees."""


def never() -> bool:
    return False


class Store(Protocol):
    """Objects under keys; see the module's docstring for the contract."""

    @property
    def uri(self) -> str:
        """Absolute address with which `open_store` opens the same store elsewhere."""

    def get(self, key: str) -> bytes:
        """Read an object. KeyError if there is none."""

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Read the objects that exist among `keys`, in parallel."""

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        """The keys that exist."""

    def put(self, key: str, data: bytes, abandoned: Callable[[], bool] = never) -> None:
        """Write or replace an object. abandoned: polled; once it returns True, nothing is written: raises Abandoned."""

    @property
    def writable(self) -> bool:
        """Whether this process may write, as far as a check without traces can tell. Takes a request on S3."""

    @property
    def exclusive(self) -> bool:
        """Whether the store guarantees that only one of two `create` calls wins; otherwise both may, in rare cases."""

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless the key exists. Returns whether it was written."""

    def create_many(self, objects: Iterable[tuple[str, bytes]]) -> set[str]:
        """`create` many objects in parallel. Returns the keys that were written."""

    def find(self, prefixes: Iterable[str]) -> dict[str, str]:
        """Key -> version of all objects under any of the prefixes: whole keys, or folders with a final `/`.

        On S3, a single request covers all prefixes that lie within the same thousand objects.
        """

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys under a prefix that ends with `/` (or is empty), sorted."""

    def children(self, prefix: str) -> list[str]:
        """Names of objects and folders directly under a prefix, sorted."""

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; absent keys are ignored."""

    def remove_unfinished(self, older_than_s: float) -> int:
        """Remove writes that were begun at least so many seconds ago and never ended. Returns how many."""


def check_key(key: str) -> str:
    """Return the key. StoreError if it is absolute, has empty parts, or could leave the store."""
    parts = key.split("/")
    if any(part in ("", ".", "..") or part.startswith(TEMPORARY) for part in parts) or _UNSAFE.search(key):
        raise StoreError(
            f"store key {key[:200]!r}",
            "it is absolute, could leave the store, or has a reserved or empty part",
            "names separated by '/', none of them empty, '.' or '..', without backslashes and control characters",
            "if a store contains this name, do not use that store; otherwise use a plain name",
        )
    return key


def is_key(key: str) -> bool:
    """Whether `check_key` accepts a key."""
    try:
        return bool(check_key(key))
    except StoreError:
        return False
