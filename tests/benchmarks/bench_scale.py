"""What a large store costs: deciding that 10,000 finished trials leave nothing to do, and a report of 500 trials.

Builds two sweeps in a temporary folder whose results are made up, small files that lie where trained ones would, and
runs the command on them in processes of its own. Prints seconds and peak memory of each, beside what is asked for.

    python tests/benchmarks/bench_scale.py [--arms 10000] [--seeds 1] [--repeat 3]
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cluster import drive
from sweeps import ledger, plan, spec
from sweeps.plan import Plan
from sweeps.store import FolderStore
from trainables import schema

LIMIT_S, LIMIT_MB = 5.0, 500.0
"""What issue 3 allows for deciding that nothing is to do."""
REPORT_LIMIT_S, REPORT_LIMIT_MB = 10.0, 1024.0
"""What issue 6 allows for a report of 500 trials of 200 epochs."""
PROVENANCE: dict[str, Any] = {
    "code": {"commit": "6be6b42" + "0" * 33, "dirty": False},
    "versions": {"python": "3.11.7", "torch": "2.11.0"},
    "hardware": {"host": "lab", "cpu": "AMD EPYC 7763", "cpus": 2, "memory_gib": 8.0, "device": "cpu"},
    "cpus": 1,
}


def sweep(name: str, arms: int, seeds: int, epochs: int) -> str:
    rates = ", ".join(f"{1e-5 * 10 ** (3 * i / arms):.6g}" for i in range(1, arms))
    return f"""\
# Which learning rate is best?
name: {name}
task: inpaint
base:
  data: {{name: cifar10, train: 4000, val: 500, test: 1000}}
  mask: {{name: lines}}
  model: {{name: partial_conv_unet}}
  optimiser: {{name: adam, lr: 1.0e-5}}
  batch: 64
  epochs: {epochs}
seeds: {seeds}
arms:
{_arms(rates)}
report: {{metrics: [test/psnr_db, test/l2, test/ssim], test_epochs: [{epochs // 2}]}}
"""


def _arms(rates: str) -> str:
    return "\n".join(f"  - {{name: lr {rate}, set: {{optimiser.lr: {rate}}}}}" for rate in rates.split(", "))


def history(epochs: int, draw: random.Random) -> dict[str, list[float | None]]:
    """Columns as a trial of the inpainting task has them, with all their digits."""
    names = ("psnr_db", "psnr_db_hole", "psnr_db_raw", "l1", "l2", "l2_raw", "l2_hole", "ssim", "hole_fraction")
    rows = range(1, epochs + 1)
    columns: dict[str, list[float | None]] = {"epoch": [float(epoch) for epoch in rows]}
    columns |= {f"train/{name}": [1 / epoch + draw.random() / 100 for epoch in rows] for name in ("loss", "l2")}
    for name in names:
        columns[f"val/{name}"] = [25 - 6 * math.exp(-epoch / 20) + draw.random() / 10 for epoch in rows]
        columns[f"test/{name}"] = [
            columns[f"val/{name}"][i] if epoch in (epochs // 2, epochs) else None for i, epoch in enumerate(rows)
        ]
    columns |= {f"sys/{name}": [4 + draw.random() for _ in rows] for name in ("time_s", "images_per_s")}
    return columns


def fill(store: FolderStore, planned: Plan, epochs: int) -> None:
    """A result for each planned trial, and the claim that it names."""
    draw = random.Random(0)
    drive.write(planned, store, ("sweeps", "run"))
    for trial, _ in planned.runs():
        claim = {"number": 1, "token": "00000000", "claimed_at": 1.79e9, "provenance": PROVENANCE}
        store.put(f"trials/{trial.id}/attempts/0001.json", ledger.dump(claim))
        store.put(f"trials/{trial.id}/attempts/0001-00000000.end.json", ledger.dump({"state": "done", "error": None}))
        result = {
            "schema": 1,
            "attempt": "0001-00000000",
            "epochs": trial.epochs,
            "facts": {"parameters": 3_924_617, "data_fingerprint": "c58f30108f71"},
            "history": history(epochs, draw),
            "notes": [],
            "started_at": 1.79e9,
            "ended_at": 1.79e9 + 900,
            "provenance": PROVENANCE,
        }
        store.put(ledger.result_key(trial.id, trial.epochs), ledger.dump(result))


def run(arguments: Sequence[str]) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak memory, MB, of the command in a process of its own; its output goes nowhere."""
    code = "import sys; from sweeps.cli import main; sys.exit(main(sys.argv[1:]))"
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.execv(sys.executable, [sys.executable, "-c", code, *arguments])
    _, status, usage = os.wait4(pid, 0)
    assert status == 0, (arguments, status)
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**10


def measure(name: str, arguments: Sequence[str], repeat: int, limit_s: float, limit_mb: float) -> None:
    found = [run(arguments) for _ in range(repeat)]
    seconds, cpu = (statistics.median(values) for values in list(zip(*found, strict=True))[:2])
    memory = max(mb for _, _, mb in found)
    verdict = "within" if seconds < limit_s and memory < limit_mb else "ABOVE"
    shown = f"{seconds:6.2f} s, {cpu:5.2f} s of them computing (median of {repeat}), {memory:4.0f} MB"
    print(f"{name:<34} {shown}   {verdict} {limit_s:g} s, {limit_mb:g} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepared: Callable[[str, int, int, int], Path] = lambda *what: prepare(Path(folder), *what)  # noqa: E731
        file, store = prepared("large", options.arms, options.seeds, 2), str(Path(folder) / "store")
        count = f"{options.arms * options.seeds:,} cached trials"
        limits = (options.repeat, LIMIT_S, LIMIT_MB)
        measure(f"plan, {count}", ["plan", str(file), "--store", store], *limits)
        measure(f"run, {count}", ["run", str(file), "--store", store], *limits)
        measure(f"status, {count}", ["status", "large", "--store", store], *limits)
        prepared("study", 50, 10, 200)
        out = str(Path(folder) / "report")
        limits = (options.repeat, REPORT_LIMIT_S, REPORT_LIMIT_MB)
        measure("report, 500 trials x 200 epochs", ["report", "study", "--store", store, "--out", out], *limits)


def prepare(folder: Path, name: str, arms: int, seeds: int, epochs: int) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(sweep(name, arms, seeds, epochs))
    fill(FolderStore(folder / "store"), plan.expand(spec.load(file), schema), epochs)
    return file


if __name__ == "__main__":
    main()
