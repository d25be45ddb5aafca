"""Run a sweep's trials in this process, one after the other: for a debugger, for tiny sweeps, and without Ray."""

from __future__ import annotations

import time

from cluster.feed import CRASHED, Feed
from cluster.worker import FAILED, Options, run_trial


def run(feed: Feed, options: Options) -> None:
    """Run until the feed is finished. An unexpected exception fails its trial and the next one runs."""
    while not feed.finished:
        taken = feed.take()
        if taken is None:
            time.sleep(0.2)
            continue
        job, after = taken
        try:
            state = run_trial(options, job.trial_id, job.epochs, after, lambda row, job=job: feed.record(job, row))  # type: ignore[misc]
        except Exception:
            state = FAILED  # the worker has recorded the error in the store
        except BaseException:
            feed.give_back(job, CRASHED)
            raise
        feed.give_back(job, state)
