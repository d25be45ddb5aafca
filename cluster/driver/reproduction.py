"""Run finished trials again from their recorded configuration, to see whether the numbers stay the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.driver import driver
from cluster.driver.execution import RunEvents
from cluster.driver.pending_work import PendingWork
from cluster.driver.queue.trial_queue import Job
from sweeps.results import data_versions, missing_metrics
from sweeps.run_options import RunOptions
from sweeps.spec.loader import unknown_name_error
from sweeps.spec.plan import Plan
from sweeps.store import layout
from sweeps.store.base import Store
from trainables import schema

ROUNDING = 1e-3
"""Relative difference between the records of several workers and of one process, which sum in another order."""
History = Mapping[str, Sequence[float | None]]
"""Values by column, one for each epoch."""


@dataclass(frozen=True)
class Reproduction:
    """A finished trial that was run again."""

    label: str
    before: History
    after: History | None
    """Records of the new run; None if it did not finish."""
    tolerance: float = 0.0
    """Relative difference up to which numbers count as equal; 0: to the last bit."""


def finished_trials(stored: Mapping[str, Any], store: Store, arm: str | None, seed: int | None) -> list[Job]:
    """The finished trials of a stored plan, each once. arm, seed: only these; SweepError if the plan lacks them."""
    names = [one["name"] for one in stored["arms"]]
    if arm is not None and arm not in names:
        raise unknown_name_error(f"--cell {arm!r}", arm, names)
    if seed is not None and seed not in stored["seeds"]:
        raise unknown_name_error(f"--seed {seed}", str(seed), map(str, stored["seeds"]))
    labels: dict[tuple[str, int], str] = {}
    for one in stored["arms"]:
        for number, trial in one["trials"].items():
            if arm in (None, one["name"]) and seed in (None, int(number)):
                label = f"{one['name']} · seed {number}" if one["trains"] or one.get("by_seed") else one["name"]
                labels.setdefault((trial["id"], trial["epochs"]), label)
    finished = layout.intact(store.get_many(layout.result_key(*trial) for trial in labels))
    return [Job(*trial, label) for trial, label in labels.items() if layout.result_key(*trial) in finished]


def run_again(
    plan: Plan, jobs: list[Job], store: Store, target: Store, options: RunOptions, events: RunEvents
) -> list[Reproduction]:
    """Run trials of `store` again, with results in `target`."""
    definitions = store.get_many(layout.trial_key(job.trial_id) for job in jobs)
    for key in layout.intact(definitions):  # a damaged one is named, and its trial cannot run
        target.create(key, definitions[key])
    work = PendingWork(plan, jobs, cached=0, failed=[], searches=[])
    with events.progress(len(jobs), 0, plan.sweep.spec.report.metrics[0]) as listener:
        driver.run(work, target, schema, options, listener, inputs=store.uri, data=_data(store, jobs))
    asked = missing_metrics.asked(plan.sweep.spec.report.extra)
    one_process = plan.sweep.spec.resources.grouped and options.address == driver.IN_PROCESS
    return [_compared(store, target, job, asked, ROUNDING if one_process else 0.0) for job in jobs]


def _data(store: Store, jobs: list[Job]) -> dict[str, str]:
    """The digests of the data that the trials have read, without paths of which they have read several versions."""
    results = [layout.get_json(store, layout.result_key(*job.trial)) for job in jobs]
    read = [item for result in results if result for item in data_versions.recorded(result).items()]
    return {path: digest for path, digest in read if {other for where, other in read if where == path} == {digest}}


def _compared(store: Store, target: Store, job: Job, asked: Collection[str], tolerance: float) -> Reproduction:
    """asked: metrics of `report.extra` of the sweep; those that only other sweeps have added are not compared."""
    key = layout.result_key(*job.trial)
    before, after = layout.get_json(store, key), layout.get_json(target, key)
    if before is None or after is None:
        return Reproduction(job.label, {}, None)
    others = tuple(f"test/{name}" for name in before.get("extra", ()) if name not in asked)
    known = {
        column: values
        for column, values in before["history"].items()
        if column in after["history"] or not column.startswith(others)
    }
    return Reproduction(job.label, known, after["history"], tolerance)
