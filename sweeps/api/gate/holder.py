"""Lets one process at a time try a candidate: a claim with a heartbeat, `gates/<name>/tries/<n>.json`."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from sweeps.errors import StoreError, SweepError
from sweeps.holders import LEASE_S, is_gone, this_process
from sweeps.results.columns import SCHEMA
from sweeps.store import listing
from sweeps.store.base import Store
from sweeps.store.layout import dump, get_intact, join

BEAT_S = 5.0
"""Seconds between two heartbeats."""


@contextlib.contextmanager
def only_one(store: Store, name: str, lease_s: float = LEASE_S) -> Iterator[None]:
    """Hold a gate. Raises SweepError if another process holds it.

    A process of this machine that has ended is known at once; another machine's counts as ended when its heartbeat has
    not changed for `lease_s` seconds, for which this waits.
    """
    folder = join("gates", name, "tries")
    newest = max(listing.numbers(store, folder), default=0)
    if newest and not _is_over(store, folder, newest, lease_s):
        raise busy(store, name)
    number = newest + 1
    if not store.create(f"{folder}/{number:04d}.json", dump({"schema": SCHEMA, "process": this_process()})):
        raise busy(store, name)
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(store, f"{folder}/{number:04d}.beat.json", ended.wait), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with contextlib.suppress(StoreError):  # otherwise the heartbeat stops, or the process is known to be gone
            store.put(f"{folder}/{number:04d}.end.json", dump({"ended_at": time.time()}))


def _beat(store: Store, key: str, wait: Callable[[float], bool]) -> None:
    while True:
        with contextlib.suppress(StoreError):
            store.put(key, dump({"time": time.time()}))
        if wait(BEAT_S):
            return


def _is_over(store: Store, folder: str, number: int, lease_s: float) -> bool:
    claim = get_intact(store, f"{folder}/{number:04d}.json") or {}
    end, beat = (f"{folder}/{number:04d}.{part}.json" for part in ("end", "beat"))
    holder = claim.get("process") or {}
    if store.exists_many([end]) or is_gone(holder):
        return True
    if holder.get("machine") is not None and holder["machine"] == this_process()["machine"]:
        return False
    first, deadline = store.get_many([beat]), time.monotonic() + lease_s
    while time.monotonic() < deadline:
        time.sleep(min(1.0, lease_s / 4))
        if store.exists_many([end]):
            return True
        if store.get_many([beat]) != first:
            return False
    return True


def busy(store: Store, name: str) -> SweepError:
    """The error for a gate that another process holds."""
    folder = join("gates", name, "tries")
    claim = get_intact(store, f"{folder}/{max(listing.numbers(store, folder), default=0):04d}.json") or {}
    pid = (claim.get("process") or {}).get("pid", "unknown")
    return SweepError(
        f"gate {name!r}",
        f"another process (pid {pid}) is trying a candidate",
        "one candidate at a time: what the next one is compared with depends on this one's verdict",
        "wait until it has ended; `sweeps gate status` tells its verdict",
    )
