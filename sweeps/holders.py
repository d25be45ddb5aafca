"""The process that holds an attempt: if it is known to have ended, nobody has to wait until its lease expires."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

LEASE_S = 30.0
"""Seconds without a new heartbeat after which an attempt counts as dead: six heartbeats."""


def this_process() -> dict[str, Any]:
    """A unique identification of this process, as claims store it."""
    return {"pid": os.getpid(), "started": _started(os.getpid()), "machine": _machine()}


def is_gone(holder: Mapping[str, Any]) -> bool:
    """Whether a process described by `this_process()` has certainly ended. False for processes of other machines."""
    if holder.get("machine") is None or holder["machine"] != _machine():
        return False
    return bool(_started(holder.get("pid", 0)) != holder.get("started"))


@cache
def _machine() -> str | None:
    """Identifies this boot of this machine and the process namespace; None if unavailable (not Linux)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + " " + os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _started(pid: int) -> str | None:
    """When a process started, in clock ticks since boot; None if it has ended or is a zombie."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]
