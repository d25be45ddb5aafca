"""Counts how often the processes of trials have died, and records a trial whose process died too often as failed."""

from __future__ import annotations

import time
from collections import Counter

from cluster.driver.queue.leases import Leases
from cluster.worker.worker import CRASHED, FAILED, HELD
from sweeps.holders import this_process
from sweeps.store import attempts as stored_attempts
from sweeps.store import layout
from sweeps.store.base import Store

CRASHES = 3
"""A trial fails when its process has died this often without a new epoch in between."""
FALSE_STARTS = 10
"""As `CRASHES`, for deaths before the trial began; usually caused by the process's previous trial ending slowly."""


class Crashes:
    """The deaths of trials' processes in one run."""

    def __init__(self, store: Store, leases: Leases) -> None:
        self._store, self._leases = store, leases
        self._deaths: Counter[tuple[str, bool]] = Counter()
        """By trial and whether it had begun."""
        self._reached: Counter[str] = Counter()

    def progress(self, trial_id: str, epoch: int) -> None:
        """A trial has reported an epoch; one that it had not reached before resets its count."""
        if epoch > self._reached[trial_id]:
            self._reached[trial_id] = epoch
            self._deaths.pop((trial_id, True), None)

    def died(self, trial_id: str, after: int) -> str:
        """The state of a trial whose process died: failed if the trial recorded that, or if it died too often.

        after: number of the newest attempt before this one.
        """
        attempt = stored_attempts.newest_attempt(self._store, trial_id)
        begun = attempt is not None and attempt.number > after
        end = layout.get_intact(self._store, attempt.end_key) if attempt is not None and begun else None
        if end is not None and end["state"] in (FAILED, stored_attempts.UNMEASURED):
            return FAILED
        self._deaths[trial_id, begun] += 1
        if not self._too_often(trial_id, begun):
            return CRASHED
        return FAILED if self.record(trial_id) else HELD  # held: its last attempt still counts as alive

    def _too_often(self, trial_id: str, begun: bool) -> bool:
        return self._deaths[trial_id, begun] >= (CRASHES if begun else FALSE_STARTS)

    def record(self, trial_id: str) -> bool:
        """Record a trial whose process died too often as failed. Returns whether it is recorded.

        The dead process could not record it, so this process claims an attempt to do so. Nothing is recorded for a
        trial that may be tried again, or while the trial's last attempt still counts as alive.
        """
        begun = self._too_often(trial_id, True)
        if not begun and not self._too_often(trial_id, False):
            return False
        after = self._leases.free_after(trial_id)
        claim = {"claimed_at": time.time(), "process": this_process(), "provenance": {}}
        attempt = None if after is None else stored_attempts.claim(self._store, trial_id, after, claim)
        if attempt is not None:
            often = self._deaths[trial_id, begun]
            message = (
                f"the trial's process died {often} times in this run{'' if begun else ' before it began'}; a common "
                "cause is lack of memory: run fewer trials at once (--max-concurrent) or use a smaller batch"
            )
            error = {"type": "process died", "message": message, "traceback": ""}
            stored_attempts.end(self._store, attempt, FAILED, time.time(), error)
        return attempt is not None
