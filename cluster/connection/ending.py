"""Ends the process of a run whose Ray is lost, from a thread: Ray's own calls in the main thread do not return."""

from __future__ import annotations

import os
import sys

from sweeps.errors import SweepError

FAILED = 1
_SHOW_CURSOR = "\x1b[?25h"
"""A live table hides the cursor of the terminal."""


def end_process(error: SweepError) -> None:
    """Print the error and end this process at once."""
    if sys.stderr.isatty():
        sys.stderr.write(_SHOW_CURSOR)
    print(f"error: {error}", file=sys.stderr)
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(FAILED)
