"""The job server of a cluster, which is part of its dashboard: a client of it, and requests with clear errors."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cluster.connection import address as addresses
from sweeps.errors import SweepError

_ALLOWED = "http://HOST:8265 (or https://): the dashboard of a Ray cluster"
_ANSWER_S = 4.0
_OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Environment variables that Ray would use instead of the given address."""

T = TypeVar("T")


def client(address: str) -> Any:
    """A client of the cluster's job server, after checking that it can be reached and accepts our token."""
    addresses.require_ray(address)
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        host = address.rpartition("/")[2].partition(":")[0]
        if host in (addresses.LOCAL, addresses.AUTO, addresses.IN_PROCESS):
            do = (
                "--address http://127.0.0.1:8265, on the head or through a tunnel (ray dashboard, kubectl port-forward)"
            )
        else:
            do = f"--address http://{host}:8265"
        raise SweepError(f"--address {address}", "jobs are submitted over HTTP to the dashboard's port", _ALLOWED, do)
    addresses.reach(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80), address)
    import requests
    from ray.job_submission import JobSubmissionClient

    from cluster.connection import auth_token

    for module in ("dashboard_sdk", "job.sdk"):
        logging.getLogger(f"ray.dashboard.modules.{module}").setLevel(logging.WARNING)
    headers = auth_token.headers()
    try:
        answer = requests.get(f"{address.rstrip('/')}/api/version", headers=headers, timeout=_ANSWER_S)
    except requests.RequestException as error:
        raise SweepError(
            f"--address {address}", f"it does not answer as a dashboard: {error}", _ALLOWED, "`ray status` on the head"
        ) from error
    _check_answer(address, answer.status_code, bool(headers))
    with _without(_OVERRIDES):
        return request(address, lambda: JobSubmissionClient(address, headers=headers))


def _check_answer(address: str, status: int, had_token: bool) -> None:
    if status in (401, 403):
        why = "does not accept the token that is set here" if had_token else "requires a token, and none is set here"
        raise SweepError(
            f"--address {address}",
            f"the cluster {why} (HTTP {status})",
            "the token that the cluster was started with",
            addresses.SET_TOKEN,
        )
    if status != 200:
        why = f"the server there is not a Ray dashboard (HTTP {status} for /api/version)"
        do = "`ray start --head` prints the dashboard's address (port 8265 by default); a tunnel must lead to it"
        raise SweepError(f"--address {address}", why, _ALLOWED, do)


@contextlib.contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


def request(address: str, ask: Callable[[], T]) -> T:
    """The result of a request to the job server; SweepError if the request fails."""
    from ray.exceptions import AuthenticationError

    try:
        return ask()
    except (OSError, RuntimeError, AuthenticationError) as error:  # the errors of `requests` are OSErrors
        why = f"the job server refused the request or cannot be reached: {last_line(error)}"
        raise SweepError(
            f"--address {address}", why, _ALLOWED, "`ray status` and the dashboard's log on the head"
        ) from error


def last_line(error: Exception) -> str:
    """The last line of an error's text, or its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]
