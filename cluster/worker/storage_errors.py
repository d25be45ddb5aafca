"""Errors of the storage in a trial: they end the run, and the trial goes on in the next one."""

from __future__ import annotations

import errno
import json
import socket

from sweeps.errors import StorageError

STORAGE = "storage: "
"""Start of the state of a trial that ended because the storage refused, followed by the error as JSON."""


def storage_state(error: StorageError) -> str:
    """The state of a trial that ended because of the storage."""
    return STORAGE + json.dumps([error.given, error.why, error.allowed, error.fix])


def storage_error(state: str) -> StorageError | None:
    """The error in the state of a trial, if it ended because of the storage."""
    return StorageError(*json.loads(state.removeprefix(STORAGE))) if state.startswith(STORAGE) else None


def as_storage_error(error: Exception) -> StorageError | None:
    """The error itself, or one for a full disk of this machine; None if the cause is something else."""
    if isinstance(error, StorageError):
        return error
    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    given = f"{socket.gethostname()}: cannot write {error.filename or 'a file'}"
    fix = "free some and run the command again, which continues"
    return StorageError(given, "the disk is full", "a disk with free space", fix)
