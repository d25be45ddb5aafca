"""Whether somebody else trains a trial, without trusting anybody's clock.

An attempt is over when it has written its end, or when its process is known to be gone, or when its heartbeat has not
changed for `LEASE_S` by *this* process's own clock. A clock that jumps, here or elsewhere, changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cluster import provenance
from sweeps import ledger
from sweeps.store import Store

LEASE_S = 30.0
"""Seconds without a new heartbeat after which an attempt counts as dead: six beats."""
AWAY_S = 5.0
"""A look that takes longer means that the store was away, for the heartbeats too: all leases begin anew."""


class Leases:
    """Watches the attempts of one store. One instance a driver."""

    def __init__(self, store: Store, lease_s: float = LEASE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._lease_s, self._clock = store, lease_s, clock
        self._seen: dict[str, tuple[bytes, float]] = {}

    def free_after(self, trial_id: str) -> int | None:
        """The newest attempt's number (0: none was made) if it is over and the next may claim; None if it lives."""
        newest = ledger.newest_attempt(self._store, trial_id)
        if newest is None:
            return 0
        return newest.number if self._is_over(newest) else None

    def _is_over(self, attempt: ledger.Attempt) -> bool:
        if ledger.get_json(self._store, attempt.end_key) is not None:
            return True
        claim_key = attempt.key("attempts", f"{attempt.number:04d}.json")
        claim = ledger.get_json(self._store, claim_key) or {}
        if provenance.is_gone(claim.get("process", {})):
            return True
        begun = self._clock()
        beat = self._store.get_many([attempt.beat_key]).get(attempt.beat_key, b"")
        last, since = self._seen.get(attempt.name, (None, 0.0))
        if self._clock() - begun > AWAY_S:
            self._seen.clear()
            last = None
        if beat != last:
            self._seen[attempt.name] = (beat, self._clock())
            return False
        return self._clock() - since > self._lease_s
