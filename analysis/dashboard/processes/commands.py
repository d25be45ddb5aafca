"""The `sweeps` command in child processes, which buttons start."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.dashboard.settings import VARIABLE

_SHOWN = 4000
"""Characters of a child's last words that are shown."""


@dataclass(frozen=True)
class ChildProcess:
    """A command that was started. sweep: which it concerns; words: what it is called; log: file of what it prints."""

    sweep: str
    words: str
    command: tuple[str, ...]
    process: subprocess.Popen[bytes]
    log: int
    began: float

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def code(self) -> int | None:
        return self.process.poll()

    def output(self) -> str:
        """The end of what it printed."""
        return output_tail(self.log)


class ChildProcesses:
    """The children of one server. A child goes on when the server ends: it is a run like any other."""

    def __init__(self) -> None:
        self._all: list[ChildProcess] = []
        self._lock = threading.Lock()

    def start(self, sweep: str, words: str, arguments: Sequence[str]) -> ChildProcess:
        """Start `sweeps` with these arguments; its words go to a file."""
        with self._lock:
            log = unnamed_file()
            process = subprocess.Popen(
                [sys.executable, "-m", "sweeps.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(),
                start_new_session=True,
            )
            child = ChildProcess(sweep, words, ("sweeps", *arguments), process, log, time.time())
            weakref.finalize(child, os.close, log)
            self._all.append(child)
            return child

    def of(self, sweep: str) -> list[ChildProcess]:
        """What was started for a sweep, newest first."""
        return [child for child in reversed(self._all) if child.sweep == sweep]


def unnamed_file() -> int:
    """A temporary file that no name leads to: it is gone when nobody has it open."""
    number, name = tempfile.mkstemp(prefix="sweeps-dashboard-")
    os.unlink(name)
    return number


def output_tail(log: int) -> str:
    """The end of such a file."""
    size = os.fstat(log).st_size
    return os.pread(log, _SHOWN, max(0, size - _SHOWN)).decode(errors="replace").strip()


def environment() -> dict[str, str]:
    """The environment of a child: without what only the dashboard needs to know."""
    found = {key: value for key, value in os.environ.items() if key != VARIABLE}
    return {**found, "COLUMNS": "110", "PYTHONUNBUFFERED": "1"}
