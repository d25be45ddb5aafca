"""Run one trial in this process: claim it in the store, train it, record how it ended.

Only this module catches what a trial raises. It records the error, our own frames first, and re-raises it to the
runner if the process can no longer be trusted.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from cluster.connection import waiting
from cluster.worker import provenance, trial_data
from cluster.worker.attempt_log import AttemptLog, WarningCapture
from cluster.worker.inputs import with_inputs
from cluster.worker.storage_errors import as_storage_error, away_state, storage_state
from cluster.worker.store_session import Heartbeat, StoreSession, Superseded
from cluster.worker.trial_config import checked_config
from cluster.worker.trial_data import ExpectedData
from cluster.worker.uploads import run_briefly
from sweeps import data_roots, scratch
from sweeps.errors import StorageError, StoreAwayError, SweepError
from sweeps.holders import this_process
from sweeps.store import attempts as stored_attempts
from sweeps.store import plans as stored_plans
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store
from trainables.code import ours
from trainables.code.cache import path_in_code
from trainables.errors import TrialError
from trainables.training.distributed import Workers
from trainables.training.session import Goal, Machine, Row, Session, Stopped

DONE, FAILED, STOPPED, HELD, CRASHED = "done", "failed", "stopped", "held", "crashed"
"""What `run_trial` returns, beside states with errors of the storage. held: another process trains this trial. A trial
whose process died is crashed, and is tried again."""


@dataclass(frozen=True)
class WorkerOptions:
    """Options shared by all trials of a run; not part of a trial's identity."""

    store: str
    """Address of the store (absolute)."""
    sweep: str
    """The sweep whose stop requests end a trial."""
    run: str
    """The run whose stop requests end a trial."""
    stops_seen: frozenset[str] = frozenset()
    """Older stop requests, which are ignored."""
    data_root: str | None = None
    """Folder of the data sets; None for `$SWEEPS_DATA` or the user's cache."""
    cpus: int = 1
    """CPU threads per process."""
    gpus: float = 0
    """GPUs per process; 0 to train on the CPU."""
    test_epochs: tuple[int, ...] = ()
    """See `trainables.training.session.Goal`, as for `best` and `extra`."""
    best: tuple[str, str] | None = None
    extra: tuple[str, ...] = ()
    checkpoint_s: float = 20.0
    """Seconds between checkpoints, at least; 0 for one after every epoch."""
    code: dict[str, Any] | None = None
    """Version of our code, for provenance."""
    command: str = ""
    """The command line, for provenance."""
    ray_dashboard: str = ""
    """Address of the dashboard of the Ray that runs the trials, for provenance; '' without one."""
    inputs: str | None = None
    """The store that has the inputs of the trials, if it is not `store`."""
    data: Mapping[str, str] = field(default_factory=dict)
    """See `cluster.worker.trial_data.ExpectedData`, as for `accept_changed_data`."""
    accept_changed_data: bool = False
    deadline: float | None = None
    """When trials stop after their epoch, in seconds since 1970; None: never."""
    store_access: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Keys and place of the storage as the driver has them, see `cluster.connection.store_access`."""

    @property
    def expected_data(self) -> ExpectedData:
        return ExpectedData(self.sweep, self.data, self.accept_changed_data)

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"


def run_trial(
    options: WorkerOptions,
    trial_id: str,
    epochs: int,
    after: int,
    report: Callable[[Row], None],
    workers: Workers = Workers(),  # noqa: B008 - frozen
    shared: Callable[[StoreSession], Session] | None = None,
    say: Callable[[str], None] = waiting.say,
) -> str:
    """Train a trial of the store to `epochs`. Returns done, failed, stopped, held, or a state with a storage error.

    after: number of the newest attempt, known to be over. report: called with each record, as the last step of its
    epoch. workers, shared: for the first of several workers; `shared` is called after the trial is claimed, and makes
    the session that it shares with the others. say: called with a line for the user's terminal.
    Errors of the user (TrialError, SweepError) and a loss that is not finite end the trial as failed. Every other
    exception is recorded as failed and re-raised, so that the runner replaces the process. If another worker was lost,
    the exception is re-raised and nothing is recorded, because this does not end the trial. An error of the storage,
    or a full disk, ends the run and not the trial.
    """
    try:
        return _run_trial(options, trial_id, epochs, after, report, workers, shared, say)
    except StorageError as error:
        return storage_state(error)
    except StoreAwayError as error:
        return away_state(error)


def _run_trial(
    options: WorkerOptions,
    trial_id: str,
    epochs: int,
    after: int,
    report: Callable[[Row], None],
    workers: Workers,
    shared: Callable[[StoreSession], Session] | None,
    say: Callable[[str], None],
) -> str:
    from trainables.training.divergence import Diverged
    from trainables.training.loop import fit, task_named

    if options.deadline is not None and time.time() >= options.deadline:
        return STOPPED
    store = open_cached(options.store)
    made_by: dict[str, Any] = {
        "code": options.code,
        "versions": provenance.versions(),
        "hardware": provenance.hardware(options.device),
        "cpus": options.cpus,
        **({"workers": workers.size} if workers.size > 1 else {}),
        "command": options.command,
        **({"ray_dashboard": options.ray_dashboard} if options.ray_dashboard else {}),
        **({"ray_job": job} if (job := provenance.ray_job()) else {}),
    }
    claim = {
        "claimed_at": time.time(),
        "process": this_process(),
        "provenance": made_by,
    }
    attempt = stored_attempts.claim(store, trial_id, after, claim)
    if attempt is None:
        return HELD
    goal = Goal(epochs, options.test_epochs, options.best, options.extra)
    device = options.device if workers.size == 1 else workers.device
    machine = Machine(device, options.cpus, data_root(options), workers, scratch=scratch.folder)
    session = StoreSession(store, attempt, goal, machine, claim, options.checkpoint_s, report, say)
    session.deadline = options.deadline
    log = session.log
    log.append(_beginning(attempt, claim, goal, machine))
    machine = replace(machine, log=log.append)
    failure: Exception | None = None
    state, error = DONE, None
    try:
        with (
            WarningCapture(log),
            Heartbeat(store, attempt, session, stopping=lambda: _stop_requested(store, options, trial_id)),
            session,
        ):
            _check_device(options)
            trial = stored_trials.read_planned_trial(store, trial_id)
            session.result = stored_trials.read_result(store, trial_id, epochs) if goal.extra else None
            session.machine = with_inputs(machine, open_cached(options.inputs or options.store), trial, epochs)
            made_by["data"] = trial_data.check(store, options.expected_data, trial, session.machine)
            if counts := _image_counts(trial["config"], machine.data_root):
                made_by["images"] = counts
            made_by["modules"] = ours.digest_of(trial["task"], trial["config"])
            config = checked_config(trial_id, trial, epochs)
            with session.exits_are_errors():
                fit(task_named(trial["task"]), config, shared(session) if shared else session)
    except Stopped:
        state = STOPPED
    except Superseded:
        return HELD
    except (StorageError, StoreAwayError):  # not the fault of the trial, which can resume from its checkpoint
        run_briefly(lambda: _ended(store, attempt, log, STOPPED))
        raise
    except (TrialError, SweepError, Diverged) as expected:
        state, error = FAILED, error_record(expected)
        if workers.size > 1 and isinstance(expected, TrialError) and not expected.everywhere:
            failure = expected  # raised on this worker only; the others are waiting for it
    except Exception as unexpected:
        if workers.size > 1 and is_lost_worker(unexpected):
            raise
        if full := as_storage_error(unexpected):
            run_briefly(lambda: _ended(store, attempt, log, STOPPED))
            raise full from unexpected
        state, error, failure = FAILED, error_record(unexpected), unexpected
    except BaseException:  # the runner ends this thread (SystemExit)
        run_briefly(lambda: _ended(store, attempt, log, STOPPED))
        raise
    unmeasured = state == FAILED and session.result is not None
    _ended(store, attempt, log, stored_attempts.UNMEASURED if unmeasured else state, error)
    if failure is not None:
        raise failure
    return state


def _image_counts(config: Mapping[str, Any], root: Path | None) -> dict[str, int] | None:
    """The number of images in each split, for the report; None if it is not known."""
    from trainables.data import inventory

    if root is None or not isinstance(config.get("data"), dict):
        return None
    return inventory.counts_of(json.dumps(config["data"], sort_keys=True), root)


def _beginning(attempt: stored_attempts.Attempt, claim: Mapping[str, Any], goal: Goal, machine: Machine) -> str:
    """The first entry of an attempt's log."""
    hardware = claim["provenance"]["hardware"]
    place = f"{hardware['host']}, process {os.getpid()}, {hardware.get('gpu', hardware['cpu'])}"
    threads = f"{machine.cpus} CPU thread{'s' if machine.cpus > 1 else ''}"
    others = f", first of {machine.workers.size} workers" if machine.workers.size > 1 else ""
    return f"attempt {attempt.number} on {place}, {threads}{others}: to epoch {goal.epochs}"


def _ended(
    store: Store, attempt: stored_attempts.Attempt, log: AttemptLog, state: str, error: dict[str, Any] | None = None
) -> None:
    """Write an attempt's log, then its end: after that, the process may be killed."""
    log.append(f"{state}: {error['full'].strip()}" if error else state)
    log.write()
    stored_attempts.end(store, attempt, state, time.time(), error)


def data_root(options: WorkerOptions) -> Path | None:
    """Folder of the data sets from the driver's options, else `$SWEEPS_DATA`; None if neither is set."""
    return data_roots.path(options.data_root or os.environ.get(data_roots.VARIABLE), absolute=False)


def _check_device(options: WorkerOptions) -> None:
    import torch

    from cluster.connection import gpu_driver

    if options.gpus and not torch.cuda.is_available():
        why, fix = gpu_driver.obstacle(gpu_driver.supported_cuda(), gpu_driver.torch_cuda())
        raise TrialError(
            f"resources.gpus: {options.gpus:g}",
            f"torch sees no GPU in this process{why and ': ' + why}",
            "0 on a machine without a GPU; auto, which uses a GPU if there is one",
            f"--set resources.gpus=0 to train on the CPU; {fix or 'nvidia-smi shows the GPUs of the machine'}",
        )


def _stop_requested(store: Store, options: WorkerOptions, trial_id: str) -> bool:
    return bool(stored_plans.stop_requests(store, options.sweep, options.run, trial_id) - options.stops_seen)


