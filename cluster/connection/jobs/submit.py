"""Submit a sweep to a Ray cluster as a job: upload the working directory and start `sweeps run` there.

The job's driver runs on the cluster's head, so the submitting machine may disconnect. Submitting again is safe: a sweep
continues from its store, and two drivers on one store do not train a trial twice.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cluster.connection import waiting
from cluster.connection.jobs import job_server, working_dir
from sweeps import scratch
from sweeps.errors import SweepError

_NOT_READY = "No available agent to submit job"
"""What the job server answers (Ray 2.60) as long as the agent of the head node has not registered."""
_READY_S = 5.0
"""Pause before a job is submitted again to a cluster that is starting; the head itself waits 10 s for its agent."""
TIMEOUT_S = 600.0
"""Seconds that a cluster may take to accept a job, and then to start it."""

T = TypeVar("T")


@dataclass(frozen=True)
class Submission:
    """What to submit."""

    address: str
    """Address of the cluster's dashboard."""
    folder: Path
    """The working directory to upload."""
    arguments: tuple[str, ...]
    """Arguments of `sweeps run` in that directory."""
    skipped: tuple[Path, ...] = ()
    """Folders that are not uploaded."""
    runtime_env: dict[str, Any] = field(default_factory=dict)
    """Ray's runtime environment, without the working directory."""
    timeout_s: float = TIMEOUT_S
    """Seconds that the cluster may take to accept the job."""


def submit(submission: Submission) -> str:
    """Start the job and return its id.

    SweepError, within 10 s, if the address or the token does not work, and if the job is not accepted in time.
    """
    client = job_server.client(submission.address)
    entry = shlex.join(["python", "-m", "sweeps.cli", "run", *submission.arguments, "--address", "auto"])
    with scratch.folder("submit") as folder:
        package = folder / "working_dir.zip"
        working_dir.pack(submission.folder.resolve(), submission.skipped, package)
        environment = {**submission.runtime_env, "working_dir": str(package)}
        start = partial(client.submit_job, entrypoint=entry, runtime_env=environment)
        timeout_s = submission.timeout_s
        try:
            job: str = waiting.call(
                lambda: job_server.request(submission.address, lambda: _when_ready(start, timeout_s)),
                f"the cluster at {submission.address} has not accepted the job yet",
                timeout_s,
            )
        except TimeoutError as error:
            raise too_late(submission.address, f"the cluster has not accepted the job after {timeout_s:g} s") from error
    return job


def too_late(address: str, why: str, do: str = "submit it again, which is safe") -> SweepError:
    """The error for a cluster that has not accepted or not started a job in time."""
    return SweepError(
        f"--address {address}",
        why,
        "a cluster whose head is up, or more time: --timeout 30m",
        f"look at `ray status` and the dashboard's log on the head; then {do}",
    )


def _when_ready(start: Callable[[], T], timeout_s: float = TIMEOUT_S) -> T:
    """The result of `start`; it is tried again while the head has started its dashboard but not yet its job agent."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return start()
        except RuntimeError as error:
            if _NOT_READY not in str(error) or time.monotonic() >= deadline:
                raise
            print("the cluster is starting and does not accept jobs yet: trying again", file=sys.stderr)
            time.sleep(_READY_S)
