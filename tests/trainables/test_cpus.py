"""The number of CPUs that a process may use."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from trainables.cpus import usable_cpus


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity of processes")
def test_the_affinity_of_a_process_limits_its_cpus() -> None:
    assert usable_cpus() == len(os.sched_getaffinity(0))
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from trainables.cpus import usable_cpus; print(usable_cpus())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
