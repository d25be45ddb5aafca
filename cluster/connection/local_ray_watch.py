"""Watches the Ray that a run has started, which cannot survive the death of its GCS or raylet.

Ray would end this process some seconds later with a stack trace of C++. The watch is faster: it starts the command once
more in the same process, which continues the sweep from its checkpoints, or ends it with an error in four parts.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence

import ray
from ray._private import ray_constants

from cluster.connection import connection, ending
from sweeps.errors import SweepError
from sweeps.run_options import DEADLINE

RESTARTED = "SWEEPS_RAY_RESTARTED"
"""Environment variable of a command that was started again because its Ray had died."""
_LOOK_EVERY_S = 0.3
_VITAL = (ray_constants.PROCESS_TYPE_GCS_SERVER, ray_constants.PROCESS_TYPE_RAYLET)


@contextlib.contextmanager
def watched(restart: Sequence[str], deadline: float | None = None) -> Iterator[None]:
    """Watch the local Ray of this process for the time of a `with` statement.

    restart: command line that replaces this process if Ray dies; empty: none, and Ray ends the process. deadline: of
    the run, which the new start keeps.
    """
    ended = threading.Event()
    if restart:
        threading.Thread(target=_watch, args=(restart, deadline, ended), daemon=True, name="local-ray-watch").start()
    try:
        yield
    finally:
        ended.set()


def _watch(restart: Sequence[str], deadline: float | None, ended: threading.Event) -> None:
    node = ray._private.worker._global_node
    while not ended.wait(_LOOK_EVERY_S):
        dead = [kind for kind, _ in node.dead_processes() if kind in _VITAL]
        if dead and not ended.is_set():
            _end(dead, node, restart, deadline)


def _end(dead: Sequence[str], node: ray._private.node.Node, restart: Sequence[str], deadline: float | None) -> None:
    """Replace this process by a new start of the command; the second time, end it."""
    for infos in list(node.all_processes.values()):
        for info in infos:
            with contextlib.suppress(OSError):
                info.process.kill()
    died = f"Ray's {' and '.join(sorted(set(dead)))} died; its logs are in {connection.logs()}"
    if RESTARTED not in os.environ:
        print(f"{died}\nstarting the command again, which continues the sweep", file=sys.stderr)
        sys.stderr.flush()
        sys.stdout.flush()
        kept = {} if deadline is None else {DEADLINE: str(deadline)}
        os.execve(restart[0], list(restart), {**os.environ, RESTARTED: "1", **kept})
    error = SweepError(
        "the Ray of this run",
        f"{died}; this was the second time",
        "a machine with enough memory and disk space for the trials that run at once",
        "the same command continues the sweep; `--max-concurrent 1` needs less memory, `--address in-process` no Ray",
    )
    ending.end_process(error)
