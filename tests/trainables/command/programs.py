"""Programs for the tests of task `command`, and a way to run one as a trial in memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainables import schema
from trainables.training.loop import fit, task_named
from trainables.training.session import Goal, Machine, MemorySession, Row

METRICS = {"val/score": "max", "test/score": "max"}
PYTHON = """\
import json, os, signal, sys, time
out, seed = os.environ["SWEEPS_OUT"], int(os.environ["SWEEPS_SEED"])
config = json.load(open(os.environ["SWEEPS_CONFIG"]))
saved = os.path.join(out, "checkpoint", "state.json")

def report(epoch, score, **more):
    with open(os.environ["SWEEPS_RECORDS"], "a") as file:
        file.write(json.dumps({"epoch": epoch, "val/score": score, "test/score": score / 2, **more}) + "\\n")

def save(**state):
    with open(saved + ".new", "w") as file:
        json.dump(state, file)
    os.replace(saved + ".new", saved)

def restored():
    return json.load(open(saved)) if os.path.exists(saved) else None
"""
"""Beginning of a program: `report`, `save`, `restored`, `config`, `seed`."""
WALK = """\
state = restored() or {"epoch": 0, "value": seed}
for epoch in range(state["epoch"] + 1, config["epochs"] + 1):
    value = state["value"] * 1.5 + 1 / epoch
    time.sleep(config.get("nap", 0))
    state = {"epoch": epoch, "value": value}
    save(**state)
    report(epoch, value, **{"train/loss": 1 / epoch})
"""
"""A program whose records depend on its checkpoint."""


@dataclass
class Trial(MemorySession):
    """A session that keeps the log, and stops when `stop` says so."""

    logged: list[str] = field(default_factory=list)
    stop: Callable[[Trial], bool] = lambda trial: False

    def should_stop(self) -> bool:
        return self.stop(self)

    @property
    def log(self) -> str:
        return "\n".join(self.logged)

    @property
    def score(self) -> list[float | int]:
        return [row["val/score"] for row in self.rows]


def resolved(folder: Path, program: str | None = None, **changes: Any) -> dict[str, Any]:
    """The configuration of a Python program, or of `run` and `code` in the changes."""
    base: dict[str, Any] = {"run": ["{python}", "train.py"], "code": ["train.py"], "metrics": METRICS, "epochs": 3}
    if program is not None:
        (folder / "train.py").write_text(PYTHON + program)
    return {**schema.resolve("command", {**base, **changes}, folder), "seed": 1}


def trial(config: dict[str, Any], **options: Any) -> Trial:
    """Run a program to the end."""
    session = Trial(Goal(config["epochs"]), **options)
    session.machine = Machine(log=session.logged.append)
    fit(task_named("command"), config, session)
    return session


def numbers(rows: list[Row]) -> list[dict[str, float | int]]:
    return [{name: value for name, value in row.items() if not name.startswith("sys/")} for row in rows]


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def gone(pid: int, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while is_running(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            return False
        time.sleep(0.05)
    return True


def record(epoch: int, **values: Any) -> str:
    return json.dumps({"epoch": epoch, **values})
