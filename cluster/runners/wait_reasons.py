"""What a run waits for while none of its trials trains: a node or GPU, the workers of a group, or another driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cluster.driver.queue.trial_queue import TrialQueue
from cluster.worker.worker import WorkerOptions

if TYPE_CHECKING:
    from cluster.multi_worker.groups import Groups  # imports ray

_NAMED = 3
"""Number of trials that are named."""
STARTED = ("RUNNING", "TERMINATED", "ERROR", "PAUSED")
"""States of Tune's trials that have, or had, a process."""


def reason(
    queue: TrialQueue, options: WorkerOptions, trials: Sequence[Any], groups: Groups | None
) -> Callable[[], str] | None:
    """The reason for a wait, as a function; None if a trial trains or nothing is left.

    trials: Tune's trials of the jobs that the queue has handed out.
    """
    if any(trial.status in STARTED for trial in trials):
        return None
    if trials:
        processes = "the process of a trial" if len(trials) == 1 else f"the processes of {len(trials)} trials"
        return lambda: f"{processes} to start, each with {_size(options)}; {free_resources()}"
    if groups is not None and groups.starting:
        return lambda: f"the workers of {', '.join(groups.starting)}, each with {_size(options)}; {free_resources()}"
    return held(queue)


def held(queue: TrialQueue) -> Callable[[], str] | None:
    """The reason for a wait for trials that other drivers have; None if there are none, or others can run."""
    labels = queue.held
    if not labels or queue.live:
        return None
    more = f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
    return lambda: (
        f"{_count(len(labels), 'trial')} that another driver runs or has left: {', '.join(labels[:_NAMED])}{more}; "
        "a trial whose driver has died is taken over when its lease expires"
    )


def free_resources() -> str:
    """The free resources of the cluster, and its size."""
    import ray

    free, total = ray.available_resources(), ray.cluster_resources()
    parts = [f"{free.get(name, 0):g} of {total.get(name, 0):g} {name}s" for name in ("CPU", "GPU")]
    return f"free in the cluster: {', '.join(parts)} on {_count(sum(node['Alive'] for node in ray.nodes()), 'node')}"


def _size(options: WorkerOptions) -> str:
    return _count(options.cpus, "CPU") + (f" and {_count(options.gpus, 'GPU')}" if options.gpus else "")


def _count(number: float, name: str) -> str:
    return f"{number:g} {name}{'' if number == 1 else 's'}"
