"""The number of CPUs that a process may use."""

from __future__ import annotations

import os


def usable_cpus() -> int:
    """Number of CPUs in the affinity of this process, which a batch system or a container limits."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
