"""Submit a sweep to a Ray cluster as a job: upload the working directory, start `sweeps run` there, follow its log.

The job's driver runs on the cluster's head, so the submitting machine may disconnect. Submitting again is safe: a sweep
continues from its store, and two drivers on one store do not train a trial twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shlex
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cluster.connection import address as addresses
from cluster.connection import waiting
from sweeps import scratch
from sweeps.errors import JobLostError, SweepError

EXCLUDED = {".git", ".venv", "venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", "node_modules"}
"""Names of folders that are never uploaded. The store, the data and what git ignores are not uploaded either."""
_ALLOWED = "http://HOST:8265 (or https://): the dashboard of a Ray cluster"
SECRETS = {".netrc", "credentials", "id_rsa", "id_ed25519", ".git-credentials", ".pypirc"}
_PAUSE_S = 30
"""Maximum number of seconds between two attempts to follow a job's log."""
_ANSWER_S = 4.0
_NOT_READY = "No available agent to submit job"
"""What the job server answers (Ray 2.60) as long as the agent of the head node has not registered."""
_LOOK_S = 1.0
"""Pause before a job that has not started is looked at again."""
_READY_S = 5.0
"""Pause before a job is submitted again to a cluster that is starting; the head itself waits 10 s for its agent."""
AWAY_S = 120.0
"""Seconds for which a dashboard that does not answer is asked again while a job is followed."""
_AWAY = re.compile(r"status code (429|5\d\d)")
"""What Ray's client says if a proxy or a restarting dashboard answers."""
_UNKNOWN = re.compile(r"status code 404: .*does not exist")
"""What Ray's client says about a job that the head does not know."""
_TO_EXIT_CODE = re.compile(r".*?exit code -?\d+", re.DOTALL)
"""The part of a job's message before the end of its log, which has been printed."""
TIMEOUT_S = 600.0
"""Seconds that a cluster may take to accept a job, and then to start it."""
_OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Environment variables that Ray would use instead of the given address."""

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


def relative_file(file: Path, folder: Path) -> str:
    """The sweep file's path in the uploaded folder. SweepError if the file is outside."""
    path, top = file.resolve(), folder.resolve()
    if not path.is_relative_to(top):
        raise SweepError(
            f"sweep file {file}",
            f"it is outside the working directory {top}, and nothing else is uploaded",
            "a file in the working directory",
            f"cd to the checkout that contains it, or --working-dir {path.parent}",
        )
    return path.relative_to(top).as_posix()


def submit(submission: Submission) -> str:
    """Start the job and return its id.

    SweepError, within 10 s, if the address or the token does not work, and if the job is not accepted in time.
    """
    client = _client(submission.address)
    entry = shlex.join(["python", "-m", "sweeps.cli", "run", *submission.arguments, "--address", "auto"])
    with scratch.folder("submit") as folder:
        package = folder / "working_dir.zip"
        pack(submission.folder.resolve(), submission.skipped, package)
        environment = {**submission.runtime_env, "working_dir": str(package)}
        start = partial(client.submit_job, entrypoint=entry, runtime_env=environment)
        timeout_s = submission.timeout_s
        try:
            job: str = waiting.call(
                lambda: _request(submission.address, lambda: _when_ready(start, timeout_s)),
                f"the cluster at {submission.address} has not accepted the job yet",
                timeout_s,
            )
        except TimeoutError as error:
            raise _too_late(
                submission.address, f"the cluster has not accepted the job after {timeout_s:g} s"
            ) from error
    return job


def _too_late(address: str, why: str, do: str = "submit it again, which is safe") -> SweepError:
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


def _pending(client: Any, job: str) -> str:
    """Why a job has not started, and which other jobs run; empty if it has started."""
    info = client.get_job_info(job)
    if info.status.value != "PENDING":
        return ""
    others = [one.submission_id for one in client.list_jobs() if one.status.value == "RUNNING" and one.submission_id]
    before = f"; jobs that run now: {', '.join(others)}" if others else ""
    return f"job {job} has not started: {info.message or 'its environment is prepared'}{before}"


