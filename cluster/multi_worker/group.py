"""What the workers of a group do: take a trial, train it together, take the next.

Worker 0 claims a trial in the store and writes; what the store tells it, it tells the others. Errors that all workers
meet together end the trial. One that a worker meets alone leaves the others in the middle of a collective operation:
then Ray Train starts all of them anew, the trial is given back, and its next attempt resumes from the store.
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

from cluster.multi_worker.group_host import GO, HALT, OVER, WAIT
from cluster.worker.inputs import with_inputs
from cluster.worker.session import StoreSession
from cluster.worker.worker import Options, data_root, describe, is_lost_worker, open_cached, run_trial
from sweeps.store import trials as stored_trials
from trainables.errors import TrialError
from trainables.training.distributed import DDP_OPTIONS, Workers
from trainables.training.session import Goal, Machine, Restored, Row, Stopped

T = TypeVar("T")


class Cut(BaseException):
    """Ends a trial from inside its report, on all workers: nothing in the trial may catch it."""


class HostGone(BaseException):
    """The host has died, most likely with its driver: the trial stops here, and has not failed."""


class LeaderFailed(Exception):  # noqa: N818 - what happened
    """Worker 0 could not do what it does for all; it says itself what it was."""


class GroupSession:
    """A worker's session: worker 0 asks its store's, `inner`, and tells the others; they have none."""

    def __init__(self, inner: StoreSession | None, goal: Goal, machine: Machine) -> None:
        self.goal, self.machine = goal, machine
        self._inner = inner

    def restore(self) -> Restored | None:
        return self._told(lambda inner: inner.restore())

    def wants_checkpoint(self) -> bool:
        return self._told(lambda inner: inner.wants_checkpoint())

    def save(self, epoch: int, files: Mapping[str, bytes]) -> None:
        self._told(lambda inner: inner.save(epoch, files))

    def samples(self, epoch: int, files: Mapping[str, bytes]) -> None:
        self._told(lambda inner: inner.samples(epoch, files))

    def finish(self, history: list[Row], facts: Mapping[str, Any]) -> None:
        self._told(lambda inner: inner.finish(history, facts))

    def report(self, row: Row) -> None:
        self._told(lambda inner: inner.report(row))

    def should_stop(self) -> bool:
        return self._told(lambda inner: inner.should_stop())

    def clock(self) -> float:
        return time.monotonic()

    def _told(self, act: Callable[[StoreSession], T]) -> T:
        """Let worker 0 do something and tell all what came of it; an exception of its ends the trial for all."""
        value: Any = None
        failure: BaseException | None = None
        if self._inner is not None:
            try:
                value = act(self._inner)
            except BaseException as error:
                failure = error
        how = "cut" if isinstance(failure, Cut) else "failed" if failure else "done"
        how, value = self.machine.workers.told((how, value))
        if failure is not None:
            raise failure
        if how == "cut":
            raise Cut
        if how == "failed":
            raise LeaderFailed
        result: T = value
        return result


def serve(config: dict[str, Any]) -> None:
    """What Ray Train runs in every worker. Returns when the group shall end."""
    import torch
    from ray import train
    from ray.train.torch import get_device, prepare_model

    host, options = config["host"], config["options"]
    context = train.get_context()
    rank, size = context.get_world_rank(), context.get_world_size()
    device = str(get_device()) if options.gpus else "cpu"
    wrap = partial(prepare_model, move_to_device=False, parallel_strategy_kwargs=DDP_OPTIONS)
    workers = Workers(rank, size, device, wrap)
    generation = uuid.uuid4().hex
    if workers.leads:
        ray.get(host.join.remote(generation, _placement()))
    generation = workers.told(generation)  # the host knows it before a worker names it
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
        gc.collect()  # DistributedDataParallel refers to itself: its networks would stay for a while
        if options.gpus:
            torch.cuda.empty_cache()


def _placement() -> str | None:
    """The id of the placement group that holds the workers' resources."""
    placement = ray.util.get_current_placement_group()
    return None if placement is None else placement.id.hex()


def _lead(host: Any, options: Options, workers: Workers, ticket: str, trial: str, epochs: int, after: int) -> None:
    """Worker 0's part of a trial."""
    told = 0

    def report(row: Row) -> None:
        nonlocal told
        told += 1
        while (answer := _heard(host.record.remote(ticket, told, row))) == WAIT:
            pass
        if answer == HALT:
            raise Cut
        assert answer == GO

    def session(inner: StoreSession) -> GroupSession:
        _heard(host.begin.remote(ticket))
        return GroupSession(inner, inner.goal, inner.machine)

    try:
        state = run_trial(options, trial, epochs, after, report, workers, session)
    except Cut:
        state = HALT
    except Exception as error:
        if not is_lost_worker(error):
            ray.get(host.broke.remote(ticket, describe(error)))
        raise
    ray.get(host.finished.remote(ticket, state))


def _heard(reference: Any) -> Any:
    """The host's answer during a trial."""
    try:
        return ray.get(reference)
    except RayActorError as error:
        raise HostGone from error


def _follow(host: Any, options: Options, workers: Workers, ticket: str, trial: str, epochs: int, after: int) -> None:  # noqa: ARG001
    """Another worker's part of it: worker 0 has claimed it and says how it ends."""
    from trainables.training.loop import Diverged, fit, task_named

    body = stored_trials.read_trial(open_cached(options.store), trial)
    goal = Goal(epochs, options.test_epochs, options.best, options.extra)
    machine = Machine(workers.device, options.cpus, data_root(options), workers)
    try:
        machine = with_inputs(machine, open_cached(options.inputs or options.store), body, epochs)
        config = {**body["config"], "epochs": epochs, "seed": body["seed"]}
        fit(task_named(body["task"]), config, GroupSession(None, goal, machine))
    except (Cut, LeaderFailed, Stopped, Diverged):
        return  # all workers meet these together
    except Exception as error:
        if isinstance(error, TrialError) and error.everywhere:
            return
        if not is_lost_worker(error):
            ray.get(host.broke.remote(ticket, describe(error)))
        raise
