"""Values that are kept while what they were made from stays the same, a few at a time, and made once at a time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")

SHARE = 5.0
"""A look counts for so many times what it took."""


class VersionedCache(Generic[V]):
    """The newest values by key. A value counts while its stamp is the same; the least used go first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Hashable, tuple[Hashable, V]] = OrderedDict()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, stamp: Hashable, make: Callable[[], V]) -> V:
        """The value of `key` if it was made under `stamp`, else a new one; two who ask at once wait for one making."""
        with self._lock:
            making = self._locks.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._values and self._values[key][0] == stamp:
                    self._values.move_to_end(key)
                    return self._values[key][1]
            value = make()
            with self._lock:
                self._values[key] = (stamp, value)
                self._values.move_to_end(key)
                while len(self._values) > self._most:
                    self._locks.pop(self._values.popitem(last=False)[0], None)
            return value

    def forget(self) -> None:
        with self._lock:
            self._values.clear()


class TTLCache(Generic[V]):
    """Values that are good for a few seconds: all sessions that look within them share one look at the store.

    Where a look takes long, on a busy S3 server, its value is good for longer: pages never do nothing but look.
    """

    def __init__(self, seconds: float, most: int = 256) -> None:
        self._seconds, self._kept = seconds, VersionedCache[tuple[float, V]](most)
        self._round: dict[Hashable, int] = {}

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        def timed() -> tuple[float, V]:
            began = time.monotonic()
            value = make()
            now = time.monotonic()
            return now + max(self._seconds, SHARE * (now - began)), value

        until, value = self._kept.get(key, self._round.get(key, 0), timed)
        if time.monotonic() < until:
            return value
        self._round[key] = self._round.get(key, 0) + 1
        return self._kept.get(key, self._round[key], timed)[1]

    def forget(self) -> None:
        self._kept.forget()