def follow(address: str, job: str, timeout_s: float = TIMEOUT_S) -> int:
    """Print the job's log until the job ends; returns its exit code, as `_exit_code`. Ctrl-C does not end the job.

    timeout_s: SweepError if the job has not started after this time. The job itself stays where it is.
    JobLostError if the dashboard has not answered for `AWAY_S` seconds, or does not know the job any more.
    """
    client = _client(address)
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
                last = f" ({_last_line(error)})"
                if given_up.wait(_LOOK_S):
                    raise

    try:
        return waiting.call(
            lambda: _request(address, until_answered), f"the dashboard at {address} does not answer", AWAY_S
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
            raise _too_late(address, f"after {timeout_s:g} s, {why}", do)
        time.sleep(_LOOK_S)


# --- the working directory --------------------------------------------------------------------------------------------


def pack(folder: Path, skipped: tuple[Path, ...], package: Path) -> None:
    """Zip a working directory. The same content gives the same bytes, so that Ray uploads it once.

    If it contains the code of this package, the commit of the checkout is added, as `.git` is not uploaded.
    SweepError if it is larger than Ray accepts.
    """
    from ray._private.runtime_env.packaging import GCS_STORAGE_MAX_SIZE

    from cluster.worker import provenance

    away = [path.resolve() for path in skipped]
    files = [path for path in _files(folder) if not any(path.is_relative_to(place) for place in away)]
    commit = folder / provenance.COMMIT
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(set(files) - {commit}):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            entry.external_attr = (path.stat().st_mode & 0xFFFF) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
        if commit.with_name("provenance.py") in files:
            entry = zipfile.ZipInfo(provenance.COMMIT)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, provenance.commit_of(folder))
    size = package.stat().st_size
    if size >= GCS_STORAGE_MAX_SIZE:
        raise SweepError(
            f"working directory {folder}",
            f"it is {_mb(size)} packed, Ray accepts {_mb(GCS_STORAGE_MAX_SIZE)}; the largest: {_largest(package)}",
            "code and sweep files only; data belongs on the nodes or in the store",
            "move them elsewhere or add them to .gitignore, or use --working-dir with a smaller folder",
        )


def _files(folder: Path) -> Iterator[Path]:
    """The files of a checkout that git tracks or does not ignore; all files if there is no git."""
    command = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        listed = None
    if listed is not None and listed.returncode == 0:
        paths = [folder / name for name in listed.stdout.split("\0") if name]
    else:
        paths = list(folder.rglob("*"))
    for path in paths:
        if path.is_file() and not EXCLUDED & set(path.relative_to(folder).parts[:-1]) and not _is_secret(path.name):
            yield path


def _is_secret(name: str) -> bool:
    """Whether a file, by its name, contains passwords or keys; git may not ignore such files."""
    return name.startswith(".env") or name.endswith((".pem", ".key", ".p12")) or name in SECRETS


def _largest(package: Path) -> str:
    """The three top-level entries that take up most of the package."""
    sizes: dict[str, int] = {}
    with zipfile.ZipFile(package) as archive:
        for entry in archive.infolist():
            first, slash, _ = entry.filename.partition("/")
            sizes[first + slash] = sizes.get(first + slash, 0) + entry.compress_size
    return ", ".join(f"{name} {_mb(sizes[name])}" for name in sorted(sizes, key=lambda name: -sizes[name])[:3])


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e6:.3f} MB"


# --- the jobs of a cluster --------------------------------------------------------------------------------------------


def _client(address: str) -> Any:
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
        return _request(address, lambda: JobSubmissionClient(address, headers=headers))


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


def _request(address: str, ask: Callable[[], T]) -> T:
    """The result of a request to the job server; SweepError if the request fails."""
    from ray.exceptions import AuthenticationError

    try:
        return ask()
    except (OSError, RuntimeError, AuthenticationError) as error:  # the errors of `requests` are OSErrors
        why = f"the job server refused the request or cannot be reached: {_last_line(error)}"
        raise SweepError(
            f"--address {address}", why, _ALLOWED, "`ray status` and the dashboard's log on the head"
        ) from error


def _last_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1]
