"""The contract of every store: objects under keys.

`tests/sweeps/store/test_store.py` runs it against every backend:

- A key is relative, with `/` between its parts; it cannot leave the store.
- `put` is atomic: a reader sees the whole old object or the whole new one, whatever is killed.
- `create` writes only where nothing is, and says whether it did: of two writers, one wins.
- `get` of an absent key is a KeyError; every other trouble is a `StoreError`.
- `keys` lists what was written before it was called, in the order of keys.
- Objects that are being written are never listed.
- `find` gives each object with a version, a text that changes when the object does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from sweeps.errors import StoreError

TEMPORARY = ".writing-"


class Abandoned(Exception):  # noqa: N818 - not an error
    """A write was given up on request, and has left nothing that anybody sees."""


def never() -> bool:
    return False


class Store(Protocol):
    """Objects under keys; see the module's text for what each backend promises."""

    @property
    def uri(self) -> str:
        """What `open_store` takes to open the same store elsewhere (absolute)."""

    def get(self, key: str) -> bytes:
        """The object; KeyError where there is none."""

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The objects that exist among `keys`, read side by side."""

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        """Which of `keys` exist."""

    def put(self, key: str, data: bytes, abandoned: Callable[[], bool] = never) -> None:
        """Write or replace an object. abandoned: asked now and then; after a yes nothing is written: Abandoned."""

    @property
    def writable(self) -> bool:
        """Whether this process may write, as far as can be told without leaving anything; on S3 that is a request."""

    @property
    def exclusive(self) -> bool:
        """Whether the store itself decides which of two `create` was first; else they can both win in rare cases."""

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; False where there was."""

    def create_many(self, objects: Iterable[tuple[str, bytes]]) -> set[str]:
        """`create` of many, side by side; the keys of those that were written."""

    def find(self, prefixes: Iterable[str]) -> dict[str, str]:
        """Key -> version of all objects that begin with one of many prefixes: whole keys, or folders with a final `/`.

        On S3 a request answers for every prefix within a thousand objects where they lie close together.
        """

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys under a prefix that ends with `/` (or is empty), sorted."""

    def children(self, prefix: str) -> list[str]:
        """Names directly under a prefix, sorted: objects and what would be folders."""

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; absent ones are no error."""


def check_key(key: str) -> str:
    """The key itself; a StoreError where it is absolute, has empty parts, or could leave the store."""
    parts = key.split("/")
    if not key or any(p in ("", ".", "..") or p.startswith(TEMPORARY) for p in parts) or "\0" in key:
        raise StoreError(
            f"store key {key!r}",
            "it could leave the store or hide in it",
            "relative names with '/' between them, none of them empty, '.' or '..'",
            "a plain name",
        )
    return key
