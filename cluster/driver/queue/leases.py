"""Decides whether another process is still training a trial, without comparing clocks of machines.

An attempt is over when its end is in the store, when its process is known to be gone, or when its heartbeat has not
changed for `LEASE_S` seconds by *this* process's monotonic clock. A clock that jumps, here or elsewhere, changes
nothing. At most `LOOK_S` seconds between two checks count as silence: a store that this process could not reach may
have been out of reach for the heartbeats too.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sweeps.holders import LEASE_S, is_gone
from sweeps.store import attempts as stored_attempts
from sweeps.store.base import Store

LOOK_S = 5.0
"""Seconds of silence that one interval between two checks adds at most; drivers check every 2 s."""


class Leases:
    """Tracks whether the attempts of one store are alive. Each driver has one instance."""

    def __init__(self, store: Store, lease_s: float = LEASE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._lease_s, self._clock = store, lease_s, clock
        self._seen: dict[str, tuple[bytes, float, float]] = {}
        """Per attempt: its last heartbeat, for how many seconds it has not changed, when it was last read."""

    def free_after(self, trial_id: str) -> int | None:
        """The newest attempt's number (0: no attempt yet) if the next one may claim the trial; None if it is alive."""
        newest = stored_attempts.newest_attempt(self._store, trial_id)
        if newest is None:
            return 0
        return newest.number if self._is_over(newest) else None

    def _is_over(self, attempt: stored_attempts.Attempt) -> bool:
        if self._store.exists_many([attempt.end_key]) or is_gone(attempt.holder):
            return True
        beat = self._store.get_many([attempt.beat_key]).get(attempt.beat_key, b"")
        now = self._clock()
        last_beat, silent_s, read_at = self._seen.get(attempt.name, (None, 0.0, now))
        silent_s = silent_s + min(now - read_at, LOOK_S) if beat == last_beat else 0.0
        self._seen[attempt.name] = (beat, silent_s, now)
        return silent_s > self._lease_s
