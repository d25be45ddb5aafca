"""Decides how long a run goes on while the processes of its trials cannot reach the store."""

from __future__ import annotations

import time

from cluster.connection import waiting
from cluster.driver.queue.crashes import FALSE_STARTS
from sweeps.errors import StoreAwayError
from sweeps.store.s3.client import patience


class StoreAway:
    """Machines of one run that could not reach the store.

    Their trials have not failed: they are tried again, maybe on another machine. A process that has never reached the
    store gives up within seconds, so that a wrong address is told soon; the run is as patient as the driver.
    """

    def __init__(self) -> None:
        self._times, self._since = 0, 0.0
        """How often a process could not reach the store since the last record of any trial, and since when."""
        self._machines: set[str] = set()

    def reached(self) -> None:
        """A trial has reported, so the store can be reached."""
        self._times = 0

    def tell(self, error: StoreAwayError) -> None:
        """Say once for each machine that it cannot reach the store. Raises the error if no machine does for long."""
        machine = error.given.partition(": ")[0]
        if machine not in self._machines:
            self._machines.add(machine)
            waiting.say(f"{error.given}: {error.why}; the trial is tried again")
        if not self._times:
            self._since = time.monotonic()
        self._times += 1
        if self._times >= FALSE_STARTS and time.monotonic() - self._since >= patience():
            raise error
