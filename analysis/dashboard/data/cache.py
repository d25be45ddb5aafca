"""Thread-safe caches of a few values, valid while their source is unchanged or for a limited time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")

TTL_FACTOR = 5.0
"""A value stays valid for at least this many times the time it took to read."""


class VersionedCache(Generic[V]):
    """Values by key, each valid while its stamp is unchanged. The least recently used ones are dropped first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Hashable, tuple[Hashable, V]] = OrderedDict()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, stamp: Hashable, make: Callable[[], V]) -> V:
        """The cached value if its stamp is `stamp`, else a new one. Concurrent callers share one call of `make`."""
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
    """Values that are valid for a few seconds, so that all sessions share one read of the store.

    A value that takes long to read, as on a busy S3 server, stays valid for longer (`TTL_FACTOR`).
    """

    def __init__(self, seconds: float, most: int = 256) -> None:
        self._seconds, self._cache = seconds, VersionedCache[tuple[float, V]](most)
        self._round: dict[Hashable, int] = {}

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        def timed() -> tuple[float, V]:
            began = time.monotonic()
            value = make()
            now = time.monotonic()
            return now + max(self._seconds, TTL_FACTOR * (now - began)), value

        until, value = self._cache.get(key, self._round.get(key, 0), timed)
        if time.monotonic() < until:
            return value
        self._round[key] = self._round.get(key, 0) + 1
        return self._cache.get(key, self._round[key], timed)[1]

    def forget(self) -> None:
        self._cache.forget()
