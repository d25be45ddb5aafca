"""A store of which a part was listed just now: what is asked about that part is answered without asking again."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from sweeps.store import Store, never


class Listed:
    """folders: prefixes with a final `/` that were listed; found: the version of every object below them."""

    def __init__(self, store: Store, folders: Iterable[str], found: dict[str, str]) -> None:
        self._store, self.folders, self.found = store, frozenset(folders), found
        self._sorted = sorted(found)

    def _is_listed(self, prefix: str) -> bool:
        parts = prefix.rstrip("/").split("/")
        return any("/".join(parts[:length]) + "/" in self.folders for length in range(1, len(parts) + 1))

    def find(self, prefixes: Iterable[str]) -> dict[str, str]:
        wanted = list(prefixes)
        answers = self._store.find(others) if (others := [p for p in wanted if not self._is_listed(p)]) else {}
        for prefix in wanted:
            if not prefix.endswith("/"):
                keys = [prefix] if prefix in self.found else []
            else:
                begin, end = bisect_left(self._sorted, prefix), bisect_left(self._sorted, prefix + "\U0010ffff")
                keys = self._sorted[begin:end]
            answers.update((key, self.found[key]) for key in keys)
        return answers

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        wanted = list(keys)
        others = [key for key in wanted if not self._is_listed(key)]
        return (self._store.exists_many(others) if others else set()) | {key for key in wanted if key in self.found}

    # Everything else goes to the store itself.

    @property
    def uri(self) -> str:
        return self._store.uri

    @property
    def exclusive(self) -> bool:
        return self._store.exclusive

    def get(self, key: str) -> bytes:
        return self._store.get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        return self._store.get_many(keys)

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
