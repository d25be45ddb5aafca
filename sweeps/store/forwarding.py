"""Base class of stores that forward calls to another store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sweeps.store.base import Store, never


class ForwardingStore:
    """Forwards every call to another store; subclasses override single methods."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def uri(self) -> str:
        return self._store.uri

    @property
    def writable(self) -> bool:
        return self._store.writable

    @property
    def exclusive(self) -> bool:
        return self._store.exclusive

    def get(self, key: str) -> bytes:
        return self._store.get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        return self._store.get_many(keys)

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        return self._store.exists_many(keys)

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

    def remove_unfinished(self, older_than_s: float) -> int:
        return self._store.remove_unfinished(older_than_s)
