"""A running program: started behind a guard (`guard.py`), asked to end, killed, and how it ended."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainables.command.output import Output
from trainables.errors import TrialError

_GUARD = Path(__file__).with_name("guard.py")
_READ = 1 << 16


class Program:
    """One process of the user's program. Everything that it starts ends with it."""

    def __init__(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], scratch: Path, output: Output
    ) -> None:
        """Start it. folder: its working directory. scratch: deleted if this process dies.

        Raises TrialError if there is no such program.
        """
        check_program(arguments[0], folder, environment)
        self._output = output
        self._status, status = os.pipe()
        try:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD), str(status), str(scratch), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=folder,
                env=dict(environment),
                pass_fds=(status,),
            )
        except OSError as error:  # the arguments are too long, or there are too many processes
            os.close(self._status)
            raise _cannot_start(arguments[0], error.strerror or str(error)) from error
        finally:
            os.close(status)
        self._guard.wait()  # it detaches itself
        self._name, self._words = arguments[0], b""
        self._is_closed = False
        self.exit_code: int | None = None
        """Negative for a signal; None while it runs."""
        self._reader = threading.Thread(target=self._read, name="program output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._guard.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(self._guard.stdout.fileno(), _READ):
                self._output.feed(chunk)
        self._output.end()

    def has_ended(self, wait_s: float = 0.0) -> bool:
        """Whether it has ended, after waiting for that up to `wait_s`. Raises TrialError if it could not start."""
        deadline = time.monotonic() + wait_s
        while self.exit_code is None:
            ready, _, _ = select.select([self._status], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return False
            words = os.read(self._status, 256)
            self._words += words
            lines = self._words.decode().splitlines()
            failed = next((line for line in lines if line.startswith("E ")), None)
            if failed:
                self.exit_code = 127
                number = int(failed[2:])
                hint = "it has no `#!` line" if number == errno.ENOEXEC else os.strerror(number).lower()
                raise _cannot_start(self._name, f"it cannot be executed: {hint}")
            ended = next((line for line in lines if line.startswith("X ")), None)
            if ended:
                self.exit_code = int(ended[2:])
            elif not words:  # the guard itself was killed, and the program with it
                self.exit_code = -signal.SIGKILL
        self._reader.join(2.0)
        return True

    def terminate(self, grace_s: float) -> bool:
        """Ask it to end, and kill it after `grace_s`. Returns whether it ended by itself."""
        self._send(b"T")
        if self.has_ended(grace_s):
            return True
        self.kill()
        return False

    def kill(self) -> None:
        """End it and everything that it started."""
        self._send(b"K")
        self.has_ended(5.0)

    def close(self) -> None:
        """Kill it if it runs, and release what belongs to it. A second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        with contextlib.suppress(TrialError):
            if not self.has_ended():
                self.kill()
        for stream in (self._guard.stdin, self._guard.stdout):
            with contextlib.suppress(OSError):
                if stream and not (stream is self._guard.stdout and self._reader.is_alive()):
                    stream.close()
        os.close(self._status)
        if self.exit_code is None:  # it does not end, as in an uninterruptible system call
            self.exit_code = -signal.SIGKILL

    def _send(self, word: bytes) -> None:
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError):
            os.write(self._guard.stdin.fileno(), word)

    def ending(self) -> str:
        """How it ended, in words: 'exit code 3', 'signal SIGSEGV'."""
        code = self.exit_code or 0
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
        return f"signal {-code}"


def check_program(name: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Raise TrialError if there is no such program, or if it is not executable.

    name: a name to look up in PATH, or a path relative to `folder`.
    """
    is_path = "/" in name
    path = folder / name
    if is_path and path.is_file() and os.access(path, os.X_OK):
        return
    if not is_path and shutil.which(name, path=environment.get("PATH")):
        return
    if path.is_file() and is_path:
        raise _cannot_start(name, "it is not executable", f"chmod +x {name}, and begin it with a `#!` line")
    near = f"{name} is a file of `code`: write ./{name}" if path.is_file() else f"install {name}, or correct its name"
    raise _cannot_start(name, "there is no such program" + ("" if is_path else " in PATH"), near)


def _cannot_start(name: str, why: str, fix: str = "") -> TrialError:
    return TrialError(
        f"run: {name}",
        why,
        "an executable file of `code`, written ./NAME; a program in PATH; {python} for the interpreter of the sweep",
        fix or "write the interpreter first: run: [python, train.py]",
        "run",
    )
