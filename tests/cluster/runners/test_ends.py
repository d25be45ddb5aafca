"""Ends on request: Ctrl-C once and twice, `sweeps stop`, a time budget, too many failures.

Exit codes: 130 after Ctrl-C, 143 after SIGTERM, once or twice; 1 if trials are left or have failed; 0 if all are done.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from cluster.driver.driver import write
from cluster.worker.store_session import Heartbeat
from cluster.worker.worker import STOPPED, WorkerOptions, run_trial
from sweeps.cli import common
from sweeps.cli.main import main
from sweeps.holders import this_process
from sweeps.run_options import DEADLINE, RunOptions
from sweeps.store import attempts as stored_attempts
from sweeps.store import checkpoints, layout
from sweeps.store.local import FolderStore
from tests.cluster.driven import DriverProcess, workplace
from tests.cluster.small import LONGER, Planned

LONG = LONGER.replace("epochs: 3", "epochs: 400").replace("test_epochs: [1]", "test_epochs: []")
"""Three trials, of which two train far longer than these tests wait."""
SHORT = ("--set", "epochs=2", "--replace")
"""Ends them: a trial beyond its target epoch is evaluated at once, from a checkpoint or after a new start."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(LONG)
    return file


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def ends(store: FolderStore) -> list[str]:
    """How the newest attempts of the started trials ended; '-' if an attempt has no recorded end."""
    newest = [stored_attempts.newest_attempt(store, trial_id) for trial_id in store.children("trials")]
    bodies = [layout.get_json(store, attempt.end_key) for attempt in newest if attempt]
    return sorted(body["state"] if body else "-" for body in bodies)


def last_epochs(store: FolderStore) -> dict[str, int]:
    """Trial id -> epoch of the checkpoint from which it would resume."""
    found = {trial_id: checkpoints.checkpoints(store, trial_id) for trial_id in store.children("trials")}
    return {trial_id: saved[-1][1] for trial_id, saved in found.items() if saved}


def here(store: FolderStore) -> tuple[str, ...]:
    """Makes the command run in this process, because starting one with torch costs seconds."""
    return ("--store", store.uri, "--address", "in-process")


def trained(driven: DriverProcess, trials: int = 1) -> None:
    """Wait until this many trials have reported an epoch in their heartbeats, which come every five seconds."""

    def told() -> bool:
        newest = [
            stored_attempts.newest_attempt(driven.store, trial_id) for trial_id in driven.store.children("trials")
        ]
        bodies = [layout.get_json(driven.store, attempt.beat_key) for attempt in newest if attempt]
        return sum(bool(body and body["epoch"] >= 1) for body in bodies) >= trials

    assert driven.until(told), driven.output_text()


@pytest.mark.slow
def test_ctrl_c_twice_ends_at_once(file: Path, store: FolderStore, ray_address: str) -> None:
    """Long before the next heartbeat would have stopped the trials."""
    with workplace() as start:
        driven = start(store, "run", file, "--address", ray_address)
        trained(driven, 2)
        driven.interrupt()
        assert driven.until(lambda: "Ctrl-C again" in driven.output_text())
        asked = time.monotonic()
        driven.interrupt()
        assert driven.wait(60) == common.INTERRUPTED, driven.output_text()
        assert time.monotonic() - asked < 10
        assert "Traceback" not in driven.output_text()
    assert main(["run", str(file), *SHORT, *here(store)]) == common.DONE


@pytest.mark.parametrize(
    ("number", "again", "code"),
    [
        pytest.param(signal.SIGINT, "press Ctrl-C again", common.INTERRUPTED, marks=pytest.mark.slow),
        (signal.SIGTERM, "SIGTERM again", common.TERMINATED),
    ],
)
def test_a_second_signal_ends_at_once(file: Path, store: FolderStore, number: int, again: str, code: int) -> None:
    """Both signals: the first one stops after the current epochs, as `test_own_ray` shows."""
    with workplace() as start:
        driven = start(store, "run", file, "--address", "in-process")
        trained(driven)
        driven.interrupt(number)
        assert driven.until(lambda: f"{again} to stop at once" in driven.output_text())
        asked = time.monotonic()
        driven.interrupt(number)
        assert driven.wait(60) == code, driven.output_text()
        assert time.monotonic() - asked < 10
        assert "Traceback" not in driven.output_text()
        assert "Run the same command again" in driven.output_text()
    assert ends(store) == ["done", "stopped"], "the fill comes first"


