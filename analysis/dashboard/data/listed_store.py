"""A store of which a part was listed just now: what is asked about that part is answered without asking again."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from sweeps.store.base import Store
from sweeps.store.forwarding import ForwardingStore


class ListedStore(ForwardingStore):
    """looked: whole keys, and prefixes with a final `/`, that were looked for; found: version of every object there."""

    def __init__(self, store: Store, looked: Iterable[str], found: dict[str, str]) -> None:
        super().__init__(store)
        self.looked, self.found = frozenset(looked), found
        self._sorted = sorted(found)

    def _is_listed(self, prefix: str) -> bool:
        if prefix in self.looked:
            return True
        parts = prefix.rstrip("/").split("/")
        return any("/".join(parts[:length]) + "/" in self.looked for length in range(1, len(parts) + 1))

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
