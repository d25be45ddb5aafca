"""Checkpoints go to the store while the next epoch trains: one at a time, complete, abandoned if the trial is ended."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.connection import waiting
from cluster.driver import driver
from cluster.worker import trial_data
from cluster.worker import uploads as uploading
from cluster.worker.storage_errors import away_error
from cluster.worker.store_session import Heartbeat, StoreSession
from cluster.worker.trial_data import ExpectedData
from cluster.worker.uploads import LEAVE_S, Uploads
from cluster.worker.worker import DONE, WorkerOptions, run_trial
from sweeps.cli.main import main
from sweeps.errors import StoreError
from sweeps.store import attempts as stored_attempts
from sweeps.store import checkpoints, layout
from sweeps.store import trials as stored_trials
from sweeps.store.base import TEMPORARY, Abandoned, Store
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store
from sweeps.store.s3 import client as s3_client
from tests.cluster.small import SMALL, Planned, histories, run
from tests.proxy import Proxy, Request
from tests.s3servers import address
from trainables.training.session import Goal, Machine, Row

SLOW_S = 0.4
FILL = "mean fill, set: {model: {name: mean_fill}}"
WIDER = "wider, set: {model: {name: vanilla_autoencoder, width: 12}}"


class Ended(BaseException):
    """Stands in for the SystemExit that Tune raises inside a report."""


@pytest.fixture
def far(proxy: Proxy) -> Store:
    """A store on S3 where uploads of weights are slow."""

    def slow(request: Request) -> None:
        if request.method == "PUT" and request.path.partition("?")[0].endswith(".pt"):
            time.sleep(SLOW_S)

    proxy.fault = slow
    return open_store(address())


def attempt_of(store: Store, trial_id: str, epochs: int, data_root: Path, report: Callable[[Row], None]) -> str:
    options = WorkerOptions(store.uri, "small", "run", data_root=str(data_root), checkpoint_s=0)
    return run_trial(options, trial_id, epochs, len(stored_attempts.attempt_numbers(store, trial_id)), report)


def written(proxy: Proxy) -> list[str]:
    """What was written, in the order of the requests: `checkpoint/1/state.pt`, `result/3.json`."""
    paths = [request.path.partition("?")[0].split("/") for request in proxy.requests if request.method == "PUT"]
    found = []
    for parts in paths:
        if "checkpoint" in parts:
            found.append("/".join(["checkpoint", *parts[parts.index("checkpoint") + 2 :]]))
        elif "result" in parts:
            found.append("/".join(parts[parts.index("result") :]))
    return found


def test_an_upload_overlaps_with_training_and_is_whole_before_the_result(
    planned: Planned, tmp_path: Path, data_root: Path, far: Store, proxy: Proxy
) -> None:
    plan = planned("arms=[]", "report.test_epochs=[]")
    trial = plan.runs()[0][0]
    stored_trials.write_trials(far, [trial])
    seen: list[int] = []

    def report(row: Row) -> None:
        seen.append(len(checkpoints.checkpoints(far, trial.id)) if row["epoch"] == 1 else -1)

    assert attempt_of(far, trial.id, 3, data_root, report) == DONE
    assert seen[0] == 0, "the first epoch was told before its checkpoint was in the store"
    weights = [name for name in written(proxy) if "best" not in name]
    pairs = [f"checkpoint/{epoch}/{name}" for epoch in (1, 2, 3) for name in ("state.pt", "manifest.json")]
    assert weights == [*pairs, "result/3.json"], "one checkpoint at a time, its manifest last, the result after all"
    near = FolderStore(tmp_path / "near")
    run(plan, near, data_root)
    assert histories(plan, far) == histories(plan, near)


def test_a_trial_that_is_ended_gives_up_its_upload_at_once(
    planned: Planned, data_root: Path, far: Store, proxy: Proxy
) -> None:
    plan = planned("arms=[]", "report.test_epochs=[]")
    trial = plan.runs()[0][0]
    stored_trials.write_trials(far, [trial])
    proxy.fault = lambda request: time.sleep(3) if request.method == "PUT" and ".pt" in request.path else None
    ended = 0.0

    def report(_: Row) -> None:
        nonlocal ended
        ended = time.monotonic()
        raise Ended

    with pytest.raises(Ended):
        attempt_of(far, trial.id, 3, data_root, report)
    assert time.monotonic() - ended < 0.5
    time.sleep(3.2)
    assert checkpoints.checkpoints(far, trial.id) == [], "what was on its way has no manifest"
    newest = stored_attempts.newest_attempt(far, trial.id)
    assert newest is not None
    assert layout.get_json(far, newest.end_key)["state"] == "stopped"


def test_a_trial_leaves_at_once_though_the_store_is_away(
    planned: Planned, data_root: Path, far: Store, proxy: Proxy
) -> None:
    trial = planned("arms=[]").runs()[0][0]
    stored_trials.write_trials(far, [trial])
    ended = 0.0

    def report(_: Row) -> None:
        nonlocal ended
        proxy.away = True
        ended = time.monotonic()
        raise Ended

    with pytest.raises(Ended):
        attempt_of(far, trial.id, 3, data_root, report)
    assert time.monotonic() - ended < LEAVE_S + 0.1
    proxy.away = False


@pytest.mark.slow  # test_outages.py: the same by a whole sweep
def test_an_attempt_ends_where_the_store_stays_away_and_goes_on_later(
    planned: Planned, tmp_path: Path, data_root: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial is not at fault: it has not failed, and it is not done either."""
    monkeypatch.setattr(s3_client, "PATIENCE_S", 1.0)
    hasty = address()  # a store that is not in a process-wide cache
    plan = planned("arms=[]", "report.test_epochs=[]")
    trial = plan.runs()[0][0]
    stored_trials.write_trials(open_store(hasty), [trial])

    def report(row: Row) -> None:
        proxy.away = row["epoch"] == 2

    error = away_error(attempt_of(open_store(hasty), trial.id, 3, data_root, report))
    assert error is not None
    assert hasty in error.given
    proxy.away = False
    assert layout.get_json(open_store(hasty), layout.result_key(trial.id, 3)) is None
    rows: list[Row] = []
    assert attempt_of(open_store(hasty), trial.id, 3, data_root, rows.append) == DONE
    assert rows[0]["epoch"] in (2, 3), "it went on from a checkpoint"
    near = FolderStore(tmp_path / "near")
    run(plan, near, data_root)
    assert histories(plan, open_store(hasty)) == histories(plan, near)


