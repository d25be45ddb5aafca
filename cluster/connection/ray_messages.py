"""Ray's messages to its driver: one line on the terminal, the whole text, often pages of C++ state, in a file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ray._private import utils as ray_utils
from ray._private import worker as ray_worker

from cluster.connection import waiting

FILE = "driver-messages.txt"
_SHOWN = 160
"""Characters of a message on the terminal."""


def tell_driver(line: str) -> None:
    """Show a line on the terminal of the driver; called in one of its actors, whose own output is not shown."""
    worker = ray_worker.global_worker
    ray_utils.publish_error_to_driver("waiting", line, worker.gcs_client, worker.current_job_id)


@contextlib.contextmanager
def shortened(logs: Path) -> Iterator[None]:
    """Shorten the messages for the time of a `with` statement. logs: folder that gets the file with the whole texts."""

    def write(data: Mapping[str, Any], **_: object) -> None:
        text = "\n".join(map(str, data["lines"])).strip()
        if text.startswith(waiting.BEGINNING):  # of `tell_driver`
            waiting.say(text)
            return
        line = " ".join(text.partition("\n")[0].split())
        line = line if len(line) <= _SHOWN else line[:_SHOWN] + "..."
        try:
            with (logs / FILE).open("a", encoding="utf-8") as file:
                file.write(text + "\n")
            where = str(logs / FILE)
        except OSError as error:
            where = f"not written: {error.strerror}"
        print(f"Ray: {line} (whole message: {where})", file=sys.stderr)

    before = ray_worker.print_to_stdstream
    ray_worker.print_to_stdstream = write
    try:
        yield
    finally:
        ray_worker.print_to_stdstream = before
