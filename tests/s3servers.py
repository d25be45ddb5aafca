"""S3 servers for the tests, each a process on a free port of loopback, and stores on them.

moto's server supports conditional puts. rclone's server, which serves a folder, ignores them but checks signatures.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

KEY, SECRET = "test-key", "test-secret-of-some-length"
BUCKET = "bucket"


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
    return port


class Server:
    """A server that can be killed and restarted on the same port with the same command."""

    def __init__(self, command: list[str], port: int) -> None:
        self.command, self.port = command, port
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while True:
            assert self.process.poll() is None, f"it has ended: {self.command}"
            assert time.monotonic() < deadline, f"it does not listen: {self.command}"
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def rclone_server(folder: Path) -> Iterator[Server]:
    """`rclone serve s3` on a folder, with one bucket."""
    (folder / BUCKET).mkdir(parents=True)
    port, program = free_port(), Path(sys.executable).with_name("rclone")
    keys = ["--auth-key", f"{KEY},{SECRET}", "--config", str(folder.with_name("no-rclone.conf"))]
    server = Server([str(program), "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}", *keys], port)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def moto_server(folder: Path | None = None, prefix: str = "") -> Iterator[Server]:
    """moto's server, with one bucket; it loses everything when it ends.

    folder: its files are the initial objects, under `prefix`. The server's own process puts them into memory, because
    40,000 of them over HTTP would take longer than the measurement.
    """
    port, program = free_port(), Path(sys.executable).with_name("moto_server")
    command = [str(program), "-H", "127.0.0.1", "-p", str(port)]
    if folder is not None:
        command = [sys.executable, "-c", _FILLED, str(port), str(folder), BUCKET, prefix]
    server = Server(command, port)
    server.start()
    try:
        if folder is None:
            make_bucket(server)
        yield server
    finally:
        server.kill()


_FILLED = """
import sys
from pathlib import Path
from moto import server
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

port, folder, bucket, prefix = sys.argv[1:]
backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
backend.create_bucket(bucket, "us-east-1")
for file in sorted(Path(folder).rglob("*")):
    if file.is_file():
        name = prefix + file.relative_to(folder).as_posix()
        backend.put_object(bucket, name, file.read_bytes(), disable_notification=True).etag  # computed once and cached
server.main(["-H", "127.0.0.1", "-p", port])
"""


def make_bucket(server: Server) -> None:
    import boto3

    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
    boto3.session.Session(**keys).client("s3", endpoint_url=server.url).create_bucket(Bucket=BUCKET)


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with rclone_server(tmp_path_factory.mktemp("rclone") / "served") as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[Server]:
    with moto_server() as server:
        yield server


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The environment of a user with credentials for the servers and no other AWS settings."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return monkeypatch


def address(prefix: str = "") -> str:
    """A unique prefix in the bucket."""
    return f"s3://{BUCKET}/{prefix or 'test'}-{uuid.uuid4().hex[:8]}/store"
