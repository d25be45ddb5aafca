"""Runs the `sweeps` command in child processes, for the buttons."""

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
"""Maximum number of characters of a child's output that are shown, from its end."""


@dataclass(frozen=True)
class ChildProcess:
    """A command that was started."""

    sweep: str
    """Name of its sweep."""
    label: str
    """Label of the button that started it."""
    command: tuple[str, ...]
    process: subprocess.Popen[bytes]
    log: int
    """File descriptor of its output."""
    began: float
    """Seconds since 1970."""

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def code(self) -> int | None:
        return self.process.poll()

    def output(self) -> str:
        """The end of its output."""
        return output_tail(self.log)


class ChildProcesses:
    """The child processes of one server. They go on when the server ends, like any other run."""

    def __init__(self) -> None:
        self._all: list[ChildProcess] = []
        self._lock = threading.Lock()

    def start(self, sweep: str, label: str, arguments: Sequence[str]) -> ChildProcess:
        """Start `sweeps` with these arguments; its output goes to a file."""
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
            child = ChildProcess(sweep, label, ("sweeps", *arguments), process, log, time.time())
            weakref.finalize(child, os.close, log)
            self._all.append(child)
            return child

    def of(self, sweep: str) -> list[ChildProcess]:
        """The child processes of a sweep, newest first."""
        return [child for child in reversed(self._all) if child.sweep == sweep]


def unnamed_file() -> int:
    """File descriptor of a temporary file without a name, which disappears when it is closed."""
    descriptor, name = tempfile.mkstemp(prefix="sweeps-dashboard-")
    os.unlink(name)
    return descriptor


def output_tail(log: int) -> str:
    """The end of the text in a file, given by its descriptor."""
    size = os.fstat(log).st_size
    return os.pread(log, _SHOWN, max(0, size - _SHOWN)).decode(errors="replace").strip()


def environment() -> dict[str, str]:
    """The environment of a child process, without the dashboard's settings (and so without its token)."""
    found = {key: value for key, value in os.environ.items() if key != VARIABLE}
    return {**found, "COLUMNS": "110", "PYTHONUNBUFFERED": "1"}