class Timed(StoreSession):
    """A session whose clock is set by the test."""

    now_s = 0.0

    def clock(self) -> float:
        return self.now_s


def timed(store: Store, checkpoint_s: float) -> Timed:
    claim = {"claimed_at": 0.0, "provenance": {}}
    attempt = stored_attempts.claim(store, "0" * 16, 0, claim)
    assert attempt is not None
    return Timed(store, attempt, Goal(9), Machine(), claim, checkpoint_s, lambda row: None)


def test_training_does_not_wait_where_checkpoints_are_by_time(tmp_path: Path) -> None:
    """An upload that takes longer than the time between checkpoints costs a checkpoint, not training."""
    session = timed(FolderStore(tmp_path), 1.0)
    session.now_s = 1.0
    hold = threading.Event()
    assert session.wants_checkpoint()
    session._uploads.add(lambda _: hold.wait(5) and None)
    assert not session.wants_checkpoint()
    session._checkpoint_s = 0
    assert session.wants_checkpoint(), "every epoch's was asked for"
    hold.set()


def test_checkpoints_that_take_long_to_make_are_made_less_often(tmp_path: Path) -> None:
    session = timed(FolderStore(tmp_path), 20.0)
    wanted = []
    for second in range(1, 220):
        session.now_s += 1.0
        if session.wants_checkpoint():
            wanted.append(second)
            session.now_s += 0.125 if second < 100 else 0.5  # to read the state and serialise it
            session.save(second, {"state.pt": b""})
            session._uploads.wait()
    assert wanted == [20, 40, 60, 80, 100, 150, 200]
    session._checkpoint_s = 0
    assert session.wants_checkpoint(), "every epoch's was asked for"


def test_a_long_upload_is_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "_LOOK_S", 0.02)
    monkeypatch.setattr(waiting, "FIRST_S", 0.05)
    monkeypatch.setattr(waiting, "EVERY_S", 0.15)
    said: list[str] = []
    uploads = Uploads(said.append)
    uploads.add(lambda _: time.sleep(0.4), "trial 1 uploads its checkpoint after epoch 3")
    uploads.wait()
    uploads.wait()
    assert 2 <= len(said) <= 3, said
    assert all(line == "waiting for 0 s: trial 1 uploads its checkpoint after epoch 3" for line in said)


