"""Run a sweep's trials through Ray Tune, in reused actors. The store stays the only truth.

A Tune trial carries our trial's id and a few numbers, and nothing is ever restored from Tune. Two traps of Tune, and
what this module does about them:

- A stopped trial is parked inside `report` and ends at its actor's next reset. If that takes long, Tune fails the
  *next* trial without notifying the searcher. So the queue counts the live trials (there is no concurrency limiter),
  and `_Rescue` gives such trials back to the queue.
- `Tuner` pickles the searcher and the callbacks when it starts. They hold the queue, so they pickle without state.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import ray
from ray import tune
from ray.tune.execution import class_cache
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher
from ray.tune.utils import flatten_dict

from cluster.connection import ray_messages, store_access, waiting
from cluster.driver.queue.trial_queue import Job, TrialQueue
from cluster.multi_worker.groups import Groups, driver_node_resources, relay
from cluster.runners import wait_reasons
from cluster.worker.worker import CRASHED, WorkerOptions, run_trial
from sweeps import scratch
from sweeps.results.columns import EPOCH, is_column
from sweeps.spec.sections.resources import Resources
from trainables.training.session import Row

STATE = "state"
"""Key of a trial's last report, with the state that `run_trial` returned."""


class _Unpickled:
    """Pickles without state, because its state belongs to the driver process."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        pass


class QueueSearcher(_Unpickled, Searcher):  # type: ignore[misc]
    """Passes the queue's jobs to Tune, and their results back to the queue."""

    def __init__(self, queue: TrialQueue, concurrent: int, groups: Groups | None = None) -> None:
        super().__init__()
        self.queue, self.concurrent, self.groups = queue, concurrent, groups
        self.jobs: dict[str, Job] = {}
        self.idle: Callable[[], None] = lambda: None
        """Called when no job can be handed out; Tune may call nothing else until there is one."""

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self.queue.finished:
            finished: str = Searcher.FINISHED
            return finished
        with self.queue.storage():
            self.queue.recheck_held()  # a trial that another driver held may be free and need a group
        group = self.groups.free() if self.groups is not None else ""
        room = group is not None and len(self.queue.live) < self.concurrent
        taken = self.queue.take() if room else None
        if taken is None:
            self.idle()
            return None
        job, after = taken
        self.jobs[trial_id] = job
        config = {"trial": job.trial_id, "epochs": job.epochs, "after": after, "label": job.label}
        if self.groups is not None and group is not None:
            self.groups.assign(group, trial_id)
            config |= {"group": group, "ticket": trial_id}
        return config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Not used: Tune skips the report that ends a trial here, so `QueueScheduler` handles all reports."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        job = self.jobs.pop(trial_id, None)
        if self.groups is not None:
            self.groups.take_back(trial_id, died=error)
        if job is not None:
            self.queue.give_back(job, CRASHED if error or not result else result.get(STATE, CRASHED))

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


class QueueScheduler(_Unpickled, FIFOScheduler):  # type: ignore[misc]
    """Passes every record to the queue, which decides whether the trial continues."""

    def __init__(self, searcher: QueueSearcher) -> None:
        super().__init__()
        self.searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        job = self.searcher.jobs.get(trial.trial_id)
        stops = job is not None and EPOCH in result and self.searcher.queue.record(job, _row(result))
        if stops and self.searcher.groups is not None:
            self.searcher.groups.halt(trial.trial_id)  # Tune itself ends the trial only when its actor is reused
        return str(FIFOScheduler.STOP if stops else FIFOScheduler.CONTINUE)


def _row(result: dict[str, Any]) -> Row:
    """Our record from Tune's result: Tune nests names that contain a slash and adds keys of its own."""
    return {name: value for name, value in flatten_dict(result).items() if is_column(name)}


