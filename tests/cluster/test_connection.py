"""A Ray of our own listens on loopback and wants a token; a running one is joined, or told apart, within seconds."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import ray
from ray.core.generated import gcs_service_pb2 as messages
from ray.core.generated import gcs_service_pb2_grpc as gcs

from cluster import address, connection
from sweeps.errors import SweepError
from sweeps.store import FolderStore
from tests.cluster.driven import workplace
from tests.cluster.heads import TOKEN, TOKEN_VARIABLES, Head
from tests.cluster.small import SMALL
from tests.cluster.sockets import beyond_loopback
from tests.conftest import MARK, _started_with

UseToken = Callable[[str | None], None]


def test_a_run_starts_its_own_ray_which_listens_on_loopback_alone_and_wants_a_token(
    tmp_path: Path, data_root: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever Ray runs on the machine, or has left its address there when it was killed."""
    for name in TOKEN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    (tmp_path / "small.yaml").write_text(SMALL.replace("epochs: 3", "epochs: 30"))
    with workplace() as start:
        driven = start(FolderStore(tmp_path / "store"), "run", tmp_path / "small.yaml", "--data", data_root)
        assert driven.until(driven.at_work), driven.said()
        family = driven.family()
        found, total = beyond_loopback(family)
        assert found == []
        assert total >= 5, "GCS, raylet, agents, actors and the driver listen somewhere"
        assert not (home / ".ray").exists(), "no token is written into the home folder"
        port = next(_gcs_port(pid) for pid in family if _gcs_port(pid))
        assert str(port) != ray_address.rpartition(":")[2]
        with pytest.raises(grpc.RpcError) as refused:
            _ask(f"127.0.0.1:{port}")
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert driven.wait(120) == 0, driven.said()
        assert "3 done" in driven.said()


def test_the_rays_of_these_tests_listen_on_loopback_alone(ray_address: str, guarded: Head) -> None:
    """One of `ray.cluster_utils`, one of `ray start` with a dashboard."""
    assert ray_address != guarded.address
    found, total = beyond_loopback({os.getpid(), *_started_with(os.environ[MARK])})
    assert found == []
    assert total >= 3


def _gcs_port(pid: int) -> int | None:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    given = [word.partition("=")[2] for word in words if word.startswith("--gcs-address=")]
    return int(given[0].rpartition(":")[2]) if given else None


def _ask(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        request = messages.GetAllNodeInfoRequest()
        gcs.NodeInfoGcsServiceStub(channel).GetAllNodeInfo(request, timeout=10)


# --- addresses that cannot be used ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("ray://head:10001", ["Ray Client", "sweeps submit", "--address auto"]),
        ("http://head:8265", ["jobs and dashboard", "sweeps submit FILE --address http://head:8265"]),
        ("head", ["no address", "HOST:6379"]),
        ("head:x", ["no address"]),
        ("127.0.0.1:1", ["nothing can be reached there", "ray status"]),
        ("host.invalid:6379", ["nothing can be reached there"]),
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
    """A socket that listens and lets nobody in: its backlog is full."""
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


def test_another_server_is_told_from_a_head() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(SweepError, match="does not answer as the head"),
    ):
        connection.connect(f"127.0.0.1:{server.getsockname()[1]}")


def test_no_ray_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> str:
        raise ConnectionError("none")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(connection.services, "get_ray_address_from_environment", none)  # others' Rays run here, too
    with pytest.raises(SweepError, match="no Ray runs on this machine"):
        connection.connect("auto")


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


@pytest.mark.parametrize(("token", "says"), [(None, "there is none here"), ("c" * 64, "does not accept the token")])
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
