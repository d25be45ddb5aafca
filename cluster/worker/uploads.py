"""Background writes to the store while the trial trains: one thread, in order, abandoned when the trial is ended."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable

from cluster.connection import waiting
from sweeps.errors import StoreError
from sweeps.store.base import Abandoned

Write = Callable[[Callable[[], bool]], None]
"""Performs one write. Its argument returns whether to abandon it."""
_LOOK_S = 1.0
"""Seconds between two looks whether a wait has to be mentioned."""
LEAVE_S = 0.4
"""Seconds that an ended trial may spend on its last write to the store."""


class Uploads:
    """The pending writes of one attempt. The error of a failed write is raised by the next `add` or `wait`.

    say: called with a line when training has waited for a write for some seconds, and then from time to time.
    """

    def __init__(self, say: Callable[[str], None] = waiting.say) -> None:
        self._say = say
        self._what = ""
        self._waiting: deque[tuple[Write, str]] = deque()
        self._changed = threading.Condition()
        self._abandoned = threading.Event()
        self._error: BaseException | None = None
        self._busy = False

    @property
    def busy(self) -> bool:
        """Whether a write is pending or running."""
        return self._busy

    def add(self, write: Write, what: str = "an upload") -> None:
        """Queue a write behind those that were added before; returns at once. what: for the line about a wait."""
        with self._changed:
            self._raise()
            self._waiting.append((write, what))
            if not self._busy:
                self._busy = True
                threading.Thread(target=self._work, name="uploads", daemon=True).start()

    def wait(self) -> None:
        """Wait until everything is written; raises the error of a failed write."""
        notice = waiting.WaitNotice(say=self._say)
        with self._changed:
            while not self._changed.wait_for(lambda: not self._busy, _LOOK_S):
                notice.update(lambda: self._what)
            self._raise()

    def abandon(self) -> None:
        """Drop the pending writes and abandon the running one; returns at once."""
        self._abandoned.set()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._waiting or self._error is not None or self._abandoned.is_set():
                    self._waiting.clear()
                    self._busy = False
                    self._changed.notify_all()
                    return
                write, self._what = self._waiting.popleft()
            try:
                write(self._abandoned.is_set)
            except Abandoned:
                continue
            except BaseException as error:
                self._error = error


def run_briefly(act: Callable[[], object]) -> None:
    """Run a last store operation in a thread, waiting at most `LEAVE_S` seconds: the store may be unreachable."""

    def quietly() -> None:
        with contextlib.suppress(StoreError):
            act()

    thread = threading.Thread(target=quietly, name="last write", daemon=True)
    thread.start()
    thread.join(LEAVE_S)
