"""The output of a program: its last lines for errors, a bounded part for the log, and records behind a marker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from trainables.command.records import LONGEST, MARKER

LOGGED_BYTES = 4000
"""Longest piece of output in an entry of the log; of more, the beginning and the end are kept."""
LAST_BYTES = 2000
_MARK = MARKER.encode()


class Output:
    """Collects what a program writes to standard output and standard error. `feed` is called by one thread."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._rest, self._last, self._head, self._tail = b"", b"", b"", b""
        self._left_out = 0
        self._records: list[str] = []
        self.changed_ns = 0
        """When the last record was read, in ns since 1970."""

    def feed(self, chunk: bytes) -> None:
        """Add output."""
        with self._lock:
            whole, newline, rest = (self._rest + chunk).rpartition(b"\n")
            self._add(whole + newline)
            self._rest = rest
            if len(rest) > LONGEST:  # no line of a sensible program
                self._add(rest)
                self._rest = b""

    def end(self) -> None:
        """The program has ended, so the last line is complete."""
        with self._lock:
            rest, self._rest = self._rest, b""
            self._add(rest)
        self.flush()

    def _add(self, text: bytes) -> None:
        if _MARK in text:
            lines = text.splitlines(keepends=True)
            found = [line[len(_MARK) :].decode(errors="replace").strip() for line in lines if line.startswith(_MARK)]
            self._records += found
            self.changed_ns = time.time_ns() if found else self.changed_ns
            text = b"".join(line for line in lines if not line.startswith(_MARK))
        self._last = (self._last + text[-LAST_BYTES:])[-LAST_BYTES:]
        room = LOGGED_BYTES // 2 - len(self._head)
        self._head += text[: max(0, room)]
        after = self._tail + text[max(0, room) :]
        self._tail = after[-LOGGED_BYTES // 2 :]
        self._left_out += len(after) - len(self._tail)

    def records(self) -> list[str]:
        """The records since the last call."""
        with self._lock:
            found, self._records = self._records, []
        return found

    def flush(self) -> None:
        """Write the output since the last call to the log."""
        with self._lock:
            head, tail, left_out = self._head, self._tail, self._left_out
            self._head, self._tail, self._left_out = b"", b"", 0
        gap = f"\n[... {left_out:,} bytes left out ...]\n".encode() if left_out else b""
        text = (head + gap + tail).decode(errors="replace").strip()
        if text:
            self._log(f"output: {text}")

    def last_lines(self, most: int = 12) -> str:
        with self._lock:
            lines = (self._last + self._rest[-LAST_BYTES:]).decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-most:])
