"""A small sweep on real images, with short or longer epochs, and ways to run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.driver import driver, pending_work
from cluster.driver.queue.trial_queue import Job
from sweeps.results.columns import same_numbers
from sweeps.run_options import RunOptions
from sweeps.spec.plan import Plan
from sweeps.store import layout
from sweeps.store.base import Store
from trainables import schema

SMALL = """\
# Is partial convolution better?
name: small
task: inpaint
base:
  data: {name: cifar10, train: 48, val: 16, test: 16}
  mask: {name: lines}
  model: {name: partial_conv_unet, width: 8}
  optimiser: {name: adam, lr: 1.0e-3}
  batch: 16
  epochs: 3
seeds: 1
arms:
  - {name: blind, set: {model: {name: vanilla_autoencoder, width: 8}}}
  - {name: mean fill, set: {model: {name: mean_fill}}}
report: {metrics: [test/psnr_db], test_epochs: [1]}
"""
LONGER = SMALL.replace("train: 48, val: 16, test: 16", "train: 192, val: 64, test: 64").replace(
    "batch: 16", "batch: 64"
)
"""With as many steps, of four times as many images: for tests that do something while a trial trains."""


@dataclass
class Watched:
    """A watcher that keeps all events."""

    events: list[tuple[str, str]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def added(self, jobs: Sequence[Job]) -> None:
        self.events += [("added", job.label) for job in jobs]

    def started(self, job: Job) -> None:
        self.events.append(("started", job.label))

    def record(self, job: Job, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def ended(self, job: Job, state: str) -> None:
        self.events.append((state, job.label))


Planned = Callable[..., Plan]


def run(plan: Plan, store: Store, data_root: Path, address: str = driver.IN_PROCESS, **settings: Any) -> Watched:
    """Run what the store lacks of a plan."""
    watched = Watched()
    chosen = RunOptions(address=address, data=data_root, **settings)
    work = pending_work.work_left(plan, store, schema, chosen.retry)
    if not work.nothing:
        driver.check(work.plan, chosen)
    driver.write(work.plan, store, ())
    if not work.nothing:
        driver.run(work, store, schema, chosen, watched)
    return watched


def histories(plan: Plan, store: Store) -> dict[str, list[dict[str, Any]]]:
    """The records of every finished trial by label, without machine-dependent columns."""
    found = {}
    for trial, label in plan.runs():
        result = layout.get_json(store, layout.result_key(trial.id, trial.epochs))
        if result is not None:
            columns = result["history"]
            rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
            found[f"{label} to {trial.epochs}"] = [same_numbers(_without_none(row)) for row in rows]
    return found


def _without_none(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


FILL = """\
# Is a mean colour enough?
name: fill
task: inpaint
base:
  data: {name: cifar10, train: 16, val: 8, test: 8}
  mask: {name: lines}
  model: {name: mean_fill}
seeds: 1
report: {metrics: [test/psnr_db]}
"""
"""A sweep that trains nothing."""
