"""Keeps the temporary files of the tests in memory, where there is room.

The tests write many thousands of objects to stores, and a store waits for the disk at each of them: 15 ms on a busy
disk, 0.1 ms in memory. Processes that the tests start inherit TMPDIR.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
NEEDED_BYTES = 6 * 2**30
"""What must be free, with room to spare: a quarter of a run was seen to take 0.8 GB."""


class FilesInMemory:
    """Plugin of the process that starts the run: makes a folder in memory, and removes it unless a test failed."""

    def __init__(self) -> None:
        # An underscore after a dash, which Markdown escapes: a test that looks for a path where it is escaped always
        # fails, rather than when chance has drawn such a name.
        self.folder = Path(tempfile.mkdtemp(prefix="sweeps-_", dir=MEMORY))
        self._before = os.environ.get("TMPDIR")
        self._use(str(self.folder))

    @staticmethod
    def _use(folder: str | None) -> None:
        if folder is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = folder
        tempfile.tempdir = None  # it is found anew

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        self._use(self._before)
        if not self._failed(config):
            shutil.rmtree(self.folder, ignore_errors=True)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        if self._failed(config):
            terminalreporter.line(f"files of failed tests, in memory until they are removed: {self.folder}")

    @staticmethod
    def _failed(config: pytest.Config) -> bool:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        return bool(reporter and any(reporter.stats.get(kind) for kind in ("failed", "error")))


def short_folder(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder for files of Ray, whose sockets need a short path: in memory, beside the folder of the run."""
    parent = MEMORY if MEMORY in Path(tempfile.gettempdir()).parents else None
    return tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True)


def use_memory(config: pytest.Config) -> None:
    """Add the plugin, except in the processes of pytest-xdist, which inherit TMPDIR, and where memory is scarce."""
    if hasattr(config, "workerinput") or not os.access(MEMORY, os.W_OK):
        return
    if shutil.disk_usage(MEMORY).free >= NEEDED_BYTES:
        config.pluginmanager.register(FilesInMemory(), "files-in-memory")
