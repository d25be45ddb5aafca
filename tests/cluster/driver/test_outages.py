"""A sweep on S3 whose server goes away: it waits and continues, or ends with a clear error and can be resumed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.driver import driver, pending_work
from cluster.driver.queue.leases import Leases
from cluster.worker import worker
from sweeps.errors import StoreAwayError
from sweeps.holders import LEASE_S
from sweeps.run_options import RunOptions
from sweeps.store import attempts as stored_attempts
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store
from sweeps.store.s3 import client as s3_client
from tests.cluster.small import Planned, Watched, histories, run
from tests.proxy import proxy_to
from tests.s3servers import Server, address, rclone_server
from trainables import schema

CHANGES = ("arms=[]", "epochs=6", "seeds=2", "report.test_epochs=[]")


@pytest.fixture
def own_rclone(tmp_path: Path, aws: pytest.MonkeyPatch) -> Iterator[Server]:
    with rclone_server(tmp_path / "served") as server:
        aws.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


class Interrupting(Watched):
    """Kills a server at chosen epochs, and starts it again after a time."""

    def __init__(self, server: Server, at: tuple[int, ...], away_s: float) -> None:
        super().__init__()
        self.server, self.left, self.away_s = server, list(at), away_s
        self.outages = 0

    def record(self, job: Any, row: dict[str, Any]) -> None:
        super().record(job, row)
        if self.left and row["epoch"] >= self.left[0] and self.server.process is not None:
            self.left.pop(0)
            self.outages += 1
            self.server.kill()
            threading.Timer(self.away_s, self.server.start).start()


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    """A store that never goes away; the first test that needs its records trains them."""
    return FolderStore(tmp_path_factory.mktemp("near"))


def undisturbed(planned: Planned, near: FolderStore, data_root: Path) -> dict[str, Any]:
    plan = planned(*CHANGES)
    run(plan, near, data_root)
    return histories(plan, near)


@pytest.mark.slow  # below: a server that stays away
@pytest.mark.parametrize(
    ("where", "away_s"), [("in-process", 1.5), pytest.param("local", 20.0, marks=[pytest.mark.slow, pytest.mark.ray])]
)
def test_a_server_that_is_killed_and_started_twice_changes_nothing(
    planned: Planned, near: FolderStore, data_root: Path, own_rclone: Server, where: str, away_s: float
) -> None:
    store, plan = open_store(address()), planned(*CHANGES)
    watched = Interrupting(own_rclone, (2, 4), away_s)
    settings = RunOptions(address=where, data=data_root, checkpoint_every_s=0)
    work = pending_work.work_left(plan, store, schema)
    driver.write(work.plan, store, ())
    driver.run(work, store, schema, settings, watched)
    assert watched.outages == 2
    assert histories(plan, store) == undisturbed(planned, near, data_root)
    states = {state for state, _ in watched.events}
    assert states - {"crashed"} == {"started", "done"}, "a process that starts while the server is away is tried again"


@pytest.mark.parametrize("where", ["in-process", pytest.param("local", marks=[pytest.mark.slow, pytest.mark.ray])])
def test_a_server_that_stays_away_ends_the_sweep_which_goes_on_later(
    planned: Planned,
    near: FolderStore,
    data_root: Path,
    moto: Server,
    aws: pytest.MonkeyPatch,
    where: str,
) -> None:
    aws.setattr(s3_client, "PATIENCE_S", 1.0)
    aws.setattr(Leases.__init__, "__defaults__", (2.0, time.monotonic))  # otherwise it waits half a minute
    aws.setenv("SWEEPS_STORE_PATIENCE", "1")  # for the processes of Ray
    plan = planned(*CHANGES)
    with proxy_to(moto.port) as proxy:
        aws.setenv("AWS_ENDPOINT_URL", proxy.url)
        store = open_store(address())
        driver.write(plan, store, ())

        class Cutting(Watched):
            def record(self, job: Any, row: dict[str, Any]) -> None:
                super().record(job, row)
                proxy.away = proxy.away or row["epoch"] == 3

        settings = RunOptions(address=where, data=data_root, checkpoint_every_s=0)
        with pytest.raises(StoreAwayError, match="does not answer"):
            driver.run(pending_work.work_left(plan, store, schema), store, schema, settings, Cutting())
        proxy.away = False
        assert histories(plan, store) == {}, "no success that is not in the store"
        later = _go_on(plan, store, settings)
        assert {state for state, _ in later.events} <= {"started", "done"}
        assert histories(plan, store) == undisturbed(planned, near, data_root)


def _go_on(plan: Any, store: Store, settings: RunOptions) -> Watched:
    worker.open_cached.cache_clear()
    watched = Watched()
    work = pending_work.work_left(plan, store, schema)
    assert not work.failed, "an outage is no failure of a trial"
    driver.run(work, store, schema, settings, watched)
    return watched


def test_an_outage_says_nothing_about_who_lives(tmp_path: Path) -> None:
    """No heartbeat arrives while the store is away, so no lease may expire because of it."""
    now = 1000.0

    class Slow(FolderStore):
        def get_many(self, keys: Any) -> dict[str, bytes]:
            nonlocal now
            now += away_s
            return super().get_many(keys)

    away_s = 0.0
    store = Slow(tmp_path)
    leases = Leases(store, clock=lambda: now)
    stored_attempts.claim(store, "t", 0, {"process": {"pid": 1, "started": "1", "machine": "another one"}})
    assert leases.free_after("t") is None
    now, away_s = now + 5, LEASE_S * 2
    assert leases.free_after("t") is None, "the look itself took a minute"
    away_s = 0.0
    found = []
    for _ in range(int(LEASE_S / 2)):
        now += 2
        found.append(leases.free_after("t"))
    assert found[:12] == [None] * 12, "the minute counted for a moment only"
    assert found[-1] == 1
