"""The error class for every mistake of a user."""

from __future__ import annotations


class TrialError(ValueError):
    """A mistake of the user, explained in four parts; raised before a trial starts or while it runs.

    given: the value that was given, with its configuration key or file.
    why: why it cannot be used.
    allowed: the values that are allowed.
    fix: what to type instead.
    key: the dotted configuration key of the value, '' if there is none.
    """

    everywhere = False
    """Whether all workers of a trial raise this error together; set by
    `trainables.training.distributed.Workers.run_together`."""

    def __init__(self, given: str, why: str, allowed: str, fix: str, key: str = "") -> None:
        super().__init__(f"{given}: {why}")
        self.given, self.why, self.allowed, self.fix, self.key = given, why, allowed, fix, key

    def __reduce__(self) -> tuple[type, tuple[str, str, str, str, str]]:
        return type(self), (self.given, self.why, self.allowed, self.fix, self.key)

    def __str__(self) -> str:
        return f"{self.given}\n  why:     {self.why}\n  allowed: {self.allowed}\n  do:      {self.fix}"
