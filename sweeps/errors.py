"""The base classes of all errors that a user can cause."""

from __future__ import annotations

import re

_MOST = 2000
"""Characters of one part of an error; of a longer one the middle is left out."""
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """A text of at most 2,000 characters, in which characters that would control a terminal are escaped.

    Errors echo what a user or a file has given, which may be a megabyte long or contain escape sequences.
    """
    text = _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    if len(text) > _MOST:
        left_out = len(text) - _MOST + 100
        return f"{text[: _MOST // 2]} ... ({left_out:,} characters left out) ... {text[_MOST // 2 + left_out :]}"
    return text


class SweepError(ValueError):
    """A user error in four parts. The command prints it and exits with code 2.

    given: what was given, with its place (file and line, or option).
    why: why it cannot be used.
    allowed: what is allowed.
    fix: what to type.
    """

    def __init__(self, given: str, why: str, allowed: str, fix: str) -> None:
        self.given, self.why, self.allowed, self.fix = map(printable, (given, why, allowed, fix))
        super().__init__(f"{self.given}: {self.why}")

    def __reduce__(self) -> tuple[type, tuple[str, str, str, str]]:
        return type(self), (self.given, self.why, self.allowed, self.fix)

    def __str__(self) -> str:
        return f"{self.given}\n  why:     {self.why}\n  allowed: {self.allowed}\n  do:      {self.fix}"


class Terminated(KeyboardInterrupt):
    """SIGTERM asked this process to end. A run ends as after Ctrl-C, with another exit code."""


class UnknownNameError(SweepError, KeyError):
    """A name that nothing has; `allowed` lists the names that there are."""


class StoreError(SweepError):
    """The store cannot be read or written: disk full, no permission, damaged object, newer schema."""


class StorageError(StoreError):
    """The storage refuses: it is full, forbidden or was deleted. This ends a run and is not the fault of a trial."""


class StoreAwayError(StoreError):
    """The store did not answer, or its credentials had expired, for the whole waiting time. A later try may succeed."""


class JobLostError(SweepError):
    """A job on a cluster cannot be followed any more: the dashboard stayed away, or does not know the job."""