def test_writes_are_in_order_and_an_error_reaches_the_trial() -> None:
    uploads, done = Uploads(), list[int]()

    def write(number: int, error: Exception | None = None) -> Callable[[Callable[[], bool]], None]:
        def act(_: Callable[[], bool]) -> None:
            time.sleep(0.01)
            done.append(number)
            if error:
                raise error

        return act

    for number in range(5):
        uploads.add(write(number))
    uploads.wait()
    assert done == [0, 1, 2, 3, 4]
    uploads.add(write(5, StoreError("given", "why", "allowed", "fix")))
    uploads.add(write(6))
    with pytest.raises(StoreError):
        uploads.wait()
    assert done == [0, 1, 2, 3, 4, 5], "nothing is written after an error"
    with pytest.raises(StoreError):
        uploads.add(write(7))


def test_abandoned_uploads_write_nothing_more() -> None:
    uploads, done, begun = Uploads(), list[str](), threading.Event()

    def long(abandoned: Callable[[], bool]) -> None:
        begun.set()
        while not abandoned():
            time.sleep(0.01)
        done.append("given up")
        raise Abandoned

    uploads.add(long)
    uploads.add(lambda _: done.append("next"))
    begun.wait()
    uploads.abandon()
    uploads.wait()
    assert done == ["given up"]


def test_the_requests_of_a_trial(
    planned: Planned, data_root: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 or 5 for each checkpoint, here one after every epoch; 1 for the pictures of an epoch; 8 for the trial itself.

    Those are the claim, the trial, the values of the test images, a heartbeat, a look at attempts, the result, the log
    and the end. Further heartbeats come with time. The driver adds two: whether there is a result, or an attempt.
    """
    monkeypatch.setattr(Heartbeat, "EVERY_S", 3600.0)
    epochs = 32
    small = ("data.train=16", "data.val=8", "data.test=8", "batch=16")
    trial = planned("arms=[]", "report.test_epochs=[]", f"epochs={epochs}", *small).runs()[0][0]
    store = open_store(address())
    stored_trials.write_trials(store, [trial])
    data = trial_data.check(store, ExpectedData("small"), trial.to_json(), Machine(data_root=data_root))
    options = WorkerOptions(store.uri, "small", "run", data_root=str(data_root), checkpoint_s=0, data=data)
    proxy.requests.clear()
    assert run_trial(options, trial.id, epochs, 0, lambda row: None) == DONE
    asked = [request for request in proxy.requests if TEMPORARY not in request.path]  # a probe once for each process
    kinds = Counter(
        "checkpoint"
        if request.method == "POST"
        or "checkpoint" in request.path
        or ("prefix" in request.path and "attempts" in request.path)
        else "pictures"
        if "samples" in request.path
        else "trial"
        for request in asked
    )
    print(f"{len(asked) / epochs:.1f} requests an epoch: {kinds}")
    beat = next(layout.load(key, store.get(key)) for key in store.keys("trials/") if key.endswith(".beat.json"))
    assert 0 < beat["load"]["cpus"] < 64
    assert kinds["pictures"] == 6 + 1, "after epochs 1, 2, 4, 8, 16 and 32, and the values of the test images"
    assert kinds["checkpoint"] <= 4.6 * epochs + 1, "with the look at attempts before the result"
    assert kinds["trial"] <= 6
    assert len(asked) <= 5.5 * epochs


@pytest.mark.slow
def test_nine_trials_of_24_epochs_cost_half_of_the_requests_of_older_versions(
    data_root: Path, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command, in one process: older versions made 519 requests, and 158 that came with time in 148 s."""
    monkeypatch.setattr(Heartbeat, "EVERY_S", 3600.0)
    monkeypatch.setattr(driver, "LOOK_EVERY_S", 3600.0)
    file = tmp_path / "small.yaml"
    file.write_text(SMALL.replace("epochs: 3", "epochs: 24").replace("seeds: 1", "seeds: 3").replace(FILL, WIDER))
    places = ("--store", address(), "--data", str(data_root), "--address", "in-process")
    assert main(["run", str(file), *places, "--quiet", "--checkpoint-every", "3600"]) == 0
    print(len(proxy.requests), "requests")
    assert len(proxy.requests) <= 519 / 2
