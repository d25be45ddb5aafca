"""Whether somebody else trains a trial, without trusting anybody's clock.

An attempt is over when it has written its end, or when its process is known to be gone, or when its heartbeat has not
changed for `LEASE_S` by *this* process's own clock. A clock that jumps, here or elsewhere, changes nothing. Silence
counts only while somebody looks: of the time between two looks `LOOK_S` at most, since a store that was away for this
process was away for the heartbeats too.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cluster.worker import provenance
from sweeps.store import attempts as stored_attempts
from sweeps.store import layout
from sweeps.store.base import Store

LEASE_S = 30.0
"""Seconds without a new heartbeat after which an attempt counts as dead: six beats."""
LOOK_S = 5.0
"""What the time between two looks counts for at most: twice as long as drivers wait between two, and more."""


class Leases:
    """Watches the attempts of one store. One instance a driver."""

    def __init__(self, store: Store, lease_s: float = LEASE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._lease_s, self._clock = store, lease_s, clock
        self._seen: dict[str, tuple[bytes, float, float]] = {}
        """By attempt: its last heartbeat, how long it was the same, when that was looked at."""

    def free_after(self, trial_id: str) -> int | None:
        """The newest attempt's number (0: none was made) if it is over and the next may claim; None if it lives."""
        newest = stored_attempts.newest_attempt(self._store, trial_id)
        if newest is None:
            return 0
        return newest.number if self._is_over(newest) else None

    def _is_over(self, attempt: stored_attempts.Attempt) -> bool:
        if layout.get_json(self._store, attempt.end_key) is not None:
            return True
        claim_key = attempt.key("attempts", f"{attempt.number:04d}.json")
        claim = layout.get_json(self._store, claim_key) or {}
        if provenance.is_gone(claim.get("process", {})):
            return True
        beat = self._store.get_many([attempt.beat_key]).get(attempt.beat_key, b"")
        now = self._clock()
        last, silent, looked = self._seen.get(attempt.name, (None, 0.0, now))
        silent = silent + min(now - looked, LOOK_S) if beat == last else 0.0
        self._seen[attempt.name] = (beat, silent, now)
        return silent > self._lease_s
