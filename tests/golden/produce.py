"""Computes everything that is golden and writes it into a folder: `python -m tests.golden.produce FOLDER`.

Meant for a process of its own with the environment of `arithmetic.pinned`; see `start`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.golden import arithmetic, doors, old_store, reports, store_files
from tests.golden.compare import to_text

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SWEEPS = HERE / "sweeps"
STORE = "store"
IN_ORDER = ("matching", "methods", "parts", "text", "detection", "ensembles", "search", "report", "ray", "outputs")
"""Sweep files, each after those that it takes trials from."""
PLAIN = {"COLUMNS": "150", "TZ": "UTC", "NO_COLOR": "1", "PYTHONHASHSEED": "0"}
"""How the command prints, wherever it does."""


def start(folder: Path, data_root: Path, module: str = "tests.golden.produce") -> None:
    """Run a module of this folder in a process with pinned arithmetic. Raises AssertionError with what it said."""
    environment = {**arithmetic.pinned(), **PLAIN, "SWEEPS_DATA": str(data_root), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module, str(folder.resolve())]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, (
        f"{module} ended with {ended.returncode}:\n{ended.stdout[-3000:]}{ended.stderr[-6000:]}"
    )


def produce(folder: Path) -> None:
    """Write records/, resumed/, reports/ and fingerprint.json into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="golden_") as work:
        os.chdir(work)
        shutil.copytree(SWEEPS, "sweeps")
        for name in IN_ORDER:
            run(name)
            _write(folder / "records" / f"{name}.json", to_text(store_files.records(Path(STORE), f"golden-{name}")))
        _use_old_store(folder)
        os.chdir(ROOT)
    _write(folder / "fingerprint.json", json.dumps(arithmetic.fingerprint(), indent=1) + "\n")


def run(name: str, store: str = STORE) -> None:
    """Run one of the sweep files in this process; they lie below the working folder."""
    if name == "outputs":
        _fill(Path("sweeps/outputs.yaml"), store)
    _command("run", f"sweeps/{name}.yaml", "--store", store, "--address", "in-process", "--quiet")


def _fill(file: Path, store: str) -> None:
    """Let somebody else's inpainter, who leaves the holes as they are, fill the test images of the sweep on Ray."""
    _command("export-test", "golden-ray", "--store", store, "--out", "theirs")
    file.write_text(file.read_text().replace("FILLED", str(Path("theirs/damaged").resolve())))


def _use_old_store(folder: Path) -> None:
    """Read, report and resume the store that older code has written."""
    old_store.unpack(Path("old"))
    report = {**reports.written("old", old_store.REPORTED, Path("report")), **dict(_said_of_old_store())}
    for file, text in report.items():
        _write(folder / "reports" / file, text)
    for sweep in old_store.SWEEPS:
        _command("resume", f"golden-{sweep}", "--store", "old", "--address", "in-process", "--quiet")
        _write(folder / "resumed" / f"{sweep}.json", to_text(store_files.records(Path("old"), f"golden-{sweep}")))
        reports.written("old", f"golden-{sweep}", Path("reports-after"))


def _said_of_old_store() -> Iterator[tuple[str, str]]:
    """What the command prints of it, by the name of a file."""
    yield "status.txt", reports.printed("status", "--store", "old")
    for sweep in old_store.SWEEPS:
        yield f"status-{sweep}.txt", reports.printed("status", f"golden-{sweep}", "--store", "old")
    yield "show-interrupted.txt", reports.printed("show", old_store.interrupted(Path("old")), "--store", "old")
    yield "claims.csv", reports.printed("claims", old_store.REPORTED, "--csv", "--store", "old")


def _command(*arguments: str) -> None:
    code = doors.command(arguments)
    assert code == 0, f"sweeps {' '.join(arguments)} ended with {code}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    produce(Path(sys.argv[1]))
