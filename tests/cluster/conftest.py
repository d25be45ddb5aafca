"""Fixtures of the runner's tests: a plan, a store, one Ray for all that need one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps import plan, spec
from sweeps.plan import Plan
from sweeps.store import FolderStore, Store
from tests.cluster.small import SMALL, Planned
from trainables import schema


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """Plan a sweep: the small one, or another text; `changes` as for `--set`."""

    def run(*changes: str, text: str = SMALL) -> Plan:
        file = tmp_path / "small.yaml"
        file.write_text(text)
        return plan.expand(spec.load(file, changes=changes), schema)

    return run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return FolderStore(tmp_path / "store")


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """A Ray of two CPUs that the tests share: starting one costs seconds."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield str(cluster.address)
    cluster.shutdown()
