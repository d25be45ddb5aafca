"""The error class for every mistake of a user."""

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
        self.given, self.why, self.allowed, self.fix = map(printable, (given, why, allowed, fix))
        self.key = key
        super().__init__(f"{self.given}: {self.why}")

    def __reduce__(self) -> tuple[type, tuple[str, str, str, str, str]]:
        return type(self), (self.given, self.why, self.allowed, self.fix, self.key)

    def __str__(self) -> str:
        return f"{self.given}\n  why:     {self.why}\n  allowed: {self.allowed}\n  do:      {self.fix}"
