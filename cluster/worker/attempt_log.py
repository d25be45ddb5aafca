"""An attempt's log: timestamped lines about what happened, kept in the store.

It says where the trial ran, from which epoch it resumed, its checkpoints, warnings of libraries (`warnings`, and
`logging` from WARNING on), stop requests, and how it ended, with the traceback of an error. The log is for reading
only: a trial waits for it once, when it ends, and never fails because of it.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import warnings
from collections import deque
from typing import Any, TextIO

from sweeps.errors import StoreError
from sweeps.store import attempts as stored_attempts
from sweeps.store.base import Store

HEAD_BYTES, TAIL_BYTES = 16 << 10, 48 << 10
"""What is kept of a long log: its beginning, where most warnings are, and its end."""
_LONGEST = 8 << 10
"""Maximum characters of an entry. Of a longer one mostly the end is kept, where a traceback names the error."""


class AttemptLog:
    """Collects entries from any thread; `write` writes them to the store as one object, which has no other writer."""

    def __init__(self, store: Store, attempt: stored_attempts.Attempt) -> None:
        self._store, self._key = store, attempt.log_key
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._room = {"head": HEAD_BYTES, "tail": TAIL_BYTES}
        self._left_out = 0
        self._last, self._repeated = "", 0
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._changed = False

    def append(self, words: str) -> None:
        """Add an entry. A repetition of the last entry is only counted."""
        with self._lock:
            if words == self._last:
                self._repeated += 1
            else:
                self._add_repeats()
                self._last = words
                self._add(words)
            self._changed = True

    def text(self) -> str:
        """The log so far."""
        with self._lock:
            self._add_repeats()
            gap = [f"[... {self._left_out} entries left out ...]"] if self._left_out else []
            return "".join(f"{entry}\n" for entry in [*self._head, *gap, *self._tail])

    def write(self) -> None:
        """Write the log if it has new entries. A store error is ignored; the next call tries again."""
        with self._writing:
            if self._changed:
                self._changed = False
                try:
                    self._store.put(self._key, self.text().encode())
                except StoreError:
                    self._changed = True

    def _add_repeats(self) -> None:
        repeated, self._repeated = self._repeated, 0
        if repeated:
            self._add(f"last entry repeated {repeated} times")

    def _add(self, words: str) -> None:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        shown = words if len(words) <= _LONGEST else f"{words[: _LONGEST // 8]}\n[...]\n{words[-_LONGEST:]}"
        lines = "".join(sign for sign in shown if sign == "\n" or sign.isprintable()).splitlines() or [""]
        entry = "\n    ".join([f"{moment}  {lines[0]}", *lines[1:]])
        size = len(entry.encode()) + 1
        if not self._tail and size <= self._room["head"]:
            self._head.append(entry)
            self._room["head"] -= size
            return
        self._tail.append(entry)
        self._room["tail"] -= size
        while self._room["tail"] < 0:
            self._room["tail"] += len(self._tail.popleft().encode()) + 1
            self._left_out += 1


class WarningCapture:
    """Adds warnings and log records (WARNING and above) of Python and libraries to an attempt's log as well."""

    def __init__(self, log: AttemptLog) -> None:
        self._log = log
        self._handler = _Handler(log)
        self._before: Any = None

    def __enter__(self) -> WarningCapture:
        self._before = warnings.showwarning
        warnings.showwarning = self._shown
        # A process trains many trials, but Python shows most warnings once per process. Adding a filter, here one that
        # matches nothing, makes it show them again.
        warnings.filterwarnings("default", category=_NoWarning)
        logging.getLogger().addHandler(self._handler)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self._handler)
        if warnings.showwarning == self._shown:  # otherwise somebody else has replaced it
            warnings.showwarning = self._before

    def _shown(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        self._log.append(f"{category.__name__}: {message} ({_short(filename)}:{lineno})")
        self._before(message, category, filename, lineno, file, line)


class _NoWarning(Warning):
    """A category that no warning has."""


class _Handler(logging.Handler):
    def __init__(self, log: AttemptLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.append(f"{record.levelname.lower()}, {record.name}: {record.getMessage()}")


def _short(filename: str) -> str:
    """A module's file name relative to its entry in `sys.path`."""
    root = max((path for path in sys.path if path and filename.startswith(f"{path}/")), key=len, default="")
    return filename.removeprefix(f"{root}/") if root else filename
