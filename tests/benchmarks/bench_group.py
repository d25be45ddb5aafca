"""Trials of two workers: how long until a trial's first record, in a group that serves many and in fresh ones.

Also the driver's side of a stop, and the memory of worker 0 from trial to trial. Run as
`python -m tests.benchmarks.bench_group [trials]`; starts a Ray of two CPUs on this machine.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from cluster.driver import driver, pending_work
from cluster.driver.queue.trial_queue import Job
from sweeps.run_options import RunOptions
from sweeps.spec import expand, loader
from sweeps.store import layout
from sweeps.store.local import FolderStore
from tests.cluster.small import Watched
from trainables import schema

SWEEP = """\
name: bench
task: inpaint
base:
  data: {name: folder, path: kodak24}
  mask: {name: lines}
  model: {name: vanilla_autoencoder, width: 4}
  optimiser: {name: sgd, lr: 0.01}
  batch: 8
  epochs: 2
resources: {workers: 2}
report: {metrics: [test/psnr_db]}
"""


class Clock(Watched):
    """When trials started and told their first record."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: dict[str, float] = {}
        self.first: dict[str, float] = {}

    def started(self, job: Job) -> None:
        self.begun[job.label] = time.monotonic()

    def record(self, job: Job, row: dict[str, Any]) -> None:
        self.first.setdefault(job.label, time.monotonic() - self.begun[job.label])


def measure(address: str, trials: int, group: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.yaml"
        file.write_text(SWEEP)
        planned = expand.expand(loader.load(file, changes=(f"seeds={trials}", f"resources.group={group}")), schema)
        store, clock = FolderStore(Path(folder) / "store"), Clock()
        work = pending_work.work_left(planned, store, schema)
        driver.write(planned, store, ())
        began = time.monotonic()
        driver.run(work, store, schema, RunOptions(address, os.environ.get("SWEEPS_DATA")), clock)
        took = time.monotonic() - began
        first, *later = clock.first.values()
        middle = statistics.median(later)
        print(
            f"{group}: {trials} trials in {took:.1f} s; first record after {first:.1f} s, then {middle:.2f} s (median)"
        )
        memory = [peak(store, trial.id) for trial, _ in planned.runs()]
        print(f"  peak memory of a worker: {memory[0]:.0f} MB in the first trial, {memory[-1]:.0f} MB in the last")


def peak(store: FolderStore, trial_id: str) -> float:
    return float(layout.get_json(store, layout.result_key(trial_id, 2))["history"]["sys/peak_memory_mb"][-1])


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        measure(cluster.address, count, "shared")
        measure(cluster.address, 3, "fresh")
    finally:
        cluster.shutdown()
