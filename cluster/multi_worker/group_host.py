"""A group: one Ray Train run whose workers train trial after trial. This actor starts it and stands between.

Workers, relays (the Tune trials) and the driver talk to each other through its methods only. It keeps no truth: trials
are leased in the store, and whoever lost this actor finds everything there. A *ticket* names one hand-out of a trial.

Records go in step: a worker that has told one waits until the relay asks for the next, which it does when Tune has
decided on the trial. So a stopped trial trains no further, and no record comes after its end.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ray

from cluster.multi_worker.trainer import Shape, trainer
from trainables.training.session import Row

NAMESPACE = "inpaint-sweeps"
WAIT_S = 5.0
"""How long a call may wait for something to happen; whoever called asks again then."""
CALLS = 64
"""Calls that may wait at the same time: two for each worker, and the relays'."""
FALLS = 5
"""So often may the workers die or raise without a record in between: then the group is given up."""
RECORD, ENDED, LOST, MOVED = "record", "ended", "lost", "moved"
"""What a relay hears: a record; how the trial ended; that its workers are gone by a fault; or for another reason."""
GO, HALT, WAIT = "go", "halt", "wait"
"""What worker 0 hears after a record."""
OVER = "over"
"""What a worker hears that asks for a trial when there will be none."""


@dataclass
class Ticket:
    """One hand-out of a trial to a group."""

    name: str
    trial_id: str
    epochs: int
    after: int
    events: list[tuple[str, Any]] = field(default_factory=list)
    asked: int = 0
    halted: bool = False
    errors: list[dict[str, str]] = field(default_factory=list)


class Host:
    """The actor: see the module. Its methods are called from many threads at once."""

    def __init__(self, shape: Shape, options: Any, serve: Callable[[dict[str, Any]], None]) -> None:
        """serve: what each worker runs, `cluster.multi_worker.group.serve`."""
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

    def _run(self, shape: Shape, options: Any, me: Any, serve: Callable[[dict[str, Any]], None]) -> None:
        try:
            trainer(serve, shape, options, me).fit()
            over = "it ended"
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
        """Whether the workers are there (`ready`) or gone (`broken`), their placement group, why the run is over."""
        with self._changed:
            leaving = self._current is not None and self._current.halted
            ready = bool(self._generation) and not (self._broken or leaving) and self._over is None
            return {"ready": ready, "broken": self._broken, "placement": self._placement, "over": self._over}

    def halt(self, ticket: str) -> None:
        """End a trial after the record that was told last; at once, if it waits for an answer to it."""
        with self._changing():
            if ticket in self._tickets:
                self._tickets[ticket].halted = True

    def end(self) -> None:
        """Take no trial any more; the run ends when the one at hand has."""
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
        """The event after the first `seen` of a ticket; None if there is none for a while. Answers the one before."""
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
        """Worker 0 of new workers says that all of them are there: those before are gone."""
        with self._changing():
            self._lose(MOVED)
            self._generation, self._placement, self._broken = generation, placement, False
            self._begun = []

    def fell(self, error: str) -> None:
        """Ray Train's controller says that a worker has died or raised; it will start all of them anew."""
        with self._changing():
            self._broken = True
            self._falls += 1
            if self._falls >= FALLS:
                self._over = f"its workers failed {FALLS} times in a row: {error}"
            self._lose(LOST)

    def _lose(self, kind: str) -> None:
        """Tell the relays of the trial at hand, and of queued ones if the run is over, that nobody trains them."""
        if self._current is not None:
            self._current.events.append((kind, self._current.errors))
            self._current = None
        while self._over is not None and self._queue:
            self._queue.popleft().events.append((MOVED, []))

    def take(self, generation: str, rank: int, served: int) -> Any:
        """The next trial of a worker that has served so many: (ticket, trial, epochs, after), OVER, or None for now.

        Worker 0 takes from the queue; the others get what it has claimed.
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
                return self._handed(self._current)
            if rank and len(self._begun) > served:
                return self._handed(self._begun[served])
            return OVER if self._ending else None

    @staticmethod
    def _handed(ticket: Ticket) -> tuple[str, str, int, int]:
        return ticket.name, ticket.trial_id, ticket.epochs, ticket.after

    def begin(self, name: str) -> None:
        """Worker 0 has claimed the trial: the others may begin."""
        with self._changing():
            if self._current and self._current.name == name:
                self._begun.append(self._current)

    def record(self, name: str, number: int, row: Row) -> str:
        """Worker 0 tells its record number 1, 2, ... GO, HALT, or WAIT: then it asks again, with the same number."""
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
        """Worker 0 is through with a trial. A halted one's relay has gone: nobody asks for its end."""
        with self._changing():
            if self._current is not None and self._current.name == name:
                if self._current.halted:
                    self._tickets.pop(name, None)
                else:
                    self._current.events.append((ENDED, state))
                self._current = None

    def broke(self, name: str, error: dict[str, str]) -> None:
        """A worker has raised an error of its own in a trial; it goes, and the others with it."""
        with self._changing():
            if self._current is not None and self._current.name == name:
                self._current.errors.append(error)
