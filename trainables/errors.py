"""The one shape of every error that a user can cause."""

from __future__ import annotations


class TrialError(ValueError):
    """A mistake of the user's, told in four parts; raised before or while a trial runs.

    given: what was given, with its place (configuration key, or file).
    why: why it cannot be used.
    allowed: what could stand there.
    fix: what to type instead.
    key: the dotted configuration key that it is about, where it is about one.
    """

    everywhere = False
    """Whether all workers of a trial raise it together: `trainables.training.distributed.Workers.together` sees to
    that."""

    def __init__(self, given: str, why: str, allowed: str, fix: str, key: str = "") -> None:
        super().__init__(f"{given}: {why}")
        self.given, self.why, self.allowed, self.fix, self.key = given, why, allowed, fix, key

    def __reduce__(self) -> tuple[type, tuple[str, str, str, str, str]]:
        return type(self), (self.given, self.why, self.allowed, self.fix, self.key)

    def __str__(self) -> str:
        return f"{self.given}\n  why:     {self.why}\n  allowed: {self.allowed}\n  do:      {self.fix}"
