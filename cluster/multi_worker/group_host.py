"""The host actor of a group: starts one Ray Train run whose workers train trial after trial, and passes messages.

Workers, relays (the Tune trials) and the driver communicate only through its methods. It holds no lasting state: trials
are leased in the store, which has everything if this actor is lost. A *ticket* identifies one assignment of a trial.

Records are sent in step: a worker that has sent one waits until the relay asks for the next, after Tune's decision on
the trial. So a stopped trial trains no further, and no record comes after its end.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ray

from cluster.multi_worker.trainer import GroupShape, trainer
from trainables.training.session import Row

NAMESPACE = "inpaint-sweeps"
WAIT_S = 5.0
"""Seconds that a call waits for an event at most; the caller then calls again."""
CALLS = 64
"""Calls that may wait at the same time: two per worker, and those of the relays."""
FALLS = 5
"""A group ends when its workers have died or raised this often without a record in between."""
RECORD, ENDED, LOST, MOVED = "record", "ended", "lost", "moved"
"""Events for a relay: a record; the end of the trial; its workers were lost by a fault; or for another reason."""
GO, HALT, WAIT = "go", "halt", "wait"
"""Answers to worker 0 after a record."""
OVER = "over"
"""Answer to a worker that asks for a trial when it gets no more."""


@dataclass
class Ticket:
    """One assignment of a trial to a group."""

    name: str
    trial_id: str
    epochs: int
    """The target epoch."""
    after: int
    """Number of the attempt after which the trial is claimed."""
    events: list[tuple[str, Any]] = field(default_factory=list)
    """Events for the relay so far."""
    asked: int = 0
    """Number of events that the relay has processed."""
    halted: bool = False
    """Whether the trial must end."""
    errors: list[dict[str, str]] = field(default_factory=list)
    """Errors that single workers have raised in the trial; one of the storage has the key `storage_errors.STORAGE`."""


class Host:
    """The host actor. Its methods are called from many threads at once."""

    def __init__(self, shape: GroupShape, options: Any, serve: Callable[[dict[str, Any]], None]) -> None:
        """serve: the function that each worker runs, `cluster.multi_worker.group.serve`."""
        self._changed = threading.Condition()
        self._queue: deque[Ticket] = deque()
        self._tickets: dict[str, Ticket] = {}
        self._current: Ticket | None = None
        self._begun: list[Ticket] = []
        self._generation = ""
        self._placement: str | None = None
        self._broken = False
        self._falls = 0
        self._ending = False
        self._over: str | None = None
        me = ray.get_runtime_context().current_actor
        threading.Thread(target=self._run, args=(shape, options, me, serve), daemon=True).start()

    def _run(self, shape: GroupShape, options: Any, me: Any, serve: Callable[[dict[str, Any]], None]) -> None:
        try:
            trainer(serve, shape, options, me).fit()
            over = "the run ended"
        except BaseException as error:
            over = f"{type(error).__name__}: {error}"
        with self._changing():
            self._over = over
            self._lose(LOST if self._broken else MOVED)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        with self._changed:
            yield
            self._changed.notify_all()

    # --- the driver ---------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Whether the workers are ready or lost (`broken`), their placement group, why the run is over (or None)."""
        with self._changed:
            leaving = self._current is not None and self._current.halted
            ready = bool(self._generation) and not (self._broken or leaving) and self._over is None
            return {"ready": ready, "broken": self._broken, "placement": self._placement, "over": self._over}

    def halt(self, ticket: str) -> None:
        """End a trial after its last record; at once if a worker is waiting for the answer to that record."""
        with self._changing():
            if ticket in self._tickets:
                self._tickets[ticket].halted = True

    def end(self) -> None:
        """Take no more trials; the run ends after the current one."""
        with self._changing():
            self._ending = True

    # --- a relay ------------------------------------------------------------------------------------------------------

    def offer(self, name: str, trial_id: str, epochs: int, after: int) -> None:
        """Put a trial into the queue, to be claimed after attempt number `after`."""
        with self._changing():
            self._tickets[name] = ticket = Ticket(name, trial_id, epochs, after)
            self._queue.append(ticket)
            if self._over is not None:
                self._lose(MOVED)

    def event(self, name: str, seen: int) -> tuple[str, Any] | None:
        """A ticket's event number `seen`, from 0; None if there is none within `WAIT_S`. Confirms earlier events."""
        with self._changed:
            ticket = self._tickets[name]
            ticket.asked = max(ticket.asked, seen)
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(ticket.events) > seen, WAIT_S)
            if len(ticket.events) <= seen:
                return None
            kind, body = ticket.events[seen]
            if kind != RECORD:
                del self._tickets[name]
            return kind, body

    # --- the workers --------------------------------------------------------------------------------------------------

    def join(self, generation: str, placement: str | None) -> None:
        """Called by worker 0 when all workers have started or restarted; earlier workers are gone."""
        with self._changing():
            self._lose(MOVED)
            self._generation, self._placement, self._broken = generation, placement, False
            self._begun = []

    def worker_failed(self, error: str) -> None:
        """Called by Ray Train's controller when a worker has died or raised; it will restart all of them."""
        with self._changing():
            self._broken = True
            self._falls += 1
            if self._falls >= FALLS:
                self._over = f"its workers failed {FALLS} times in a row: {error}"
            self._lose(LOST)

    def _lose(self, kind: str) -> None:
        """Tell the relay of the current trial, and those of queued ones if the run is over, that it is not trained."""
        if self._current is not None:
            self._current.events.append((kind, self._current.errors))
            self._current = None
        while self._over is not None and self._queue:
            self._queue.popleft().events.append((MOVED, []))

    def take(self, generation: str, rank: int, served: int) -> Any:
        """The next trial for a worker that has served this many: (ticket, trial, epochs, after), OVER, or None so far.

        Worker 0 takes from the queue; the others get the trials that it has claimed.
        """

        def ready() -> bool:
            if generation != self._generation or self._ending:
                return True
            return bool(self._queue) if rank == 0 else len(self._begun) > served

        with self._changing():
            self._changed.wait_for(ready, WAIT_S)
            if generation != self._generation:
                return OVER
            if rank == 0 and self._queue:
                self._current = self._queue.popleft()
                return self._assignment(self._current)
            if rank and len(self._begun) > served:
                return self._assignment(self._begun[served])
            return OVER if self._ending else None

    @staticmethod
    def _assignment(ticket: Ticket) -> tuple[str, str, int, int]:
        return ticket.name, ticket.trial_id, ticket.epochs, ticket.after

    def begin(self, name: str) -> None:
        """Called by worker 0 when it has claimed a trial: the others may begin."""
        with self._changing():
            if self._current and self._current.name == name:
                self._begun.append(self._current)

    def record(self, name: str, number: int, row: Row) -> str:
        """Called by worker 0 with record 1, 2, ... Returns GO, HALT, or WAIT: call again with the same number."""
        with self._changing():
            ticket = self._current
            if ticket is None or ticket.name != name:
                return HALT
            if len(ticket.events) < number and not ticket.halted:
                ticket.events.append((RECORD, row))
                self._falls = 0
                self._changed.notify_all()
            self._changed.wait_for(lambda: ticket.halted or ticket.asked >= number, WAIT_S)
            if ticket.halted:
                return HALT
            return GO if ticket.asked >= number else WAIT

    def finished(self, name: str, state: str) -> None:
        """Called by worker 0 at the end of a trial. Nobody asks for the end of a halted trial."""
        with self._changing():
            if self._current is not None and self._current.name == name:
                if self._current.halted:
                    self._tickets.pop(name, None)
                else:
                    self._current.events.append((ENDED, state))
                self._current = None

    def trial_failed(self, name: str, error: dict[str, str]) -> None:
        """Called by a worker that alone raised an error in a trial; all workers will be restarted."""
        with self._changing():
            if self._current is not None and self._current.name == name:
                self._current.errors.append(error)
