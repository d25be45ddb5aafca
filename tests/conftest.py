"""Fixtures that all tests share: the real images, one Ray, and a check that no test leaves a process behind."""

from __future__ import annotations

import gc
import os
import sys
import time
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import grouping, memory
from tests.proxy import Proxy, proxy_to
from tests.s3servers import Server, aws, moto, rclone

__all__ = ["aws", "moto", "rclone"]

ROOT = Path(__file__).resolve().parents[1]
MARK = "INPAINT_SWEEPS_TEST_SESSION"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # before Ray is imported, so that it stays on loopback
os.environ.setdefault("RAY_worker_niceness", "0")  # 15 by default: the other test process would starve the trials
os.environ.setdefault("OMP_NUM_THREADS", "1")  # test processes share the cores; `fit` sets its own number of threads
GRACE_S = 15.0
"""Seconds that a process may take to end after the last test: Ray's workers poll for the end of their raylet."""


def pytest_configure(config: pytest.Config) -> None:
    grouping.check_groups(config)
    memory.use_memory(config)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Keep the garbage collector from the objects of imports and collected tests, which all stay: it costs seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # modules of C++ report objects that are never collected


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    grouping.group(items)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real images: SWEEPS_DATA, else ../shared/data next to the checkout."""
    folder = os.environ.get("SWEEPS_DATA")
    root = Path(folder) if folder else ROOT.parent / "shared" / "data"
    if not (root / "cifar-10-batches-py").is_dir():
        pytest.fail(
            f"no real images in {root}: this test needs a folder that contains cifar-10-batches-py. "
            "Set SWEEPS_DATA to it, e.g. SWEEPS_DATA=~/data make test",
            pytrace=False,
        )
    return root.resolve()


@pytest.fixture(autouse=True)
def _own_search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a user's code adds it to `sys.path`: the next test, with another cache of code, must not find it."""
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture(scope="session", autouse=True)
def no_process_left() -> Iterator[None]:
    """Fail the run if processes that the tests started are still alive after the last test (Linux only).

    The processes inherit an environment variable, so that those whose parent was killed are found as well.
    """
    token = uuid.uuid4().hex
    os.environ[MARK] = token
    yield
    deadline = time.monotonic() + GRACE_S
    while (left := _started_with(token)) and time.monotonic() < deadline:
        time.sleep(0.2)
    if left:
        lines = "\n".join(f"  {pid}: {command[:200]}" for pid, command in sorted(left.items()))
        pytest.fail(f"processes that the tests started are still alive:\n{lines}", pytrace=False)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """A Ray with two CPUs, shared because its start takes seconds. A test that adds nodes must remove them."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 2, "include_dashboard": False}
    soon = {"health_check_period_ms": 500}  # default 3000; a node counts as dead after five failed checks
    cluster = Cluster(initialize_head=True, head_node_args={**head, "_system_config": soon})
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="session")
def ray_address(ray_cluster: Any) -> str:
    """The address of the shared Ray."""
    return str(ray_cluster.address)


def _started_with(token: str) -> dict[int, str]:
    """Process id -> command line of the living processes that inherited the token, except Python's resource tracker."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={token}".encode() not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # the process has ended or belongs to another user
            continue
        # A zombie has no command line. The resource tracker lives as long as this process, by design.
        if command and "multiprocessing.resource_tracker" not in command and int(folder.name) != os.getpid():
            found[int(folder.name)] = command
    return found


@pytest.fixture
def proxy(moto: Server, aws: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy between boto3 and moto's server, which injects faults and counts requests."""
    with proxy_to(moto.port) as proxy:
        aws.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy
