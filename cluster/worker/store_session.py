"""A trial's session on a store: implements `trainables.training.session.Session` with the keys of one attempt."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cluster.connection import waiting
from cluster.worker.attempt_log import AttemptLog
from cluster.worker.provenance import Load
from cluster.worker.uploads import Uploads
from sweeps.errors import StoreError
from sweeps.results.columns import EPOCH
from sweeps.results.samples import ARCHIVE, pack
from sweeps.store import attempts as stored_attempts
from sweeps.store import checkpoints, layout
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store
from trainables.code.signatures import place
from trainables.errors import TrialError
from trainables.training.session import Goal, Machine, Restored, Row, Stopped

KEPT_CHECKPOINTS = 2
"""An attempt keeps its last two checkpoints: one to resume from, and the one before in case that is damaged."""
DROPPED_AT_ONCE = 2
"""Number of older checkpoints that are deleted together, in one request."""
LARGEST_SHARE = 0.01
"""Largest part of the time between two checkpoints that making one may take; a longer one is made less often."""
LONGEST_PAUSE_S = 300.0
"""Longest pause for that reason in seconds, so that one slow moment of a machine puts little work at risk."""


class Superseded(Exception):  # noqa: N818 - not an error
    """A newer attempt has claimed the trial; this one must not write any more."""


class StoreSession:
    """The session of one attempt. Checkpoints and samples are written while the next epoch trains.

    checkpoint_s: seconds between checkpoints, at least; 0 for one after every epoch. report: called with every record,
    as the last step of its epoch. say: called with a line for the terminal of the user when the trial waits for an
    upload.
    """

    def __init__(
        self,
        store: Store,
        attempt: stored_attempts.Attempt,
        goal: Goal,
        machine: Machine,
        claim: Mapping[str, Any],
        checkpoint_s: float,
        report: Callable[[Row], None],
        say: Callable[[str], None] = waiting.say,
    ) -> None:
        self.goal = goal
        self.machine = machine
        self.notes: list[str] = []
        self.log = AttemptLog(store, attempt)
        self._store, self._attempt, self._claim = store, attempt, claim
        self._checkpoint_s, self._report = checkpoint_s, report
        self._saved_at = self._asked_at = self.clock()
        self._making_s = 0.0
        self._saved: dict[int, list[str]] = {}
        self._uploads = Uploads(say)
        self._files: dict[str, str] = {}
        self._name = f"trial {attempt.trial_id}"
        self.row: Row | None = None
        self._reporting = False
        self.stop = threading.Event()
        self.result: layout.Json | None = None
        """The result of a finished trial, whose network is only measured again."""
        self.deadline: float | None = None
        """When the trial stops after its epoch, in seconds since 1970; None: never."""

    def restore(self) -> Restored | None:
        if self._attempt.number == 1 and self.result is None:
            return None  # there was no attempt that could have saved a checkpoint
        first = 0 if self.result is None else self.goal.epochs  # only the network of the result is measured
        latest = checkpoints.latest_checkpoint(self._store, self._attempt.trial_id, self.goal.epochs, first)
        if self.result is not None and latest is None:
            raise TrialError(
                f"trial {self._attempt.trial_id!r}, a metric of which is missing",
                f"its checkpoint of the last epoch, {self.goal.epochs}, is missing or damaged",
                "a finished trial with an intact final checkpoint",
                "sweeps run FILE --fresh --arms NAME trains it again",
            )
        if latest is None:
            return None
        notes = [f"skipped damaged checkpoint: {key}" for key in latest.damaged]
        notes.append(f"resumed after epoch {latest.epoch}")
        self.notes += notes
        for note in notes:
            self.log.append(note)
        return Restored(latest.epoch, latest.files)

    def __enter__(self) -> StoreSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for pending writes, or abandon them if a runner ends the trial (SystemExit and the like)."""
        if kind is None or issubclass(kind, Stopped):
            self._uploads.wait()
        elif issubclass(kind, Exception):
            with contextlib.suppress(Exception):  # the trial's own error matters more
                self._uploads.wait()
        else:
            self._uploads.abandon()

    def wants_checkpoint(self) -> bool:
        """Whether the time between checkpoints is over; always if `checkpoint_s` is 0.

        False while the last checkpoint is being written, because training would have to wait, and while making the last
        one took more than `LARGEST_SHARE` of the time since then, for at most `LONGEST_PAUSE_S`. `fit` makes it between
        this call and `save`.
        """
        self._asked_at = self.clock()
        if not self._checkpoint_s:
            return True
        pause_s = max(self._checkpoint_s, min(self._making_s / LARGEST_SHARE, LONGEST_PAUSE_S))
        return not self._uploads.busy and self._asked_at - self._saved_at >= pause_s

    def save(self, epoch: int, files: Mapping[str, bytes]) -> None:
        if self.result is not None:
            return  # the store has this network; a sweep with more epochs would go on from the newer copy
        self._making_s = self.clock() - self._asked_at
        self._uploads.wait()  # at most one checkpoint is being written
        size = sum(map(len, files.values())) / 1e6
        what = f"{self._name} uploads its checkpoint after epoch {epoch}, {size:,.1f} MB, to {self._store.uri}"
        self._uploads.add(lambda abandoned: self._save(epoch, files, abandoned), what)
        self._saved_at = self.clock()

    def _save(self, epoch: int, files: Mapping[str, bytes], abandoned: Callable[[], bool]) -> None:
        if not checkpoints.save_checkpoint(self._store, self._attempt, epoch, files, abandoned):
            raise Superseded(self._attempt.name)
        self.log.append(f"checkpoint after epoch {epoch}, {sum(map(len, files.values())) / 1e6:,.1f} MB")
        self._saved[epoch] = list(files)
        old = list(self._saved)[:-KEPT_CHECKPOINTS]
        if len(old) >= DROPPED_AT_ONCE:
            checkpoints.drop_checkpoints(self._store, self._attempt, {epoch: self._saved.pop(epoch) for epoch in old})

    def samples(self, epoch: int, files: Mapping[str, bytes]) -> None:
        folder = self._attempt.key("samples", self._attempt.name, epoch)
        objects = pack(files)
        self._files = {name: hashlib.sha256(data).hexdigest() for name, data in objects.items() if name != ARCHIVE}

        def write(abandoned: Callable[[], bool]) -> None:
            for name, data in objects.items():
                self._store.put(f"{folder}/{name}", data, abandoned)

        self._uploads.add(write, f"{self._name} uploads pictures after epoch {epoch} to {self._store.uri}")

    def finish(self, history: list[Row], facts: Mapping[str, Any]) -> None:
        self._uploads.wait()
        body = {
            "facts": dict(facts),
            "history": _columns(history),
            "notes": self.notes,
            "files": self._files,
            **({"extra": list(self.goal.extra)} if self.goal.extra else {}),
            "started_at": self._claim["claimed_at"],
            "ended_at": time.time(),
            "provenance": self._claim["provenance"],
        }
        if self.result is not None:
            written = stored_trials.extend(self._store, self._attempt, self.result, body)
        else:
            written = stored_trials.finish(self._store, self._attempt, self.goal.epochs, body)
        if not written:
            raise Superseded(self._attempt.name)

    def report(self, row: Row) -> None:
        self.row = row
        self._reporting = True  # left so by an exception
        self._report(row)
        self._reporting = False

    @contextlib.contextmanager
    def exits_are_errors(self) -> Iterator[None]:
        """Turn a SystemExit of a user's code into a TrialError. A runner ends a trial by one inside `report`."""
        try:
            yield
        except SystemExit as ending:
            if self._reporting:
                raise
            raise TrialError(
                f"sys.exit({'' if ending.code is None else repr(ending.code)})",
                f"the code of the trial would end the process ({place(ending, 'in an installed package')})",
                "code that returns, and raises an error where it cannot go on",
                "raise RuntimeError(...) in its place",
            ) from ending

    def should_stop(self) -> bool:
        if self.deadline is not None and time.time() >= self.deadline and not self.stop.is_set():
            self.log.append("the time budget is used up")
            self.stop.set()
        return self.stop.is_set()

    def clock(self) -> float:
        return time.monotonic()


def _columns(history: list[Row]) -> dict[str, list[float | int | None]]:
    """Rows as columns; None where a row lacks a column."""
    names = list(dict.fromkeys(name for row in history for name in row))
    names.sort(key=lambda name: name != EPOCH)
    return {name: [row.get(name) for row in history] for name in names}


class Heartbeat:
    """Writes an attempt's heartbeat every few seconds while the trial runs, for leases and for displays.

    It also checks for reasons to end the trial. A heartbeat that cannot be written does not end the trial: the lease
    lasts for several.
    """

    EVERY_S = 5.0
    FIRST_S = 0.5
    """Seconds before the first heartbeat, which only says that the trial runs: many trials are over soon."""
    LOOK_BEATS = 3
    """Heartbeats between two checks for a newer attempt; every checkpoint checks as well."""
    LOG_BEATS = 6
    """Heartbeats between two writes of the log, if it has new entries."""

    def __init__(
        self, store: Store, attempt: stored_attempts.Attempt, session: StoreSession, stopping: Callable[[], bool]
    ) -> None:
        self._store, self._attempt, self._session, self._stopping = store, attempt, session, stopping
        self._load = Load(session.machine.device)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat {attempt.name}", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _run(self) -> None:
        count = 0
        while not self._over.wait(self.EVERY_S if count else self.FIRST_S):
            count += 1
            try:
                stored_attempts.beat(self._store, self._attempt, self._body(count))
                if count == 1:
                    continue
                if self._stopping() or (count % self.LOOK_BEATS == 0 and self._is_superseded()):
                    self._session.log.append("asked to stop after the current epoch")
                    self._session.stop.set()
            except StoreError as error:
                self._session.log.append(f"heartbeat not written: {error.given}: {error.why}")
                continue
            if count % self.LOG_BEATS == 2:
                self._session.log.write()

    def _is_superseded(self) -> bool:
        return stored_attempts.superseded(self._store, self._attempt)

    def _body(self, count: int) -> dict[str, Any]:
        row = self._session.row or {}
        load = self._load.read()
        return {"beat": count, "time": time.time(), "epoch": row.get(EPOCH, 0), "record": row, "load": load}
