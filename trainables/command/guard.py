"""Runs one program, and ends everything that it started if the worker dies. A script, which imports nothing of ours.

    python guard.py STATUS_FD SCRATCH PROGRAM ARGUMENT ...

The worker holds the other end of standard input. `T` sends SIGTERM to the program's process group, `K` ends it and all
its descendants; so does the end of input, which is how the death of a worker is noticed, and the scratch folder is then
deleted. The guard writes `E errno` to STATUS_FD if the program cannot be executed, and `X code` when it has ended; the
code is negative for a signal. It detaches itself from the worker, so that a runner that kills the children of a worker
does not kill the guard before the program.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import sys
from typing import Any

_SET_DEATH_SIGNAL, _SET_SUBREAPER = 1, 36  # of prctl, on Linux


def main() -> None:
    status, scratch, arguments = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if os.fork():
        os._exit(0)
    os.setsid()
    os.set_inheritable(status, False)
    prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None
    if prctl:
        prctl(_SET_SUBREAPER, 1, 0, 0, 0)  # orphans of the program become our children
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    program = os.fork()
    if not program:
        _execute(arguments, status, prctl)
    with contextlib.suppress(OSError):
        os.setpgid(program, program)
    code, abandoned = _watch(program, woken)
    _kill(program)
    if abandoned:
        shutil.rmtree(scratch, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.write(status, f"X {code}\n".encode())
    os._exit(0)


def _execute(arguments: list[str], status: int, prctl: Any) -> None:
    try:
        os.setpgid(0, 0)
        if prctl:
            prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(1, 2)
        os.execvp(arguments[0], arguments)
    except OSError as error:
        os.write(status, f"E {error.errno}\n".encode())
    finally:
        os._exit(127)


def _watch(program: int, woken: int) -> tuple[int, bool]:
    """Wait until the program has ended. Returns its exit code, and whether the worker is gone."""
    control, abandoned = [0], False
    while True:
        ready, _, _ = select.select([*control, woken], [], [], 5.0)
        if woken in ready:
            os.read(woken, 512)
        if 0 in ready:
            words = os.read(0, 64)
            if b"T" in words:
                with contextlib.suppress(OSError):
                    os.killpg(program, signal.SIGTERM)
            if b"K" in words or not words:
                with contextlib.suppress(OSError):
                    os.killpg(program, signal.SIGKILL)
            if not words:
                control, abandoned = [], True
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return -signal.SIGKILL, abandoned
            if pid == program:
                return os.waitstatus_to_exitcode(status), abandoned
            if not pid:
                break


def _kill(program: int) -> None:
    """End what is left of the program: its process group, and descendants in other groups or sessions."""
    with contextlib.suppress(OSError):
        os.killpg(program, signal.SIGKILL)
    for _ in range(200):  # each round ends the children that the last one has orphaned
        children = _children()
        for pid in children:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, 0 if children else os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def _children() -> list[int]:
    with contextlib.suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]
    return []


if __name__ == "__main__":
    main()
