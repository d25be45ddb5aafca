"""Computes everything that is golden and writes it into a folder: `python -m tests.golden.produce FOLDER`.

Meant for a process of its own with the environment of `arithmetic.pinned`; see `start`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests import background
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


def process(folder: Path, data_root: Path, module: str = "tests.golden.produce") -> tuple[list[str], dict[str, str]]:
    """The command, and the environment with pinned arithmetic, of a process that runs a module of this folder."""
    environment = {**arithmetic.pinned(), **PLAIN, "SWEEPS_DATA": str(data_root), "PYTHONPATH": str(ROOT)}
    return [sys.executable, "-m", module, str(folder.resolve())], environment


def start(folder: Path, data_root: Path, module: str = "tests.golden.produce") -> None:
    background.run(*process(folder, data_root, module))


def produce(folder: Path) -> None:
    """Write fingerprint.json, then records/, reports/ and resumed/ into a folder."""
    background.write(folder / "fingerprint.json", json.dumps(arithmetic.fingerprint(), indent=1) + "\n")
    with tempfile.TemporaryDirectory(prefix="golden_") as work:
        os.chdir(work)
        shutil.copytree(SWEEPS, "sweeps")
        for name in IN_ORDER:
            run(name)
            _write_records(folder / "records", name, STORE)
        _use_old_store(folder)
        os.chdir(ROOT)


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
        background.write(folder / "reports" / file, text)
    for sweep in old_store.SWEEPS:
        _command("resume", f"golden-{sweep}", "--store", "old", "--address", "in-process", "--quiet")
        _write_records(folder / "resumed", sweep, "old")
        reports.written("old", f"golden-{sweep}", Path("reports-after"))


def _write_records(folder: Path, name: str, store: str) -> None:
    background.write(folder / f"{name}.json", to_text(store_files.records(Path(store), f"golden-{name}")))


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


if __name__ == "__main__":
    produce(Path(sys.argv[1]))
