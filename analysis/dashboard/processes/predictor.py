"""One child process that answers the Try page: `sweeps predict` without its start, which loads torch each time."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from analysis.dashboard.processes.commands import environment, output_tail, unnamed_file
from sweeps.errors import SweepError

TIME_LIMIT_S = 180.0
"""Of a request, the start of the process and the wait for others' requests included."""
IDLE_S = 300.0
"""A process that is not asked for so long is ended."""


class PredictorProcess:
    """A process of `sweeps.cli.prediction_server`, started when it is needed; one request at a time.

    It ends after IDLE_S without a request, with this process (also when that is killed: its input ends then), and at a
    request that takes too long. The next request starts another one.
    """

    def __init__(self, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        self._asking = threading.Lock()
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = -1
        self._timer: threading.Timer | None = None
        atexit.register(self.close)

    @property
    def pid(self) -> int | None:
        """Of the process, None where there is none."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the process, unless it runs; returns at once."""
        with self._starting:
            if self.pid is not None:
                return
            self._end()
            self._log = unnamed_file()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sweeps.cli.prediction_server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=environment(),
                start_new_session=True,
            )
            self._wait_idle()

    def ask(self, arguments: Sequence[str], limit_s: float = TIME_LIMIT_S) -> tuple[int, str]:
        """The exit code of `sweeps predict` with these arguments, and what it said. SweepError after `limit_s`."""
        deadline = time.monotonic() + limit_s
        if not self._asking.acquire(timeout=limit_s):
            raise self._too_long(limit_s)
        try:
            self.start()
            process = self._process
            assert process is not None
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # its end is told below
                process.stdin.write(json.dumps(list(arguments)).encode() + b"\n")
                process.stdin.flush()
            line = self._line(process, deadline)
            if line is None:
                self.close()
                raise self._too_long(limit_s)
            if not line.endswith(b"\n"):
                process.wait(5)
                said = output_tail(self._log)
                self.close()
                return process.returncode or 1, said
            answer = json.loads(line)
            self._wait_idle()
            return int(answer["code"]), str(answer["said"])
        finally:
            self._asking.release()

    @staticmethod
    def _line(process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
        """Its next line; what there is of one where it has ended; None where nothing came in time."""
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                break
            line += data
        return line

    @staticmethod
    def _too_long(limit_s: float) -> SweepError:
        why = f"it took longer than {limit_s:.0f} s"
        return SweepError("sweeps predict", why, "a smaller image or network", "the command itself")

    def _wait_idle(self) -> None:
        """Count the idle time anew."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(self._idle_s, self._end_idle)
        self._timer.daemon = True
        self._timer.start()

    def _end_idle(self) -> None:
        if self._asking.acquire(blocking=False):
            try:
                self.close()
            finally:
                self._asking.release()
        else:
            self._wait_idle()

    def close(self) -> None:
        """End the process."""
        with self._starting:
            self._end()
            if self._timer is not None:
                self._timer.cancel()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        os.close(self._log)
