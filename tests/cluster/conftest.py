"""Fixtures of the runner's tests: a plan and a store; the Ray that they share is in `tests/conftest.py`."""

from __future__ import annotations

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
