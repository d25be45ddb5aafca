"""A child process that runs `sweeps predict` for the Try page, so that torch is not loaded for every request."""

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
"""Limit for a request, including the start of the process and the wait for other requests."""
IDLE_S = 300.0
"""The process is ended after this time without a request."""


class PredictorProcess:
    """A process of `sweeps.cli.prediction_server`, started when needed; it handles one request at a time.

    It ends after IDLE_S without a request, after a request that takes too long, and with this process, even if this
    process is killed, because then its input ends. The next request starts a new one.
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
        """Id of the process; None if it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the process unless it runs already. Returns at once."""
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
            self._restart_timer()

    def ask(self, arguments: Sequence[str], limit_s: float = TIME_LIMIT_S) -> tuple[int, str]:
        """(exit code, output) of `sweeps predict` with these arguments. Raises SweepError after `limit_s` seconds."""
        deadline = time.monotonic() + limit_s
        if not self._asking.acquire(timeout=limit_s):
            raise self._too_long(limit_s)
        try:
            self.start()
            process = self._process
            assert process is not None
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # the process has ended, which is handled below
                process.stdin.write(json.dumps(list(arguments)).encode() + b"\n")
                process.stdin.flush()
            line = self._line(process, deadline)
            if line is None:
                self.close()
                raise self._too_long(limit_s)
            if not line.endswith(b"\n"):
                process.wait(5)
                output = output_tail(self._log)
                self.close()
                return process.returncode or 1, output
            answer = json.loads(line)
            self._restart_timer()
            return int(answer["code"]), str(answer["said"])
        finally:
            self._asking.release()

    @staticmethod
    def _line(process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
        """The next line of output; an incomplete one if the process has ended; None after the deadline."""
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
        return SweepError("sweeps predict", why, "a smaller image or network", "run the command in a terminal")

    def _restart_timer(self) -> None:
        """Restart the timer that ends the idle process."""
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
            self._restart_timer()

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
