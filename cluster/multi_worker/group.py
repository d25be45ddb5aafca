"""The loop of a group's workers: take a trial, train it together, take the next.

Worker 0 claims the trial, does all writing to the store, and broadcasts what it reads there. An error that is raised on
all workers ends the trial. An error on a single worker leaves the others in a collective operation: Ray Train then
restarts all workers, the trial is given back, and its next attempt resumes from the store.
"""

from __future__ import annotations

import gc
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import ray
from ray.exceptions import RayActorError

from cluster.connection import ray_messages, store_access
from cluster.multi_worker.group_host import GO, HALT, OVER, WAIT
from cluster.worker import trial_data
from cluster.worker.inputs import with_inputs
from cluster.worker.storage_errors import STORAGE, as_storage_error, storage_state
from cluster.worker.store_session import StoreSession
from cluster.worker.trial_config import checked_config
from cluster.worker.worker import WorkerOptions, data_root, error_record, is_lost_worker, open_cached, run_trial
from sweeps import scratch
from sweeps.store import trials as stored_trials
from trainables.errors import TrialError
from trainables.training.distributed import DDP_OPTIONS, Workers
from trainables.training.session import Goal, Machine, Restored, Row, Stopped

T = TypeVar("T")


class TrialCut(BaseException):
    """Raised inside a trial's report, on all workers, to end it. The trial must not catch it."""


class HostGone(BaseException):
    """The host has died, most likely with its driver. The trial stops but has not failed."""


class LeaderFailed(Exception):  # noqa: N818
    """Raised on the other workers when worker 0 failed; worker 0 reports the error itself."""


class GroupSession:
    """A worker's session. Worker 0 calls its store session, `inner`, and broadcasts the result to the others."""

    def __init__(self, inner: StoreSession | None, goal: Goal, machine: Machine) -> None:
        self.goal, self.machine = goal, machine
        self._inner = inner

    def restore(self) -> Restored | None:
        return self._on_worker_0(lambda inner: inner.restore())

    def wants_checkpoint(self) -> bool:
        return self._on_worker_0(lambda inner: inner.wants_checkpoint())

    def save(self, epoch: int, files: Mapping[str, bytes]) -> None:
        self._on_worker_0(lambda inner: inner.save(epoch, files))

    def samples(self, epoch: int, files: Mapping[str, bytes]) -> None:
        self._on_worker_0(lambda inner: inner.samples(epoch, files))

    def finish(self, history: list[Row], facts: Mapping[str, Any]) -> None:
        self._on_worker_0(lambda inner: inner.finish(history, facts))

    def report(self, row: Row) -> None:
        self._on_worker_0(lambda inner: inner.report(row))

    def should_stop(self) -> bool:
        return self._on_worker_0(lambda inner: inner.should_stop())

    def clock(self) -> float:
        return time.monotonic()

    def _on_worker_0(self, act: Callable[[StoreSession], T]) -> T:
        """Call `act` on worker 0 and broadcast its result; if it raises, the trial ends on all workers."""
        value: Any = None
        failure: BaseException | None = None
        if self._inner is not None:
            try:
                value = act(self._inner)
            except BaseException as error:
                failure = error
        outcome = "cut" if isinstance(failure, TrialCut) else "failed" if failure else "done"
        outcome, value = self.machine.workers.broadcast((outcome, value))
        if failure is not None:
            raise failure
        if outcome == "cut":
            raise TrialCut
        if outcome == "failed":
            raise LeaderFailed
        result: T = value
        return result


def serve(config: dict[str, Any]) -> None:
    """The function that Ray Train runs in every worker. Returns when the group ends."""
    import torch
    from ray import train
    from ray.train.torch import get_device, prepare_model

    host, options = config["host"], config["options"]
    store_access.take(options.store_access)
    context = train.get_context()
    rank, size = context.get_world_rank(), context.get_world_size()
    device = str(get_device()) if options.gpus else "cpu"
    wrap = partial(prepare_model, move_to_device=False, parallel_strategy_kwargs=DDP_OPTIONS)
    workers = Workers(rank, size, device, wrap)
    generation = uuid.uuid4().hex
    if workers.leads:
        ray.get(host.join.remote(generation, _placement()))
    generation = workers.broadcast(generation)  # after `join`, so that the host knows it before it is used
    served = 0
    while True:
        taken = ray.get(host.take.remote(generation, rank, served))
        if taken == OVER:
            return
        if taken is None:
            continue
        if workers.leads:
            _lead(host, options, workers, *taken)
        else:
            _follow(host, options, workers, *taken)
            served += 1
        gc.collect()  # DistributedDataParallel has reference cycles that keep networks alive
        if options.gpus:
            torch.cuda.empty_cache()


def _placement() -> str | None:
    """The id of the placement group that holds the workers' resources."""
    placement = ray.util.get_current_placement_group()
    return None if placement is None else placement.id.hex()


def _lead(
    host: Any, options: WorkerOptions, workers: Workers, ticket: str, trial: str, epochs: int, after: int
) -> None:
    """Worker 0's part of a trial."""
    sent = 0

    def report(row: Row) -> None:
        nonlocal sent
        sent += 1
        while (answer := _answer(host.record.remote(ticket, sent, row))) == WAIT:
            pass
        if answer == HALT:
            raise TrialCut
        assert answer == GO

    def session(inner: StoreSession) -> GroupSession:
        _answer(host.begin.remote(ticket))
        return GroupSession(inner, inner.goal, inner.machine)

    try:
        state = run_trial(options, trial, epochs, after, report, workers, session, ray_messages.tell_driver)
    except TrialCut:
        state = HALT
    except Exception as error:
        if not is_lost_worker(error):
            ray.get(host.trial_failed.remote(ticket, error_record(error)))
        raise
    ray.get(host.finished.remote(ticket, state))


def _answer(reference: Any) -> Any:
    """The host's answer; HostGone if the host has died."""
    try:
        return ray.get(reference)
    except RayActorError as error:
        raise HostGone from error


def _follow(
    host: Any,
    options: WorkerOptions,
    workers: Workers,
    ticket: str,
    trial: str,
    epochs: int,
    after: int,  # noqa: ARG001
) -> None:
    """Another worker's part of a trial, which worker 0 has claimed and whose end it records."""
    from trainables.training.divergence import Diverged
    from trainables.training.loop import fit, task_named

    goal = Goal(epochs, options.test_epochs, options.best, options.extra)
    machine = Machine(workers.device, options.cpus, data_root(options), workers, scratch=scratch.folder)
    try:
        body = stored_trials.read_planned_trial(open_cached(options.store), trial)
        machine = with_inputs(machine, open_cached(options.inputs or options.store), body, epochs)
        trial_data.check(open_cached(options.store), options.expected_data, body, machine)
        config = checked_config(trial, body, epochs)
        fit(task_named(body["task"]), config, GroupSession(None, goal, machine))
    except (TrialCut, LeaderFailed, Stopped, Diverged):
        return  # raised on all workers
    except Exception as error:
        if isinstance(error, TrialError) and error.everywhere:
            return
        if full := as_storage_error(error):
            ray.get(host.trial_failed.remote(ticket, {STORAGE: storage_state(full)}))
        elif not is_lost_worker(error):
            ray.get(host.trial_failed.remote(ticket, error_record(error)))
        raise
