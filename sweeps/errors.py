"""The base classes of all errors that a user can cause."""

from __future__ import annotations


class SweepError(ValueError):
    """A user error in four parts. The command prints it and exits with code 2.

    given: what was given, with its place (file and line, or option).
    why: why it cannot be used.
    allowed: what is allowed.
    fix: what to type.
    """

    def __init__(self, given: str, why: str, allowed: str, fix: str) -> None:
        super().__init__(f"{given}: {why}")
        self.given, self.why, self.allowed, self.fix = given, why, allowed, fix

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


class StoreAwayError(StoreError):
    """The store did not answer, or its credentials had expired, for the whole waiting time. A later try may succeed."""
