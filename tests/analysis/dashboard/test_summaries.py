"""The list of sweeps: what it reads from the store before it is shown, and what it computes afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from analysis.dashboard.data.reader import Reader
from analysis.dashboard.data.summaries import Summaries
from analysis.dashboard.data.sweep_line import SweepLine
from sweeps.errors import StoreAwayError
from sweeps.parallel import parallel_map
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store
from tests.analysis import make_store
from tests.analysis.make_store import ArmSpec
from tests.proxy import proxy_to
from tests.s3servers import Server, address


class GatedStore(FolderStore):
    """A store that answers questions about results only once that is allowed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.allowed = threading.Event()
        self.refusal: Exception | None = None

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        self.allowed.wait(20)
        if self.refusal is not None:
            raise self.refusal
        return super().exists_many(keys)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """A finished sweep, and one with failed and running trials."""
    make_store.make_store(tmp_path / "store", arms=[ArmSpec("base", 25.0)], seeds=range(2), name="over", claims=[])
    return make_store.make_store(tmp_path / "store", seeds=range(8), name="open")


def wait_for_lines(summaries: Summaries, met: Callable[[dict[str, SweepLine]], bool]) -> dict[str, SweepLine]:
    """Wait until a condition on the lines is met. Returns the lines by name."""
    deadline = time.monotonic() + 20
    while not met(lines := {line.name: line for line in summaries.lines()}):
        assert time.monotonic() < deadline, lines
        time.sleep(0.05)
    return lines


def complete(lines: dict[str, SweepLine]) -> bool:
    return all(line.known and line.summary for line in lines.values())


def test_the_list_is_shown_before_states_are_known(store: FolderStore) -> None:
    slow = GatedStore(store.root)
    summaries = Summaries(Reader(slow))
    assert [(line.name, line.known, line.state) for line in summaries.lines()] == [
        ("open", False, ""),
        ("over", False, ""),
    ]
    slow.allowed.set()
    lines = wait_for_lines(summaries, complete)
    assert lines["over"].state == "done"
    assert lines["open"].states["failed"] == 1
    assert lines["open"].total == sum(lines["open"].states.values()) == 18


def test_an_error_in_the_thread_reaches_the_page(store: FolderStore) -> None:
    slow = GatedStore(store.root)
    slow.refusal = StoreAwayError("store", "it is broken", "a whole one", "mend it")
    slow.allowed.set()
    summaries = Summaries(Reader(slow))
    with pytest.raises(StoreAwayError, match="broken"):
        wait_for_lines(summaries, lambda _: False)
    slow.refusal = None
    wait_for_lines(summaries, complete)


def test_a_deleted_summary_is_computed_again(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run --replace` trains finished trials again."""
    for module in ("summaries", "trial_counts"):
        monkeypatch.setattr(f"analysis.dashboard.data.{module}.FRESH_S", 0.05)
    summaries, key = Summaries(Reader(store)), layout.summary_key("over")
    wait_for_lines(summaries, lambda lines: complete(lines) and layout.get_json(store, key) is not None)
    wait_for_lines(summaries, lambda _: summaries._summaries["over"][0] != "")  # it has read its own summary back
    result = next(k for k in store.keys("trials/") if "/result/" in k and _is_of(store, k, "over"))
    store.delete([result, key])
    lines = wait_for_lines(summaries, lambda lines: lines["over"].states["done"] == 1)
    assert lines["over"].state != "done"


def _is_of(store: FolderStore, key: str, name: str) -> bool:
    plan = stored_plans.newest_plan(store, name)
    assert plan is not None
    return any(t["id"] == key.split("/")[1] for arm in plan["arms"] for t in arm["trials"].values())


def test_on_s3_the_list_of_finished_sweeps_reads_no_trial(
    tmp_path: Path, moto: Server, aws: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store"
    for number in (0, 2, 4):
        seeds = range(number, number + 2)
        make_store.make_store(folder, arms=[ArmSpec("base", 25.0)], seeds=seeds, name=f"sweep-{number}", claims=[])
    here = FolderStore(folder)
    wait_for_lines(
        Summaries(Reader(here)), lambda lines: complete(lines) and len(list(folder.rglob("summary.json"))) == 3
    )
    aws.setenv("AWS_ENDPOINT_URL", moto.url)
    there = open_store(address("list"))
    parallel_map(lambda key: there.put(key, here.get(key)), list(here.keys("")), 8)
    with proxy_to(moto.port) as proxy:
        aws.setenv("AWS_ENDPOINT_URL", proxy.url)
        lines = {line.name: line for line in Summaries(Reader(open_store(there.uri))).lines()}
    assert len(lines) == 3
    assert complete(lines)
    assert not any("trials" in request.path for request in proxy.requests)
    assert len(proxy.requests) == 2 + 3, "names, a listing, and a summary each"


def test_a_single_arm_without_results_has_no_figure(tmp_path: Path) -> None:
    arms = [ArmSpec("base", 25.0, states={0: "failed"})]
    store = make_store.make_store(tmp_path / "store", arms=arms, seeds=range(1), name="open", claims=[])
    summary = wait_for_lines(Summaries(Reader(store)), complete)["open"].summary
    assert summary is not None
    assert (summary.best_arm, summary.best, summary.value) == ("", "", None)


def test_an_extended_sweep_keeps_its_best_arm_and_its_cost(store: FolderStore) -> None:
    before = wait_for_lines(Summaries(Reader(store)), complete)["over"]
    plan = stored_plans.require_plan(store, "over")
    for trial in plan["arms"][0]["trials"].values():
        trial["epochs"] = 2 * make_store.EPOCHS
    stored_plans.write_plan(store, "over", plan, "name: over\n", time.time())
    line = wait_for_lines(Summaries(Reader(store)), complete)["over"]
    assert (line.state, line.states["to be extended"]) == ("to be extended", 2)
    assert before.summary is not None
    assert line.summary is not None
    assert before.summary.best_arm == line.summary.best_arm == "base", "the only arm"
    assert line.summary.best == f"{before.summary.best} (with fewer epochs)"
    assert line.summary.seconds == before.summary.seconds > 0
    states = Reader(store).states("over")
    assert {(one.epoch, one.words(2 * make_store.EPOCHS)) for one in states.values()} == {(20, "to be extended")}
