"""Run a sweep's trials in this process, one after the other: where one fits at a time, and for tiny sweeps."""

from __future__ import annotations

import time
from collections.abc import Callable

from cluster.connection import waiting
from cluster.driver.queue.trial_queue import Job, TrialQueue
from cluster.runners import wait_reasons
from cluster.worker.worker import FAILED, STOPPED, WorkerOptions, run_trial
from sweeps.errors import StoreError
from trainables.training.session import Row


class _Cut(BaseException):
    """Raised inside a trial's report to end it, as Tune does. The trial must not catch it."""


def run(queue: TrialQueue, options: WorkerOptions, on_step: Callable[[], None]) -> None:
    """Run until the queue is finished. An unexpected exception fails its trial, and the next one runs.

    on_step: called before each trial and after each of its records.
    """
    notice = waiting.WaitNotice()
    while not queue.finished:
        on_step()
        taken = queue.take()
        notice.update(wait_reasons.held(queue) if taken is None else None)
        if taken is None:
            time.sleep(0.2)
            continue
        job, after = taken
        try:
            queue.give_back(job, _run_one(queue, options, job, after, on_step))
        except BaseException:
            queue.live.pop(job, None)
            raise


def _run_one(queue: TrialQueue, options: WorkerOptions, job: Job, after: int, on_step: Callable[[], None]) -> str:
    def report(row: Row) -> None:
        on_step()
        if queue.record(job, row):
            raise _Cut

    try:
        return run_trial(options, job.trial_id, job.epochs, after, report)
    except _Cut:
        return STOPPED
    except StoreError:  # the failure itself could not be recorded
        raise
    except Exception:
        return FAILED  # the worker has recorded the error in the store