class _Rescue(_Unpickled, tune.Callback):  # type: ignore[misc]
    """Gives back trials that Tune has failed without notifying the searcher, and says what is waited for."""

    def __init__(self, searcher: QueueSearcher, options: WorkerOptions, on_step: Callable[[], None]) -> None:
        self.searcher, self.options, self.on_step = searcher, options, on_step
        self.notice = waiting.WaitNotice()

    def idle(self) -> None:
        """As at the end of a step. While Tune has no trial, it waits for one, up to ten minutes, without any step."""
        self.on_step()
        if not self.searcher.jobs:
            self._tell([])

    def _tell(self, trials: list[Any]) -> None:
        self.notice.update(wait_reasons.reason(self.searcher.queue, self.options, trials, self.searcher.groups))

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        self.on_step()
        self._tell([trial for trial in trials if trial.trial_id in self.searcher.jobs])
        if self.searcher.groups is not None:
            self.searcher.groups.update()
        if self.searcher.jobs:
            for trial in trials:
                if trial.trial_id in self.searcher.jobs and trial.status == "ERROR":
                    self.searcher.on_trial_complete(trial.trial_id, error=True)


def _train(config: dict[str, Any], options: WorkerOptions) -> None:
    """The Tune trainable: runs one trial in an actor."""

    def report(row: Row) -> None:
        tune.report(dict(row))

    store_access.take(options.store_access)
    if "group" in config:
        state = relay(config, options, report)
    else:
        say = ray_messages.tell_driver
        state = run_trial(options, config["trial"], config["epochs"], config["after"], report, say=say)
    tune.report({STATE: state})


def run(
    queue: TrialQueue,
    options: WorkerOptions,
    concurrent: int,
    on_step: Callable[[], None],
    groups: Groups | None = None,
) -> None:
    """Run until the queue is finished, on the Ray that `cluster.connection.connection` has started or joined.

    on_step: called in this thread many times a second while trials run. groups: groups that train the trials; Tune's
    trials then only relay records and need no CPU.
    """
    searcher = QueueSearcher(queue, concurrent, groups)
    rescue = _Rescue(searcher, options, on_step)
    searcher.idle = rescue.idle
    class_cache.ENV_VARS_TO_PROPAGATE -= set(store_access.KEYS)  # they travel with the options
    resources = {"cpu": options.cpus, "gpu": options.gpus} if groups is None else {"cpu": 0, **driver_node_resources()}
    with scratch.folder("tune") as folder:  # nothing is restored from it
        tune.Tuner(
            tune.with_resources(partial(_train, options=options), resources),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=QueueScheduler(searcher),
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(name="run", storage_path=str(folder), verbose=0, callbacks=[rescue]),
        ).fit()


def _trial_name(trial: Any) -> str:
    """Name of a trial's temporary folder: its label and its id."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", trial.config["label"])[:60] + "-" + str(trial.config["trial"])[:8]


def gpus_in_cluster() -> float:
    return float(ray.cluster_resources().get("GPU", 0))


def largest_node() -> str:
    """Description of the node with the most GPUs, then CPUs."""
    nodes = [(node["Resources"], node["NodeManagerHostname"]) for node in ray.nodes() if node["Alive"]]
    best, name = max(nodes, key=lambda node: (node[0].get("GPU", 0), node[0].get("CPU", 0)))
    return f"up to {best.get('CPU', 0):g} CPUs and {best.get('GPU', 0):g} GPUs (the largest node, {name})"


def fits_at_once(cpus: int, gpus: float) -> int:
    """How many processes of this size the cluster holds at once, counted node by node."""
    total = 0
    for node in ray.nodes():
        if node["Alive"]:
            have = node["Resources"]
            by_cpu = int(have.get("CPU", 0) // cpus)
            total += min(by_cpu, int(have.get("GPU", 0) / gpus + 1e-9)) if gpus else by_cpu
    return total


def trials_at_once(resources: Resources, gpus: float) -> int:
    """How many trials the cluster holds at once; the processes of one trial may be on several nodes."""
    least, most = resources.least_and_most
    processes = fits_at_once(resources.cpus, gpus)
    return processes // most or int(processes >= least)