def test_stop_and_resume(file: Path, store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    """The request is seen with a heartbeat, within five seconds, in which a fast machine trains 40 epochs."""
    with workplace() as start:
        few = ("--set", "epochs=120", "--set", "arms=[]", "--address", "in-process")
        driven = start(store, "run", file, *few, "--checkpoint-every", 0)
        assert driven.until(driven.new_epochs), driven.output_text()
        assert main(["stop", "small", "--store", store.uri]) == common.DONE
        assert f"continue with: sweeps resume small --store {store.uri}" in capsys.readouterr().out
        assert driven.wait(120) == common.FAILED, driven.output_text()
        assert "stop requested: stopping after the current epochs" in driven.output_text()
        assert "1 interrupted" in driven.output_text()
        assert ends(store) == ["stopped"]
        (epoch,) = last_epochs(store).values()
    assert main(["resume", "small", *here(store)]) == common.DONE
    assert "1 done" in capsys.readouterr().out
    assert 1 <= epoch < 120


def test_a_time_budget_is_kept_to_within_an_epoch(
    file: Path, store: FolderStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a heartbeat, which looks for stop requests every few seconds: the trial itself knows the deadline."""
    monkeypatch.setattr(Heartbeat, "EVERY_S", 1e6)
    began = time.time()
    assert main(["run", str(file), "--time-budget", "3s", *here(store)]) == common.FAILED
    assert "the time budget is used up: stopping after the current epochs" in capsys.readouterr().err
    assert ends(store) in (["done", "stopped"], ["done"]), "a trial that would begin too late does not begin"
    for trial_id, epoch in last_epochs(store).items():
        attempt = stored_attempts.newest_attempt(store, trial_id)
        assert attempt is not None
        assert "the time budget is used up" in stored_attempts.read_log(store, attempt)
        assert epoch < 400
    assert time.time() - began < 60


@pytest.mark.slow
def test_a_time_budget_is_kept_on_ray(file: Path, store: FolderStore, ray_address: str) -> None:
    began = time.time()
    start = ["run", str(file), "--time-budget", "20s", "--store", store.uri, "--address", ray_address]
    assert main(start) == common.FAILED
    taken = time.time() - began
    epochs = [
        seconds
        for trial_id in store.children("trials")
        for row in checkpoints.checkpoint_history(store, trial_id, 400)
        for seconds in [row["sys/time_s"]]
    ]
    assert taken < 20 + max(epochs, default=0.0) + 15, "an epoch, a checkpoint, and the end of the processes"
    assert all(epoch < 400 for epoch in last_epochs(store).values())


def test_nothing_starts_without_time(
    file: Path, store: FolderStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a Ray, which takes longer than a budget that is nearly used up, nor a trial."""
    monkeypatch.setattr("cluster.connection.connection.connect", _not_wanted)
    start = ["run", str(file), "--time-budget", "0.001s", "--store", store.uri]
    assert main([*start, "--address", "local"]) == common.FAILED
    assert "the time budget is used up" in capsys.readouterr().err
    assert ends(store) == []
    late = WorkerOptions(store.uri, "small", "run", deadline=time.time())
    assert run_trial(late, "trial", 3, 0, _not_wanted) == STOPPED


def _not_wanted(*_: object) -> None:
    raise AssertionError("the time was used up before")


def test_dependencies_and_a_restart_share_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    options = RunOptions(time_budget_s=60.0).started()
    assert options.deadline == pytest.approx(time.time() + 60, abs=5)
    assert options.started() is options, "a dependency takes its time from the same budget"
    assert not options.out_of_time
    monkeypatch.setenv(DEADLINE, str(time.time() - 1))
    assert RunOptions(time_budget_s=60.0).started().out_of_time, "the command was started again by its own watch"


def test_too_many_failures_end_gracefully(file: Path, store: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    diverging = ("--set", "optimiser={name: sgd, lr: 1.0e+30}", "--stop-after-failures", "1")
    assert main(["run", str(file), *diverging, *here(store)]) == common.FAILED
    said = capsys.readouterr()
    assert "1 failed, 1 queued, 1 done" in said.out, "the fill runs first"
    assert "failed trials: 1 (--stop-after-failures)" in said.err


@pytest.mark.ray
def test_stop_is_seen_while_another_driver_has_all_trials(
    planned: Planned, file: Path, store: FolderStore, ray_address: str
) -> None:
    """Tune then has no trial, and waits for one without any step."""
    plan = planned("arms=[]", text=LONG)
    write(plan, store, ())
    ((trial, _),) = plan.runs()
    claim = {"claimed_at": time.time(), "process": this_process(), "provenance": {}}
    assert stored_attempts.claim(store, trial.id, 0, claim) is not None
    with workplace() as start:
        driven = start(store, "run", file, "--set", "arms=[]", "--address", ray_address)
        assert driven.until(lambda: "waiting for" in driven.output_text()), driven.output_text()
        assert "1 trial that another driver runs or has left: base · seed 0" in driven.output_text()
        assert main(["stop", "small", "--store", store.uri]) == common.DONE
        assert driven.wait(60) == common.FAILED, driven.output_text()
        assert "stop requested" in driven.output_text()
