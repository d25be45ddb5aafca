"""A running Ray is joined, or refused with a reason within seconds. For local Rays see `test_own_ray.py`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import ray

from cluster.connection import address, connection
from sweeps.errors import SweepError
from sweeps.spec.sections.resources import Resources
from tests.cluster.connection.sockets import beyond_loopback
from tests.cluster.heads import TOKEN, TOKEN_VARIABLES, Head
from tests.conftest import MARK, _started_with

UseToken = Callable[[str | None], None]


def test_the_rays_of_these_tests_listen_on_loopback_alone(ray_address: str, guarded: Head) -> None:
    """A cluster of `ray.cluster_utils`, and one of `ray start` with a dashboard."""
    assert ray_address != guarded.address
    found, total = beyond_loopback({os.getpid(), *_started_with(os.environ[MARK])})
    assert found == []
    assert total >= 3


@pytest.mark.parametrize(
    ("given", "size", "most", "resources", "where"),
    [
        (None, "tiny", None, {}, "in-process"),
        (None, "full", None, {}, "local"),
        (None, "small", None, {"cpus": 2}, "local"),
        (None, "full", None, {"cpus": 3}, "in-process"),
        (None, "full", None, {"cpus": 5}, "local"),  # whose error says that it does not fit
        (None, "full", 1, {}, "in-process"),
        (None, "full", 1, {"workers": 2}, "local"),
        ("auto", "tiny", 1, {}, "auto"),
        ("local", "full", 1, {}, "local"),
    ],
)
def test_ray_starts_only_where_two_trials_fit(
    given: str | None,
    size: str,
    most: int | None,
    resources: dict[str, int],
    where: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(address, "usable_cpus", lambda: 4)
    assert address.chosen(given, size, Resources(**resources), most) == where


# --- addresses that cannot be used ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("ray://head:10001", ["Ray Client", "sweeps submit", "--address auto"]),
        (
            "http://head:8265",
            [
                "dashboard and job server",
                "sweeps submit FILE --address http://head:8265; run and doctor take head:6379",
            ],
        ),
        ("head", ["not an address", "HOST:6379"]),
        ("head:x", ["not an address"]),
        ("127.0.0.1:1", ["it cannot be reached", "ray status"]),
        ("host.invalid:6379", ["it cannot be reached"]),
    ],
)
def test_an_address_of_no_use_is_told_at_once(given: str, says: list[str]) -> None:
    started = time.monotonic()
    with pytest.raises(SweepError) as told:
        connection.connect(given)
    assert time.monotonic() - started < 10
    assert not ray.is_initialized()
    for text in says:
        assert text in str(told.value)


def test_a_host_that_never_answers_is_given_up_within_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that listens but accepts no connection, because its backlog is full."""
    monkeypatch.setattr(address, "REACH_S", 0.5)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            waiting.append(client)
        try:
            with pytest.raises(SweepError, match="timed out"):
                address.check(f"127.0.0.1:{port}")
        finally:
            for client in waiting:
                client.close()


def test_another_server_is_told_from_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_PROBE_S", 0.5)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(SweepError, match="does not answer as the head"),
    ):
        connection.connect(f"127.0.0.1:{server.getsockname()[1]}")


def test_no_ray_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> str:
        raise ConnectionError("none")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(connection.services, "get_ray_address_from_environment", none)  # other Rays may run here
    with pytest.raises(SweepError, match="no Ray runs on this machine"):
        connection.connect("auto")


def test_a_local_ray_that_does_not_start_is_told_in_four_parts() -> None:
    """As on a machine that is too busy: its GCS is not there in time."""
    code = (
        "from ray._private import services; services.GCS_SERVER_EXECUTABLE = '/bin/false'\n"
        "from cluster.connection import connection; from sweeps.errors import SweepError\n"
        "try: connection.connect('local')\n"
        "except SweepError as error: print(error)"
    )
    environment = {**os.environ, "RAY_gcs_server_port_wait_time_s": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert "it did not start: Timed out waiting for file" in run.stdout
    assert "--address in-process" in run.stdout


@pytest.mark.parametrize(("name", "value"), [("ray_version", "2.54.0"), ("python_version", "3.12.1")])
def test_another_version_of_the_cluster_is_told(
    ray_address: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    real = connection._ask

    def other(found: str, headers: dict[str, str]) -> dict[str, Any]:
        return {**real(found, headers), name: value}

    monkeypatch.setattr(connection, "_ask", other)
    with pytest.raises(SweepError) as told:
        connection.connect(ray_address)
    assert value in str(told.value)
    assert ray.__version__ in str(told.value)


# --- a cluster with a token -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("token", "says"), [(None, "none is set here"), ("c" * 64, "does not accept the token")])
def test_a_missing_or_wrong_token_is_told(guarded: Head, use_token: UseToken, token: str | None, says: str) -> None:
    use_token(token)
    started = time.monotonic()
    with pytest.raises(SweepError) as told:
        connection.connect(guarded.address)
    assert time.monotonic() - started < 10
    assert says in str(told.value)
    assert "RAY_AUTH_TOKEN" in told.value.fix


def test_the_right_token_lets_in_and_leaves_no_trace(guarded: Head, use_token: UseToken) -> None:
    use_token(TOKEN)
    before = {name: os.environ.get(name) for name in TOKEN_VARIABLES}
    connection.connect(guarded.address)
    try:
        assert ray.cluster_resources()["CPU"] == 2
    finally:
        connection.disconnect()
    assert {name: os.environ.get(name) for name in TOKEN_VARIABLES} == before
