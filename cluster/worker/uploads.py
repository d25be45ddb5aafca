"""Writes to the store while the trial trains on: one thread, in the order given, given up when the trial is ended."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable

from sweeps.errors import StoreError
from sweeps.store.base import Abandoned

Write = Callable[[Callable[[], bool]], None]
"""Writes something; its argument says whether to give up."""
LEAVE_S = 0.4
"""Seconds that a trial which is ended may take to say so."""


class Uploads:
    """What one attempt has still to write. An error of a write is raised where the trial next asks for something."""

    def __init__(self) -> None:
        self._waiting: deque[Write] = deque()
        self._changed = threading.Condition()
        self._abandoned = threading.Event()
        self._error: BaseException | None = None
        self._busy = False

    @property
    def busy(self) -> bool:
        """Whether something is not written yet."""
        return self._busy

    def add(self, write: Write) -> None:
        """Write this after what was added before; returns at once."""
        with self._changed:
            self._raise()
            self._waiting.append(write)
            if not self._busy:
                self._busy = True
                threading.Thread(target=self._work, name="uploads", daemon=True).start()

    def wait(self) -> None:
        """Wait until everything is written; raises what has gone wrong."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)
            self._raise()

    def abandon(self) -> None:
        """Write nothing more, and give up what is being written; returns at once."""
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
                write = self._waiting.popleft()
            try:
                write(self._abandoned.is_set)
            except Abandoned:
                continue
            except BaseException as error:
                self._error = error


def soon(act: Callable[[], object]) -> None:
    """Do a last thing with the store, in a thread that nobody waits for longer than `LEAVE_S`: it may be away."""

    def quietly() -> None:
        with contextlib.suppress(StoreError):
            act()

    thread = threading.Thread(target=quietly, name="last word", daemon=True)
    thread.start()
    thread.join(LEAVE_S)
