"""Temporary folders of this package: removed at their end, or by a later run if their process was killed.

A folder holds a lock that the kernel releases when its process ends. Whoever gets the lock of a folder knows that
nobody uses it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sweeps.errors import SweepError

ABANDONED_S = 3600.0
"""Age in seconds from which a folder without a process is removed; before, its logs may still be of use."""
_PREFIX, _LOCK = "sweeps-", ".in-use"
_SHORT = "/tmp"
_locks: dict[Path, int] = {}
"""File descriptors of the locks of this process's folders."""


def new_folder(purpose: str, parent: str | None = None, longest_parent: int | None = None) -> Path:
    """Make a folder that only this user can read; `remove` ends it.

    purpose: a word that becomes part of its name.
    parent: the folder that holds it; None: $TMPDIR. If its path is longer than `longest_parent`, /tmp is used instead.
    SweepError if no folder for temporary files can be written.
    """
    try:
        parent = parent or tempfile.gettempdir()
        name = f"{_PREFIX}{purpose}-"
        if longest_parent is not None and len(parent) > longest_parent:
            parent = _SHORT
        folder = Path(tempfile.mkdtemp(prefix=name, dir=parent))
        descriptor = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise SweepError(
            f"TMPDIR={os.environ.get('TMPDIR', '')}",
            f"no temporary folder can be made ({error.strerror or error})",
            "a folder with free space that this user may write to",
            "export TMPDIR=/tmp, or another such folder",
        ) from error
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _locks[folder] = descriptor
    return folder


def remove(folder: Path) -> None:
    """Remove a folder of this process."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder in _locks:
        os.close(_locks.pop(folder))


@contextlib.contextmanager
def folder(purpose: str) -> Iterator[Path]:
    """A temporary folder for the time of a `with` statement."""
    made = new_folder(purpose)
    try:
        yield made
    finally:
        remove(made)


def remove_abandoned(older_than_s: float = ABANDONED_S) -> int:
    """Remove the folders of processes that were killed. Returns how many. older_than_s: least age in seconds."""
    parents = dict.fromkeys((tempfile.gettempdir(), _SHORT))
    folders = [path for parent in parents for path in Path(parent).glob(f"{_PREFIX}*")]
    abandoned = [path for path in folders if _is_abandoned(path, older_than_s)]
    for path in abandoned:
        shutil.rmtree(path, ignore_errors=True)
    return len(abandoned)


def _is_abandoned(folder: Path, older_than_s: float) -> bool:
    """Whether a folder of this user has a lock that nobody holds. A folder without a lock is not ours."""
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return time.time() - os.fstat(descriptor).st_mtime >= older_than_s
    except OSError:
        return False
    finally:
        os.close(descriptor)
