"""A store that answers questions about keys from a recent listing, without asking the underlying store again."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from sweeps.store.base import Store
from sweeps.store.forwarding import ForwardingStore


class ListedStore(ForwardingStore):
    """A store of which some keys and prefixes have been listed; everything else is asked of the underlying store.

    listed: keys, and prefixes with a final `/`, that were listed
    versions: {key: version} of every object that the listing contained
    """

    def __init__(self, store: Store, listed: Iterable[str], versions: dict[str, str]) -> None:
        super().__init__(store)
        self.listed, self.versions = frozenset(listed), versions
        self._sorted = sorted(versions)

    def _is_listed(self, prefix: str) -> bool:
        if prefix in self.listed:
            return True
        parts = prefix.rstrip("/").split("/")
        return any("/".join(parts[:length]) + "/" in self.listed for length in range(1, len(parts) + 1))

    def find(self, prefixes: Iterable[str]) -> dict[str, str]:
        wanted = list(prefixes)
        answers = self._store.find(others) if (others := [p for p in wanted if not self._is_listed(p)]) else {}
        for prefix in wanted:
            if not prefix.endswith("/"):
                keys = [prefix] if prefix in self.versions else []
            else:
                begin, end = bisect_left(self._sorted, prefix), bisect_left(self._sorted, prefix + "\U0010ffff")
                keys = self._sorted[begin:end]
            answers.update((key, self.versions[key]) for key in keys)
        return answers

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        wanted = list(keys)
        others = [key for key in wanted if not self._is_listed(key)]
        return (self._store.exists_many(others) if others else set()) | {key for key in wanted if key in self.versions}
