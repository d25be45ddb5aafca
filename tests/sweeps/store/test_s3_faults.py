"""Faults of S3: each is retried or explained in four parts, and no object is half written."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.errors import StoreAwayError, StoreError
from sweeps.parallel import parallel_map
from sweeps.store.base import Abandoned, Store
from sweeps.store.open import open_store
from sweeps.store.s3 import client as s3_client
from sweeps.store.s3.store import S3Store
from tests.proxy import CUT, LOST, Answer, Proxy, Request
from tests.s3servers import BUCKET, KEY, SECRET, Server, address

BUSY = [Answer(503, "SlowDown"), Answer(503, "ServiceUnavailable"), Answer(500, "InternalError")]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def store(proxy: Proxy) -> Store:
    store = S3Store(address().removeprefix("s3://"), patience_s=10)
    store.put("first", b"contact")
    assert store.exclusive
    proxy.requests.clear()
    return store


def writes(request: Request) -> bool:
    return request.method == "PUT"


# --- transient errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("busy", BUSY, ids=lambda busy: busy.code)
def test_a_busy_server_is_asked_again(proxy: Proxy, store: Store, busy: Answer) -> None:
    proxy.refuse(3, busy)
    started = time.monotonic()
    store.put("a", b"1")
    assert store.get("a") == b"1"
    assert len(proxy.requests) == 5
    assert 0.3 < time.monotonic() - started < 3, "growing pauses: between half of and all of 0.1, 0.2 and 0.4 s"


def test_a_connection_that_is_cut_in_an_upload_leaves_the_old_object_or_the_new(proxy: Proxy, store: Store) -> None:
    store.put("a", b"old")
    new = os.urandom(8 * 2**20)
    seen: list[bytes] = []

    def cut(request: Request) -> str | None:
        if writes(request) and len(seen) < 2:
            seen.append(open_store(store.uri).get("a"))
            return CUT
        return None

    proxy.fault = cut
    store.put("a", new)
    assert seen == [b"old", b"old"]
    assert store.get("a") == new


def test_a_large_object_survives_cuts_in_its_parts(proxy: Proxy, store: Store) -> None:
    data = os.urandom(40 * 2**20)
    proxy.refuse(3, CUT, lambda request: "partNumber" in request.path)
    store.put("large", data)
    assert store.get("large") == data
    assert sum("partNumber" in request.path for request in proxy.requests) == 3 + 3


def test_an_upload_whose_last_answer_is_lost_is_there(proxy: Proxy, store: Store) -> None:
    data = os.urandom(20 * 2**20)
    proxy.refuse(1, LOST, lambda request: request.method == "POST" and "uploadId" in request.path)
    store.put("large", data)
    assert store.get("large") == data


def test_a_claim_whose_answer_is_lost_is_ours(proxy: Proxy, store: Store) -> None:
    """The retry is refused because the object exists, which our first try has written."""
    proxy.refuse(1, LOST, writes)
    assert store.create("claim", b"mine")
    assert not store.create("claim", b"another's")
    proxy.refuse(1, LOST, writes)
    assert not store.create("claim", b"another's"), "there was one before: this is not ours"
    assert store.get("claim") == b"mine"


def test_latency_costs_each_step_once(proxy: Proxy, store: Store) -> None:
    proxy.latency_s = 1.0
    started = time.monotonic()
    keys = [f"k/{i}" for i in range(24)]
    assert store.create_many((key, b"1") for key in keys) == set(keys)
    assert store.exists_many(keys) == set(keys)
    assert len(store.get_many(keys)) == 24
    assert time.monotonic() - started < 6, "three steps of 1 s each, side by side"


@pytest.mark.parametrize("away_s", [2.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_a_server_that_is_away_is_waited_for(proxy: Proxy, store: Store, away_s: float) -> None:
    patient = S3Store(store.uri.removeprefix("s3://"), patience_s=90)
    patient.get("first")
    proxy.away = True
    timer = threading.Timer(away_s, lambda: setattr(proxy, "away", False))
    timer.start()
    started = time.monotonic()
    parallel_map(lambda n: patient.put(f"k/{n}", b"1"), range(8), 8)
    waited_s = time.monotonic() - started
    timer.join()
    assert away_s <= waited_s < away_s + s3_client._LONGEST_S + 2
    assert len(list(patient.keys("k/"))) == 8


def test_a_server_that_stays_away_is_an_error_after_the_patience(
    proxy: Proxy, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    hasty = S3Store(store.uri.removeprefix("s3://"), patience_s=1.0)
    hasty.get("first")
    proxy.away = True
    started = time.monotonic()
    with pytest.raises(StoreAwayError) as error:
        hasty.put("a", b"1")
    assert 0.5 < time.monotonic() - started < 2
    assert "does not answer" in error.value.why
    assert proxy.url in error.value.allowed
    assert "it continues" in error.value.fix
    assert "waiting up to 1 s" in caplog.text


# --- credentials ------------------------------------------------------------------------------------------------------


def test_credentials_that_expire_are_read_again(proxy: Proxy, aws: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that is rewritten, as tools for short-lived credentials do."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        aws.delenv(name)
    file = tmp_path / "credentials"
    file.write_text(
        f"[default]\naws_access_key_id = old-key\naws_secret_access_key = {SECRET}\naws_session_token = t\n"
    )
    valid = {"old-key"}
    proxy.fault = lambda request: None if request.access_key in valid else Answer(400, "ExpiredToken")
    store = S3Store(address().removeprefix("s3://"), patience_s=10)
    store.put("a", b"1")
    valid.clear()
    renewal = threading.Timer(
        1.0,
        lambda: (
            valid.add("new-key"),
            file.write_text(f"[default]\naws_access_key_id = new-key\naws_secret_access_key = {SECRET}\n"),
        ),
    )
    renewal.start()
    store.put("a", b"2")
    renewal.join()
    assert store.get("a") == b"2"
    assert {request.access_key for request in proxy.requests} == {"old-key", "new-key"}
    valid.clear()
    with pytest.raises(StoreAwayError, match="expired") as error:
        S3Store(store.uri.removeprefix("s3://"), patience_s=0.5).get("a")
    assert "renew" in error.value.fix


@pytest.mark.usefixtures("proxy")
def test_no_credentials(aws: pytest.MonkeyPatch) -> None:
    aws.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(StoreError, match="no credentials") as error:
        open_store(address()).get("a")
    assert "AWS_PROFILE" in error.value.allowed


@pytest.mark.usefixtures("proxy")
def test_a_profile_that_does_not_exist(aws: pytest.MonkeyPatch) -> None:
    aws.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreError, match="nobody"):
        open_store(address()).get("a")


def test_wrong_credentials(rclone: Server, aws: pytest.MonkeyPatch) -> None:
    """rclone checks signatures."""
    aws.setenv("AWS_ENDPOINT_URL", rclone.url)
    for name, value in (("AWS_SECRET_ACCESS_KEY", "another"), ("AWS_ACCESS_KEY_ID", "another")):
        aws.setenv(name, value)
        with pytest.raises(StoreError, match="does not accept the credentials"):
            open_store(address()).get("a")


# --- permanent errors -------------------------------------------------------------------------------------------------

Act = Callable[[Store], object]
ACTS: list[Act] = [
    lambda store: store.get("a"),
    lambda store: store.put("a", b""),
    lambda store: store.create("a", b""),
    lambda store: store.find(["a"]),
    lambda store: store.children("a"),
    lambda store: store.delete(["a"]),
]


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize("act", ACTS)
def test_a_bucket_that_does_not_exist(act: Act) -> None:
    with pytest.raises(StoreError, match="'no-such-bucket' does not exist") as error:
        act(open_store("s3://no-such-bucket/x"))
    assert "aws s3 mb s3://no-such-bucket" in error.value.fix


@pytest.mark.parametrize("act", ACTS)
def test_no_permission(proxy: Proxy, act: Act) -> None:
    proxy.fault = lambda _: Answer(403, "AccessDenied")
    with pytest.raises(StoreError, match="permission denied") as error:
        act(open_store(address()))
    assert "s3:PutObject" in error.value.allowed
    assert not isinstance(error.value, StoreAwayError)
    methods = [request.method for request in proxy.requests]
    assert methods in (["GET"], ["PUT"], ["POST"], ["HEAD", "GET"]), (
        "asking again would not help; HEAD does not say why"
    )


def test_a_bucket_in_another_region(proxy: Proxy) -> None:
    proxy.fault = lambda _: Answer(301, "PermanentRedirect", {"x-amz-bucket-region": "eu-north-1"})
    with pytest.raises(StoreError, match="region eu-north-1, not in us-east-1") as error:
        open_store(address()).find(["a"])
    assert error.value.fix == "export AWS_REGION=eu-north-1"


@pytest.mark.parametrize(
    ("where", "first_s"),
    [("a closed port", 1.0), pytest.param("nobody there", s3_client.FIRST_S, marks=pytest.mark.slow)],
)
def test_an_unreachable_endpoint_is_told_within_ten_seconds(
    aws: pytest.MonkeyPatch, where: str, first_s: float
) -> None:
    """The slower case has the default `FIRST_S`; a closed port refuses at once and spends the time in pauses."""
    aws.setattr(s3_client, "FIRST_S", first_s)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if where == "nobody there":
            silent.listen(0)
            waiting = [socket.socket() for _ in range(2)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(silent.getsockname())
        aws.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(StoreAwayError, match="does not answer"):
            open_store(address()).get("a")
        assert time.monotonic() - started < 10
        if where == "nobody there":
            for one in waiting:
                one.close()


def test_an_endpoint_that_is_no_address(aws: pytest.MonkeyPatch) -> None:
    aws.setenv("AWS_ENDPOINT_URL", "minio:9000")
    with pytest.raises(StoreError, match="AWS_ENDPOINT_URL=minio:9000"):
        open_store(address()).get("a")


# --- abandoning -------------------------------------------------------------------------------------------------------


def test_an_upload_is_given_up_in_its_middle(proxy: Proxy, store: Store) -> None:
    given_up = threading.Event()

    def give_up(request: Request) -> None:
        if "partNumber=2" in request.path:
            given_up.set()
        elif "partNumber" in request.path:
            given_up.wait(20)  # so that none is done before, however the threads are scheduled

    proxy.fault = give_up
    with pytest.raises(Abandoned):
        store.put("large", os.urandom(100 * 2**20), abandoned=given_up.is_set)
    assert sum("partNumber" in request.path for request in proxy.requests) <= 4, "those that were sent already"
    assert proxy.requests[-1].method == "DELETE", "the server is told"
    assert store.find(["large"]) == {}


def test_a_process_does_not_wait_for_a_server_when_it_ends(proxy: Proxy, store: Store) -> None:
    """Its writes wait for minutes, but the process ends at once."""
    code = (
        "import sys, threading; from sweeps.store.open import open_store\n"
        "store = open_store(sys.argv[1]); store.get('first'); print(flush=True); input()\n"
        "write = lambda: store.create_many((str(i), b'') for i in range(9))\n"
        "threading.Thread(target=write, daemon=True).start(); print(flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, store.uri], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        proxy.away = True
        print(file=process.stdin, flush=True)
        process.stdout.readline()
        time.sleep(0.5)
        started = time.monotonic()
        print(file=process.stdin, flush=True)
        assert process.wait(20) == 0
        assert time.monotonic() - started < 3


def test_the_bucket_is_not_in_the_host_name(moto: Server, aws: pytest.MonkeyPatch) -> None:
    """Servers other than AWS get path-style requests, because `bucket.localhost` does not resolve."""
    aws.setenv("AWS_ENDPOINT_URL", f"http://localhost:{moto.port}")
    store = open_store(f"s3://{BUCKET}/by-name")
    store.put("a", KEY.encode())
    assert store.get("a") == KEY.encode()
