"""An attempt's log: what it contains, how long it gets, and that it never fails a trial."""

from __future__ import annotations

import logging
import threading
import warnings
from pathlib import Path

import pytest

from cluster.worker import worker
from cluster.worker.attempt_log import HEAD_BYTES, TAIL_BYTES, AttemptLog, WarningCapture
from sweeps.cli import trial_tables
from sweeps.errors import StoreError
from sweeps.store import attempts as stored_attempts
from sweeps.store import trials as stored_trials
from sweeps.store.attempts import Attempt
from sweeps.store.local import FolderStore
from tests.cluster.small import Planned

ATTEMPT = Attempt("0123456789abcdef", 1, "aaaaaaaa")


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def entries(log: AttemptLog) -> list[str]:
    """The entries, without the times."""
    return [line[21:] for line in log.text().splitlines()]


def test_it_counts_what_is_said_again_and_again(store: FolderStore) -> None:
    log = AttemptLog(store, ATTEMPT)
    for words in ("one", "same", "same", "same", "two\nlines", "\x1b[31mred\x07"):
        log.append(words)
    assert entries(log)[:3] == ["one", "same", "last entry repeated 2 times"]
    assert "  two\n    lines\n" in log.text()
    assert entries(log)[-1] == "[31mred", "nothing that moves a terminal"


def test_a_long_log_keeps_its_beginning_and_its_end(store: FolderStore) -> None:
    log = AttemptLog(store, ATTEMPT)
    for number in range(5000):
        log.append(f"checkpoint after epoch {number}")
    log.append("a traceback " + "x" * 100_000 + " and what it was")
    assert len(log.text()) < HEAD_BYTES + TAIL_BYTES + 200
    assert "checkpoint after epoch 0\n" in log.text()
    assert "entries left out" in log.text()
    assert log.text().endswith("and what it was\n")


def test_warnings_and_logging_go_into_it_and_where_they_went_before(store: FolderStore) -> None:
    log = AttemptLog(store, ATTEMPT)
    before = warnings.showwarning
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with WarningCapture(log):
            warnings.warn("the scheduler is old", UserWarning, stacklevel=1)
            logging.getLogger("a.library").warning("slow: %s", "disk")
            logging.getLogger("a.library").info("of no interest")
        warnings.warn("afterwards", UserWarning, stacklevel=1)
    first, second = entries(log)
    assert first.startswith("UserWarning: the scheduler is old (")
    assert "test_attempt_log.py:" in first
    assert second == "warning, a.library: slow: disk"
    assert len(seen) == 2
    assert warnings.showwarning is before


def test_each_trial_of_a_process_is_told_what_python_tells_once(store: FolderStore) -> None:
    logs = [AttemptLog(store, ATTEMPT) for _ in range(3)]
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("default")
        for log in logs:
            with WarningCapture(log):
                for _ in range(2):
                    warnings.warn("old", UserWarning, stacklevel=1)
    assert [len(entries(log)) for log in logs] == [1, 1, 1]


def test_a_store_that_does_not_take_it_is_no_trouble(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AttemptLog(store, ATTEMPT)
    log.append("one")

    def refuse(*_: object) -> None:
        raise StoreError("store", "it is away", "a store", "wait")

    with monkeypatch.context() as away:
        away.setattr(FolderStore, "put", refuse)
        log.write()
    log.write()
    assert entries(log) == ["one"]
    assert stored_attempts.read_log(store, ATTEMPT) == log.text()


def test_a_trial_tells_how_it_went(
    planned: Planned,
    store: FolderStore,
    data_root: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = planned("epochs=2", "arms=[]")
    (trial,) = plan.arms[0].trials.values()
    stored_trials.write_trials(store, [trial])
    options = worker.WorkerOptions(store.uri, "small", "run", data_root=str(data_root), checkpoint_s=0)

    uploaded = threading.Event()
    append = AttemptLog.append

    def watched(log: AttemptLog, line: str) -> None:
        append(log, line)
        if line.startswith("checkpoint"):
            uploaded.set()

    monkeypatch.setattr(AttemptLog, "append", watched)

    def stop_once(_: object) -> None:
        assert uploaded.wait(60), "a stopped trial abandons an upload"
        raise SystemExit

    with pytest.raises(SystemExit):
        worker.run_trial(options, trial.id, 2, 0, stop_once)
    assert worker.run_trial(options, trial.id, 2, 1, lambda _: None) == worker.DONE
    first, second = (stored_attempts.read_log(store, attempt) for attempt in stored_attempts.attempts(store, trial.id))
    assert "checkpoint after epoch 1, " in first
    assert first.endswith("  stopped\n")
    assert "  attempt 2 on " in second
    assert "  resumed after epoch 1\n" in second
    assert "checkpoint after epoch 2, " in second
    assert second.endswith("  done\n")
    capsys.readouterr()
    trial_tables.print_trial(store, trial.id)
    assert "resumed after epoch 1" in capsys.readouterr().out


def test_a_failed_trial_tells_why(planned: Planned, store: FolderStore, data_root: Path) -> None:
    plan = planned("epochs=2", "arms=[]", "optimiser.lr=1.0e+20")
    (trial,) = plan.arms[0].trials.values()
    stored_trials.write_trials(store, [trial])
    options = worker.WorkerOptions(store.uri, "small", "run", data_root=str(data_root))
    assert worker.run_trial(options, trial.id, 2, 0, lambda _: None) == worker.FAILED
    (attempt,) = stored_attempts.attempts(store, trial.id)
    text = stored_attempts.read_log(store, attempt)
    assert "failed: Traceback (most recent call last):" in text
    assert "Diverged: the loss is not finite" in text
