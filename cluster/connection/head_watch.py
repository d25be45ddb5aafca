"""Watches the head of a Ray that a run has joined, and ends the run with an error in four parts when the head is gone.

Without its head a cluster is lost. Ray would end this process a minute later with a stack trace of C++.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

from cluster.connection import ending
from sweeps.errors import SweepError

RAY_WAITS = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Ray's setting for the seconds after which it ends a process that has lost the head; 60 by default."""
SHARE = 0.75
"""Share of that time for which the head may be silent."""
_LOOK_EVERY_S = 2.0
_ANSWER_S = 5.0


@contextlib.contextmanager
def watched(address: str) -> Iterator[None]:
    """Watch the GCS at `address` (HOST:PORT) for the time of a `with` statement."""
    over = threading.Event()
    limit_s = SHARE * float(os.environ.get(RAY_WAITS, 60))
    arguments = (address, limit_s, over, ending.end_process)
    threading.Thread(target=watch, args=arguments, daemon=True, name="head-watch").start()
    try:
        yield
    finally:
        over.set()


def watch(address: str, limit_s: float, over: threading.Event, end: Callable[[SweepError], None]) -> None:
    """Call `end` with the error when nothing has listened at the address for `limit_s` seconds."""
    silent_since: float | None = None
    while not over.wait(min(_LOOK_EVERY_S, limit_s / 4)):
        if _listens(address):
            silent_since = None
            continue
        silent_since = silent_since or time.monotonic()
        silent_s = time.monotonic() - silent_since
        if silent_s >= limit_s:
            if not over.is_set():
                end(_lost(address, silent_s))
            return


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except OSError:
        return False
    return True


def _lost(address: str, silent_s: float) -> SweepError:
    return SweepError(
        f"--address {address}",
        f"the head of the cluster has not answered for {silent_s:.0f} s, and a cluster without its head is lost",
        "a running cluster: the store has every finished trial, and the checkpoints of the others",
        "start the cluster again; the same command goes on, with --address if the new head has another address",
    )
