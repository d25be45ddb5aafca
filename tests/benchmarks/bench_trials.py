"""Seconds a trivial trial costs through Ray Tune, store included, after start-up; and whether that stays flat.

A trivial trial fills four images with their mean. Prints the amortised cost, the last tenth against the first, and how
the driver's memory and open files grew.

    python -m tests.benchmarks.bench_trials [--trials 200]
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster.driver import driver, pending_work
from cluster.driver.queue.trial_queue import Job
from sweeps.run_options import RunOptions
from sweeps.spec import expand, loader
from sweeps.store.local import FolderStore
from tests.benchmarks.figures import show
from trainables import schema


class Clock:
    """A watcher that keeps the time of every end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def added(self, jobs: Sequence[Job]) -> None:
        pass

    def started(self, job: Job) -> None:
        pass

    def record(self, job: Job, row: dict[str, Any]) -> None:
        pass

    def ended(self, job: Job, state: str) -> None:
        assert state == "done", (job, state)
        self.ends.append(time.perf_counter())


def sweep(trials: int) -> str:
    fractions = ", ".join(f"{0.1 + 0.8 * i / trials:.6f}" for i in range(trials))
    return f"""\
# What does a trial cost?
name: trivial
task: inpaint
base:
  data: {{name: cifar10, train: 2, val: 2, test: 2}}
  mask: {{name: centre, fraction: 0.5}}
  model: {{name: mean_fill}}
grid: {{mask.fraction: [{fractions}]}}
"""


def memory_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    options = parser.parse_args()
    root = str(Path(os.environ.get("SWEEPS_DATA", "../shared/data")).resolve())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trivial.yaml"
        file.write_text(sweep(options.trials))
        planned = expand.expand(loader.load(file), schema)
        store, clock = FolderStore(Path(folder) / "store"), Clock()
        driver.write(planned, store, ())
        work = pending_work.work_left(planned, store, schema)
        before = memory_mb(), open_files()
        driver.run(work, store, schema, RunOptions(data=root), clock)
        after = memory_mb(), open_files()
    ends = clock.ends[4:]  # the first ones pay for starting their actors
    tenth = len(ends) // 10
    each = [(ends[start + tenth] - ends[start]) / tenth for start in range(0, len(ends) - tenth, tenth)]
    more = f"driver memory {before[0]:.0f} -> {after[0]:.0f} MB, open files {before[1]} -> {after[1]}"
    show(f"a trial, of {len(clock.ends)}; n: tenths of them", each, "s", more)
    show("a trial of the last tenth / of the first tenth", [each[-1] / each[0]])


if __name__ == "__main__":
    main()
