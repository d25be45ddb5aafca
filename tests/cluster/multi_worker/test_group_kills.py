"""A trial with two workers on two nodes loses nothing, whatever is killed: real nodes, SIGKILLs, real command."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.multi_worker.groups import DRIVER_RESOURCE
from sweeps.store import attempts as stored_attempts
from sweeps.store import layout
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from tests.cluster.driven import DriverProcess, workplace
from tests.cluster.multi_worker.test_groups import TWO
from tests.cluster.small import Planned, histories, run

EPOCHS = 60
SWEEP = TWO + "arms:\n  - {name: second, set: {optimiser.lr: 0.011}}\n"
ELASTIC = TWO.replace("{workers: 2}", "{workers: {min: 1, max: 2}}").replace("epochs: 4", f"epochs: {EPOCHS}")
ENDS_S = 240


class Nodes:
    """A head without CPUs and two nodes with one CPU each; the first one is for drivers."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self._drivers, self._other = self._add_drivers(), self._add_other()

    def _add_drivers(self) -> Any:
        return self._cluster.add_node(num_cpus=1, resources={DRIVER_RESOURCE: 1})

    def _add_other(self) -> Any:
        return self._cluster.add_node(num_cpus=1)

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def kill_other(self, replace: bool = True) -> None:
        self._cluster.remove_node(self._other, allow_graceful=False)
        if replace:
            self._other = self._add_other()

    def kill_drivers(self) -> None:
        self._cluster.remove_node(self._drivers, allow_graceful=False)
        self._drivers = self._add_drivers()

    def kill_all(self) -> None:
        """Kill the cluster, head first, and start a new one at another address."""
        self._cluster.remove_node(self._cluster.head_node, allow_graceful=False)
        for node in list(self._cluster.worker_nodes):
            self._cluster.remove_node(node, allow_graceful=False)
        self._start()

    def end(self) -> None:
        self._cluster.shutdown()


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    found = Nodes()
    yield found
    found.end()


Start = Callable[[], DriverProcess]


@contextlib.contextmanager
def command(nodes: Nodes, store: Store, file: Path, data_root: Path) -> Iterator[Start]:
    """Starts the command, repeatedly; it saves a checkpoint after each epoch."""
    with workplace() as start:
        yield lambda: start(
            store, "run", file, "--address", nodes.address, "--data", data_root, "--checkpoint-every", 0
        )


def leader(store: Store, trial_id: str) -> int:
    """The process that last claimed the trial."""
    attempt = stored_attempts.newest_attempt(store, trial_id)
    assert attempt is not None
    claim = layout.get_json(store, attempt.key("attempts", f"{attempt.number:04d}.json"))
    return int(claim["process"]["pid"])


def until_it_trains(driven: DriverProcess) -> str:
    """The trial that has finished three epochs in this command and is far from its end."""
    assert driven.until(lambda: any(epoch >= 3 for _, _, epoch in driven.new_epochs())), driven.output_text()
    trial_id, _, epoch = max(driven.new_epochs(), key=lambda found: found[2])
    assert epoch < EPOCHS / 2
    return trial_id


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    """The records of the undisturbed sweep; filled by the first test that needs them."""
    return {}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("what", ["worker", "node", "driver", "head"])
def test_a_trial_of_two_workers_survives(
    what: str, planned: Planned, tmp_path: Path, data_root: Path, nodes: Nodes, undisturbed: dict[str, Any]
) -> None:
    store = FolderStore(tmp_path / "store")
    plan = planned(f"epochs={EPOCHS}", text=SWEEP)
    (tmp_path / "killed.yaml").write_text(SWEEP.replace("epochs: 4", f"epochs: {EPOCHS}"))
    with command(nodes, store, tmp_path / "killed.yaml", data_root) as start:
        driven = start()
        trial_id = until_it_trains(driven)
        killed_at = time.monotonic()
        if what == "worker":
            os.kill(leader(store, trial_id), signal.SIGKILL)
        elif what == "node":
            nodes.kill_other()
        elif what == "driver":
            driven.process.kill()
            nodes.kill_drivers()
        else:
            nodes.kill_all()
        if what in ("driver", "head"):
            assert driven.wait(60) != 0
            if what == "head":
                said = driven.output_text()
                assert "the same command goes on" in said, said
                assert "StackTrace" not in said, said
            driven = start()
        assert driven.wait(ENDS_S) == 0, driven.output_text()
        assert "[state-dump]" not in driven.output_text(), "it is in the file that is named"
    print(f"{what}: from the kill to the sweep's end {time.monotonic() - killed_at:.0f} s")
    assert len(stored_attempts.attempt_numbers(store, trial_id)) == 2
    found = histories(plan, store)
    assert [len(rows) for rows in found.values()] == [EPOCHS, EPOCHS]
    assert [row["epoch"] for row in next(iter(found.values()))] == list(range(1, EPOCHS + 1))
    if not undisturbed:
        whole = FolderStore(tmp_path / "whole")
        run(plan, whole, data_root, nodes.address)
        undisturbed.update(histories(plan, whole))
    assert found == undisturbed, "the same numbers, to the last bit"


@pytest.mark.ray
@pytest.mark.slow
def test_elastic_workers_start_again_soon_after_the_driver_was_killed(
    tmp_path: Path, data_root: Path, nodes: Nodes
) -> None:
    """Ray keeps the request of the killed run for three minutes, in which it offered its resources to nobody."""
    store = FolderStore(tmp_path / "store")
    (tmp_path / "elastic.yaml").write_text(ELASTIC)
    took = []
    with command(nodes, store, tmp_path / "elastic.yaml", data_root) as start:
        for _ in range(2):
            began, driven = time.monotonic(), start()
            assert driven.until(driven.new_epochs), driven.output_text()
            took.append(time.monotonic() - began)
            driven.process.kill()
    print(f"first epoch after {took[0]:.0f} s; after SIGKILL of the driver, after {took[1]:.0f} s")
    assert took[1] < max(45, 1.5 * took[0])


@pytest.mark.ray
@pytest.mark.slow
def test_elastic_workers_go_on_with_one_and_keep_the_batch(
    planned: Planned, tmp_path: Path, data_root: Path, nodes: Nodes
) -> None:
    here, store = FolderStore(tmp_path / "here"), FolderStore(tmp_path / "store")
    plan = planned(text=ELASTIC)
    (tmp_path / "elastic.yaml").write_text(ELASTIC)
    with command(nodes, store, tmp_path / "elastic.yaml", data_root) as start:
        driven = start()
        trial_id = until_it_trains(driven)
        killed_at = time.monotonic()
        nodes.kill_other(replace=False)
        assert driven.wait(ENDS_S) == 0, driven.output_text()
    print(f"elastic: from the kill to the sweep's end {time.monotonic() - killed_at:.0f} s")
    keys = [
        f"trials/{trial_id}/attempts/{number:04d}.json" for number in stored_attempts.attempt_numbers(store, trial_id)
    ]
    sizes = [layout.get_json(store, key)["provenance"].get("workers", 1) for key in keys]
    assert sizes == [2, 1]
    run(plan, here, data_root)
    found, alone = histories(plan, store), histories(plan, here)
    assert found.keys() == alone.keys()
    for label, rows in found.items():
        assert len(rows) == EPOCHS
        for row, other in zip(rows, alone[label], strict=True):
            assert row == pytest.approx(other, rel=1e-3)
