"""Runs the real command in a separate process, watches it through its store, and interrupts, stops or kills it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sweeps.holders import is_gone
from sweeps.store import attempts as stored_attempts
from sweeps.store import checkpoints, layout
from sweeps.store.base import Store
from tests import memory

ROOT = Path(__file__).resolve().parents[2]
RUN_MARK = "INPAINT_SWEEPS_TEST_RUN"
DRIVER, ACTOR, RAY = "driver", "trial actor", "all of Ray"
RAYLET, GCS, GROUP = "raylet", "GCS", "process group"
_PROGRAMS = {RAYLET: "/raylet/raylet", GCS: "/gcs/gcs_server"}


class DriverProcess:
    """`sweeps ...` in its own session, with an environment variable that identifies all its processes."""

    def __init__(
        self, store: Store, *arguments: object, folder: Path, environment: Mapping[str, str | None] | None = None
    ) -> None:
        """environment: variables of the command; None removes one."""
        self.store, self.mark = store, uuid.uuid4().hex
        self.output = folder / f"output-{self.mark}.txt"
        newest = {trial_id: stored_attempts.attempt_numbers(store, trial_id) for trial_id in store.children("trials")}
        self._known = {trial_id: max(numbers, default=0) for trial_id, numbers in newest.items()}
        own = {RUN_MARK: self.mark, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
        own["RAY_gcs_rpc_server_reconnect_timeout_s"] = "3"  # 10 by default, which only adds waiting
        given = {**os.environ, **own, **(environment or {})}
        variables = {name: value for name, value in given.items() if value is not None}
        command = [sys.executable, "-m", "sweeps.cli", *map(str, arguments), "--store", store.uri]
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def new_epochs(self) -> set[tuple[str, str, int]]:
        """(trial, attempt, epoch) of the checkpoints that this run has written, without those of earlier attempts."""
        found = set()
        for trial_id in self.store.children("trials"):
            known = self._known.get(trial_id, 0)
            saved = checkpoints.checkpoints(self.store, trial_id)
            found |= {(trial_id, name, epoch) for name, epoch in saved if int(name.partition("-")[0]) > known}
        return found

    def at_work(self) -> dict[str, int]:
        """Trial id -> process id of the trials that this run is training, on its own or a shared Ray."""
        found = {}
        for trial_id in self.store.children("trials"):
            attempt = stored_attempts.newest_attempt(self.store, trial_id)
            if attempt is None or attempt.number <= self._known.get(trial_id, 0):
                continue
            if layout.get_json(self.store, attempt.end_key) is not None:
                continue
            claim = layout.get_json(self.store, attempt.key("attempts", f"{attempt.number:04d}.json"))
            holder = (claim or {}).get("process", {})
            if holder and not is_gone(holder):
                found[trial_id] = holder["pid"]
        return found

    def family(self) -> set[int]:
        """The living processes of this run: the driver, Ray's, the trial actors."""
        return {pid for pid in _processes() if _inherited(pid, self.mark)}

    def kill(self, what: str, chance: Callable[[list[int]], int] = min) -> bool:
        """SIGKILL one or several processes of this run. Returns whether this hit training.

        what: the driver, an actor that is training a trial, all of Ray or one of its servers, or the driver's group.
        """
        trainers = list(self.at_work().values())
        if what == DRIVER:
            victims = {self.process.pid}
        elif what == ACTOR:
            victims = {chance(trainers)} if trainers else set()
        elif what == GROUP:
            victims = {pid for pid in self.family() if _group_of(pid) == self.process.pid}
        elif what in _PROGRAMS:
            victims = {pid for pid in self.family() if _program_of(pid).endswith(_PROGRAMS[what])}
        else:
            victims = self.family() - {self.process.pid}
        _kill(victims)
        return bool(trainers)

    def until(self, true: Callable[[], object], timeout_s: float = 300) -> bool:
        """Wait for something to become true. False if the command ended before."""
        deadline = time.monotonic() + timeout_s
        while not true():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < deadline, f"nothing happened in {timeout_s} s:\n{self.output_text()}"
            time.sleep(0.05)
        return True

    def wait(self, timeout_s: float = 600) -> int:
        """The exit code."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs after {timeout_s} s:\n{self.output_text()}") from None

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """Ctrl-C, which a terminal sends to every process of the group, or another signal to the driver alone."""
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def output_text(self) -> str:
        return self.output.read_text(errors="replace")

    def end(self) -> None:
        """Kill all remaining processes. Ray's agents outlive their driver by most of a minute."""
        while family := self.family():
            _kill(family)
            time.sleep(0.05)
        self.process.wait()


@contextlib.contextmanager
def workplace() -> Iterator[Callable[..., DriverProcess]]:
    """Starts commands; removes their processes and their files, including those of Ray in TMPDIR, at the end."""
    started: list[DriverProcess] = []
    with memory.short_folder("killed-") as name:

        def start(
            store: Store, *arguments: object, environment: Mapping[str, str | None] | None = None
        ) -> DriverProcess:
            started.append(DriverProcess(store, *arguments, folder=Path(name), environment=environment))
            return started[-1]

        try:
            yield start
        finally:
            for driven in started:
                driven.end()


def _kill(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def _program_of(pid: int) -> str:
    """The program of a process; '' if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _inherited(pid: int, mark: str) -> bool:
    """Whether a living process has the variable; the environment of a zombie is empty."""
    try:
        return f"{RUN_MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
