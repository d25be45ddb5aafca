"""Machines that cannot reach the store, and the keys that they get from the driver."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from cluster.connection import store_access
from cluster.driver.queue import store_away
from cluster.driver.queue.crashes import FALSE_STARTS
from cluster.driver.queue.trial_queue import Job, TrialQueue
from cluster.worker.storage_errors import away_error, away_state
from cluster.worker.worker import WorkerOptions, open_cached, run_trial
from sweeps.errors import StoreAwayError
from sweeps.results import progress
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store
from tests.cluster.multi_worker.test_groups import TWO
from tests.cluster.small import Planned, Watched, histories, run
from tests.s3servers import SECRET, Server, address, free_port

FEW = ("arms=[]", "epochs=1", "seeds=1", "report.test_epochs=[]")


@pytest.fixture
def queue(store: Store) -> TrialQueue:
    return TrialQueue(store, [Job("one", 1, "one"), Job("two", 1, "two")], Watched())


def away(machine: str) -> str:
    """The state of a trial on another machine, whose error tells the seconds of its tries."""
    given = f"{machine}: store 's3://bucket/results': cannot read 'a'"
    error = StoreAwayError(given, "the server does not answer", "a server that answers", "check the network")
    return away_state(error).replace(f"{socket.gethostname()}: ", "")


def test_a_machine_without_a_way_to_the_store_is_named(
    aws: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], queue: TrialQueue
) -> None:
    aws.setenv("SWEEPS_STORE_PATIENCE", "1")
    aws.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    state = run_trial(WorkerOptions(address(), "small", "run"), "one", 1, 0, lambda _: None)
    error = away_error(state)
    assert error is not None
    assert error.given.startswith(f"{socket.gethostname()}: store 's3://")
    taken = queue.take()
    assert taken is not None
    queue.give_back(taken[0], state)
    said = capsys.readouterr().err
    assert said.startswith(error.given)
    assert "does not answer" in said
    assert "the trial is tried again" in said


def test_the_trial_has_not_failed_and_the_run_ends_where_no_machine_reaches_it(
    queue: TrialQueue, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(FALSE_STARTS):
        taken = queue.take()
        assert taken is not None
        queue.give_back(taken[0], away(f"node{number % 2}"))
    assert queue.storage_error is None, "the run waits as long as the driver would"
    monkeypatch.setattr(store_away, "patience", lambda: 0.0)
    taken = queue.take()
    assert taken is not None
    queue.give_back(taken[0], away("node0"))
    assert isinstance(queue.storage_error, StoreAwayError)
    assert queue.finished
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == ["node0", "node1"], "once each"
    assert list(store.keys("trials/")) == [], "nothing is recorded as failed"


def test_one_machine_that_reaches_it_keeps_the_run_going(queue: TrialQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_away, "patience", lambda: 0.0)
    for _ in range(2 * FALSE_STARTS):
        taken = queue.take()
        assert taken is not None
        queue.give_back(taken[0], away("node"))
        taken = queue.take()
        assert taken is not None
        queue.record(taken[0], {"epoch": 1})
        queue.give_back(taken[0], away("node"))
    assert queue.storage_error is None


@pytest.mark.parametrize(
    ("here", "given", "then"),
    [
        ({}, {"AWS_ACCESS_KEY_ID": "a", "AWS_ENDPOINT_URL": "e"}, {"AWS_ACCESS_KEY_ID": "a", "AWS_ENDPOINT_URL": "e"}),
        ({"AWS_ENDPOINT_URL_S3": "own"}, {"AWS_ENDPOINT_URL": "e"}, {"AWS_ENDPOINT_URL_S3": "own"}),
        ({"AWS_REGION": "own"}, {"AWS_DEFAULT_REGION": "r"}, {"AWS_REGION": "own"}),
        (
            {"AWS_ACCESS_KEY_ID": "old", "AWS_SESSION_TOKEN": "of old"},
            {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"},
            {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"},
        ),
        ({"AWS_ACCESS_KEY_ID": "own"}, {}, {"AWS_ACCESS_KEY_ID": "own"}),
    ],
)
def test_what_a_machine_sets_itself(
    aws: pytest.MonkeyPatch, here: dict[str, str], given: dict[str, str], then: dict[str, str]
) -> None:
    for name in (*store_access.KEYS, *store_access.ENDPOINTS, *store_access.REGIONS):
        aws.delenv(name, raising=False)
    for name, value in here.items():
        aws.setenv(name, value)
    store_access.take(given)
    assert store_access.of_driver() == then
    assert "secret" not in repr(WorkerOptions("s3://a/b", "", "", store_access={"AWS_SECRET_ACCESS_KEY": "secret"}))


@pytest.mark.ray
@pytest.mark.slow  # the test below covers the trials of one process
def test_every_worker_of_a_group_gets_them(
    planned: Planned, data_root: Path, moto: Server, aws: pytest.MonkeyPatch, ray_address: str
) -> None:
    """All of them open the store, not only the first one, which trains through the same function as one process."""
    aws.setenv("AWS_ENDPOINT_URL", moto.url)
    plan, there = planned("epochs=1", text=TWO), open_store(address("group"))
    run(plan, there, data_root, ray_address)
    assert len(histories(plan, there)) == 1
    open_cached.cache_clear()


@pytest.mark.ray
def test_the_processes_of_a_cluster_get_keys_and_server_and_ray_shows_them_nowhere(
    planned: Planned,
    tmp_path: Path,
    data_root: Path,
    moto: Server,
    aws: pytest.MonkeyPatch,
    ray_cluster: Any,
    ray_address: str,
) -> None:
    """The shared Ray has no AWS variable: it was started before this test set them."""
    aws.setenv("AWS_ENDPOINT_URL", moto.url)
    plan, there = planned(*FEW), open_store(address("keys"))
    run(plan, there, data_root, ray_address)
    stored = stored_plans.newest_plan(there, "small")
    assert stored is not None
    assert {state.state for state in progress.trial_states(there, stored).values()} == {"done"}
    here = FolderStore(tmp_path / "here")
    run(plan, here, data_root)
    assert histories(plan, there) == histories(plan, here)
    logs = Path(ray_cluster.head_node.get_session_dir_path()) / "logs"
    files = [file for file in logs.rglob("*") if file.is_file()]
    assert any(file.name.startswith("runtime_env_agent") for file in files)
    assert not [file.name for file in files if SECRET.encode() in file.read_bytes()]
    open_cached.cache_clear()
