"""The one shape of every error that a user can cause."""

from __future__ import annotations


class SweepError(ValueError):
    """A mistake of the user's, told in four parts; the command prints it and exits with 2.

    given: what was given, with its place (file and line, or option).
    why: why it cannot be used.
    allowed: what could stand there.
    fix: what to type instead.
    """

    def __init__(self, given: str, why: str, allowed: str, fix: str) -> None:
        super().__init__(f"{given}: {why}")
        self.given, self.why, self.allowed, self.fix = given, why, allowed, fix

    def __reduce__(self) -> tuple[type, tuple[str, str, str, str]]:
        return type(self), (self.given, self.why, self.allowed, self.fix)

    def __str__(self) -> str:
        return f"{self.given}\n  why:     {self.why}\n  allowed: {self.allowed}\n  do:      {self.fix}"


class StoreError(SweepError):
    """The store cannot be read or written: full disk, no permission, damaged object, newer schema."""


class StoreAwayError(StoreError):
    """The store does not answer, or not with these credentials, though it was waited for: tried again later, it may."""
