"""A process that computes files in the background: a test waits for those that it reads, and no longer."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 600.0
"""Seconds after which a file, or the end of the process, is not waited for any longer."""


@dataclass(frozen=True)
class Background:
    folder: Path
    """The folder that it writes. Files appear under their names when they are complete."""
    process: subprocess.Popen[bytes]
    output: IO[bytes]

    def file(self, *names: str) -> Path:
        """A file, as soon as it is complete. Raises AssertionError with the output if the process ends without it."""
        path = self.folder.joinpath(*names)
        deadline = time.monotonic() + TIMEOUT_S
        while not path.exists() and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert path.exists(), f"{path.name} is missing, exit code {self.process.poll()}:\n{self._said()}"
        return path

    def end(self) -> None:
        """Wait for the end of the process. Raises AssertionError with the output if it fails."""
        code = self.process.wait(TIMEOUT_S)
        assert code == 0, f"exit code {code}:\n{self._said()}"

    def _said(self) -> str:
        self.output.seek(0)
        return self.output.read().decode(errors="replace")[-9000:]


@contextlib.contextmanager
def started(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Background]:
    """Start a command in the repository's root; at the end, kill what is left of its process group."""
    with (folder / "output.txt").open("w+b") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, process_group=0
        )
        try:
            yield Background(folder, process, output)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a command in the repository's root to its end. Raises AssertionError with its output if it fails."""
    ended = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert ended.returncode == 0, f"exit code {ended.returncode}:\n{ended.stdout.decode(errors='replace')[-9000:]}"


def write(path: Path, data: bytes | str) -> None:
    """Write a file that is complete as soon as it has its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data if isinstance(data, bytes) else data.encode())
    part.rename(path)
