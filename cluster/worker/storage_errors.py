"""Errors of the storage in a trial, which are not the trial's fault: states that carry them to the driver.

If the storage refuses, the run ends. If one process cannot reach it, another one may: the trial is tried again.
"""

from __future__ import annotations

import errno
import json
import socket

from sweeps.errors import StorageError, StoreAwayError, StoreError

STORAGE, AWAY = "storage: ", "away: "
"""Start of the state of a trial that ended because the storage refused, or did not answer, followed by the error."""


def storage_state(error: StorageError) -> str:
    """The state of a trial that ended because of the storage."""
    return _state(STORAGE, error)


def storage_error(state: str) -> StorageError | None:
    """The error in the state of a trial, if it ended because of the storage."""
    return StorageError(*json.loads(state.removeprefix(STORAGE))) if state.startswith(STORAGE) else None


def away_state(error: StoreAwayError) -> str:
    """The state of a trial whose process could not reach the storage."""
    return _state(AWAY, error)


def away_error(state: str) -> StoreAwayError | None:
    """The error in the state of a trial, if its process could not reach the storage."""
    return StoreAwayError(*json.loads(state.removeprefix(AWAY))) if state.startswith(AWAY) else None


def _state(kind: str, error: StoreError) -> str:
    """The error names this machine, because another one may have the right keys or a way to the server."""
    host = socket.gethostname()
    given = error.given if error.given.startswith(host) else f"{host}: {error.given}"
    return kind + json.dumps([given, error.why, error.allowed, error.fix])


def as_storage_error(error: Exception) -> StorageError | None:
    """The error itself, or one for a full disk of this machine; None if the cause is something else."""
    if isinstance(error, StorageError):
        return error
    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    given = f"{socket.gethostname()}: cannot write {error.filename or 'a file'}"
    fix = "free some and run the command again, which continues"
    return StorageError(given, "the disk is full", "a disk with free space", fix)
