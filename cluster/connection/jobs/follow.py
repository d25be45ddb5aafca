"""Follow a job: wait until it starts, print its log until it ends, say how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cluster.connection import waiting
from cluster.connection.jobs import job_server
from cluster.connection.jobs.submit import TIMEOUT_S, too_late
from sweeps.errors import JobLostError

_PAUSE_S = 30
"""Maximum number of seconds between two attempts to follow a job's log."""
_LOOK_S = 1.0
"""Pause before a job that has not started is looked at again."""
AWAY_S = 120.0
"""Seconds for which a dashboard that does not answer is asked again while a job is followed."""
_AWAY = re.compile(r"status code (429|5\d\d)")
"""What Ray's client says if a proxy or a restarting dashboard answers."""
_UNKNOWN = re.compile(r"status code 404: .*does not exist")
"""What Ray's client says about a job that the head does not know."""
_TO_EXIT_CODE = re.compile(r".*?exit code -?\d+", re.DOTALL)
"""The part of a job's message before the end of its log, which has been printed."""

T = TypeVar("T")


def follow(address: str, job: str, timeout_s: float = TIMEOUT_S) -> int:
    """Print the job's log until the job ends; returns its exit code, as `_exit_code`. Ctrl-C does not end the job.

    timeout_s: SweepError if the job has not started after this time. The job itself stays where it is.
    JobLostError if the dashboard has not answered for `AWAY_S` seconds, or does not know the job any more.
    """
    client = job_server.client(address)
    _wait_for_start(address, job, partial(_pending, client, job), timeout_s)
    printed = 0

    async def tail() -> None:
        nonlocal printed
        seen = 0
        async for text in client.tail_job_logs(job):
            new = text[max(0, printed - seen) :]
            seen += len(text)
            printed = max(printed, seen)
            sys.stdout.write(new)
            sys.stdout.flush()

    import aiohttp

    cut, had_ended = 0, False
    while True:
        # The connection or its tunnel may break: check whether the job still runs, and follow it again.
        whole = False
        with contextlib.suppress(RuntimeError, OSError, aiohttp.ClientError), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "ssl=None", DeprecationWarning)  # Ray's own call of aiohttp
            asyncio.run(tail())
            whole = True
        info = _answer(address, job, lambda: client.get_job_info(job))
        ended = info.status.is_terminal()
        if ended and (whole or had_ended):
            return _exit_code(job, info)
        had_ended = ended  # after a break, the rest of the log is asked for once
        if not ended:
            time.sleep(min(cut, _PAUSE_S))
            cut += 1


def _pending(client: Any, job: str) -> str:
    """Why a job has not started, and which other jobs run; empty if it has started."""
    info = client.get_job_info(job)
    if info.status.value != "PENDING":
        return ""
    others = [one.submission_id for one in client.list_jobs() if one.status.value == "RUNNING" and one.submission_id]
    before = f"; jobs that run now: {', '.join(others)}" if others else ""
    return f"job {job} has not started: {info.message or 'its environment is prepared'}{before}"


def _exit_code(job: str, info: Any) -> int:
    """The exit code of a job that has ended; prints how and on which node, unless it has succeeded.

    info: Ray's `JobDetails`. The code is that of `sweeps run`, or 128 + N if signal N killed it. It is 2 if the job's
    environment could not be set up, and 1 if the job was stopped or its node was lost.
    """
    if info.status.value == "SUCCEEDED":
        return 0
    message = info.message or ""
    said = _TO_EXIT_CODE.match(message) if info.driver_exit_code is not None else None
    node = urlsplit(info.driver_agent_http_address or "").hostname
    where = f" on node {node}" if node else ""
    print(f"job {job} {info.status.value.lower()}{where}: {said[0] if said else message}", file=sys.stderr)
    code: int | None = info.driver_exit_code
    if code is None:
        return 2 if info.error_type == "RUNTIME_ENV_SETUP_FAILURE" else 1
    return code if code >= 0 else 128 - code


def _answer(address: str, job: str, ask: Callable[[], T]) -> T:
    """The answer to a request about a job, which is repeated while the dashboard or the tunnel to it is away.

    JobLostError after `AWAY_S` seconds, and if the head does not know the job; SweepError if the server refuses.
    """
    given_up = threading.Event()
    last = ""

    def until_answered() -> T:
        nonlocal last
        while True:
            try:
                return ask()
            except (OSError, RuntimeError) as error:
                if _UNKNOWN.search(str(error)):
                    raise JobLostError(
                        f"--address {address}",
                        f"this cluster does not know job {job}; a head that is restarted forgets its jobs",
                        "a job of this cluster",
                        "submit it again, which continues from the store",
                    ) from error
                if isinstance(error, RuntimeError) and not _AWAY.search(str(error)):
                    raise
                last = f" ({job_server.last_line(error)})"
                if given_up.wait(_LOOK_S):
                    raise

    try:
        return waiting.call(
            lambda: job_server.request(address, until_answered), f"the dashboard at {address} does not answer", AWAY_S
        )
    except TimeoutError as error:
        raise JobLostError(
            f"--address {address}",
            f"the dashboard has not answered for {AWAY_S:g} s{last}; whether job {job} still runs is not known",
            "a dashboard that can be reached, directly or through a tunnel (ray dashboard, kubectl port-forward)",
            f"start the tunnel again, then ray job logs --follow --address {address} {job}; "
            "submitting again is safe, too",
        ) from error
    finally:
        given_up.set()


def _wait_for_start(address: str, job: str, pending: Callable[[], str], timeout_s: float) -> None:
    """Return when a job has started. pending: why it has not."""
    notice, deadline = waiting.WaitNotice(), time.monotonic() + timeout_s
    while why := _answer(address, job, pending):
        notice.update(partial(str, why))
        if time.monotonic() >= deadline:
            do = f"ray job logs --follow --address {address} {job}, or ray job stop --address {address} {job}"
            raise too_late(address, f"after {timeout_s:g} s, {why}", do)
        time.sleep(_LOOK_S)