@cache
def open_cached(uri: str) -> Store:
    """The store of a driver, opened once in this process. A folder that does not exist is not made."""
    store = open_store(uri)
    if isinstance(store, FolderStore):
        store.expect()
    return store


def error_record(error: Exception) -> dict[str, Any]:
    """An error as stored: type, message, traceback (only frames of ours and of the user's code), full traceback.

    A mistake that is told in four parts has no traceback, unless that leads through the user's code or another error.
    Where the user's code is in the traceback, also `place`: its last line there, `file:line in function`. Of a
    divergence, also `trace`: the losses that led to it, see `trainables.training.divergence`.
    """
    from trainables.training.divergence import Diverged

    frames = traceback.extract_tb(error.__traceback__)
    places = [(path_in_code(Path(frame.filename)), frame) for frame in frames]
    theirs = [f"{path}:{frame.lineno} in {frame.name}" for path, frame in places if path is not None]
    shown = "".join(traceback.format_list([frame for frame in frames if _is_near(frame.filename)] or list(frames)))
    kind = "out of memory" if _is_out_of_memory(error) else type(error).__name__
    full = "".join(traceback.format_exception(error))
    if isinstance(error, TrialError) and not theirs and error.__cause__ is None:
        shown, full = "", f"{kind}: {error}"
    place = {"place": theirs[-1]} if theirs else {}
    trace = {"trace": error.trace} if isinstance(error, Diverged) and error.trace else {}
    return {"type": kind, "message": str(error), "traceback": shown, "full": full, **place, **trace}


def _is_near(file: str) -> bool:
    """Whether a file belongs to this package or to the code of a user."""
    here = str(Path(__file__).resolve().parents[2])
    return (file.startswith(here) and "site-packages" not in file) or path_in_code(Path(file)) is not None


def is_lost_worker(error: Exception) -> bool:
    """Whether a collective operation failed because another worker is gone, which is not the trial's fault."""
    text = str(error).lower()
    marks = (
        "connection closed by peer",
        "connection reset by peer",
        "broken pipe",
        "gloo",
        "nccl",
        "timed out waiting",
        "process group has not been initialized",  # Ray Train destroys it while other workers still train
    )
    return type(error).__name__ in ("DistBackendError", "DistNetworkError") or any(mark in text for mark in marks)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether a GPU or the machine ran out of memory, which has its own type because the user can fix it."""
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower() or "can't allocate" in str(error)
