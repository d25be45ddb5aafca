"""The head of a Ray cluster in separate processes, which requires a token and listens on loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.driven import ROOT, RUN_MARK, _inherited, _processes

TOKEN = "b" * 64
TOKEN_VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@dataclass(frozen=True)
class Head:
    """address: HOST:PORT to join. jobs: http://HOST:PORT of the dashboard."""

    address: str
    jobs: str


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Head]:
    """A head with a dashboard and two CPUs; all its processes are killed afterwards."""
    mark = uuid.uuid4().hex
    environment = {name: value for name, value in os.environ.items() if name not in TOKEN_VARIABLES}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "PYTHONPATH": str(ROOT), RUN_MARK: mark}
    environment |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    environment["TMPDIR"] = str(folder)  # killed processes leave files behind
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # jobs call python
    port, jobs = _free_port(), _free_port()
    options = ["--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2"]
    options += ["--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={jobs}"]
    options += [f"--dashboard-agent-listen-port={_free_port()}"]  # the fixed default may be in use
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", *options]
    said = folder / "said.txt"
    with said.open("w") as output:
        process = subprocess.Popen(
            [*command, f"--temp-dir={folder}/ray"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 90
        while "Ray runtime started" not in said.read_text():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.2)
        yield Head(f"127.0.0.1:{port}", f"http://127.0.0.1:{jobs}")
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # agents hide their environment, workers leave the group
        while left := [pid for pid in _processes() if _inherited(pid, mark)]:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        process.wait(30)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port
