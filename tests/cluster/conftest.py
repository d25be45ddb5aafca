"""Fixtures of the tests of `cluster`: a plan and a store. The shared Ray is in `tests/conftest.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.connection import connection
from sweeps.spec import expand, loader
from sweeps.spec.plan import Plan
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from tests import memory
from tests.cluster import heads
from tests.cluster.small import SMALL, Planned
from trainables import schema


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """Plan the small sweep or another one; `changes` as for `--set`."""

    def run(*changes: str, text: str = SMALL) -> Plan:
        file = tmp_path / "small.yaml"
        file.write_text(text)
        return expand.expand(loader.load(file, changes=changes), schema)

    return run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return FolderStore(tmp_path / "store")


@pytest.fixture(scope="session")
def guarded() -> Iterator[heads.Head]:
    """A head that requires `heads.TOKEN`."""
    with (
        memory.short_folder("head-") as folder,
        heads.started(Path(folder)) as head,
    ):
        yield head


@pytest.fixture
def use_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str | None], None]]:
    """Give this process a token, or none, independently of the user's own token."""

    def use(token: str | None) -> None:
        for name in heads.TOKEN_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        if token:
            monkeypatch.setenv("RAY_AUTH_TOKEN", token)
        connection.reload_settings()

    yield use
    monkeypatch.undo()
    connection.reload_settings()
