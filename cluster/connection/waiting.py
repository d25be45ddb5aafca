"""Say what a command waits for: soon after it begins to wait, and again from time to time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

FIRST_S = 4.0
"""Seconds of waiting before the first line; shorter waits are not mentioned."""
EVERY_S = 30.0
"""Seconds between two lines."""

BEGINNING = "waiting for "
"""How every line begins."""

T = TypeVar("T")


def say(line: str) -> None:
    """Print a line on the terminal of this process."""
    print(line, file=sys.stderr, flush=True)


class WaitNotice:
    """Says the reason for a wait when it has lasted `FIRST_S` seconds, and then every `EVERY_S` seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, say: Callable[[str], None] = say) -> None:
        self._clock, self._say = clock, say
        self._since: float | None = None
        self._next = 0.0

    def update(self, reason: Callable[[], str] | None) -> None:
        """Call this often. reason: what is waited for, asked only when a line is due; None if nothing is."""
        now = self._clock()
        if reason is None:
            self._since = None
        elif self._since is None:
            self._since, self._next = now, now + FIRST_S
        elif now >= self._next:
            self._next = now + EVERY_S
            self._say(f"{BEGINNING}{now - self._since:.0f} s: {reason()}")


def call(work: Callable[[], T], reason: str, limit_s: float) -> T:
    """The result of `work`, with lines that say how long it has been waited for. TimeoutError after the limit.

    `work` runs in a thread of its own, which is abandoned after the limit.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    notice, deadline = WaitNotice(), time.monotonic() + limit_s
    while thread.is_alive():
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(reason)
        notice.update(lambda: reason)
        thread.join(min(left, 0.5))
    if errors:
        raise errors[0]
    return results[0]
