"""What a large store costs: deciding that 10,000 finished trials leave nothing to do; report and claims of 20 studies.

Builds sweeps in a temporary folder whose results are made up, small files that lie where trained ones would, and runs
the command on them in processes of its own. Prints seconds and peak memory of each, beside what is asked for. The
studies (500 trials of 200 epochs each) are read from the folder, then from moto's S3 server on loopback.

    python -m tests.benchmarks.bench_scale [--arms 10000] [--seeds 1] [--studies 20] [--repeat 3]
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster.driver import driver
from sweeps.parallel import parallel_map
from sweeps.spec import expand, loader
from sweeps.spec.plan import Plan
from sweeps.store import layout, record_cache
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store
from tests.s3servers import BUCKET, KEY, SECRET, moto_server
from trainables import schema

LIMIT_S, LIMIT_MB = 5.0, 500.0
"""What issue 3 allows for deciding that nothing is to do."""
REPORT_LIMIT_S, CLAIMS_LIMIT_S, ANALYSIS_LIMIT_MB = 10.0, 20.0, 1024.0
"""What issue 6 allows for a report of 500 trials of 200 epochs, and for the claims of 20 such studies."""
S3_FACTOR = 2.0
"""How much longer the same may take on S3."""
PROVENANCE: dict[str, Any] = {
    "code": {"commit": "6be6b42" + "0" * 33, "dirty": False},
    "versions": {"python": "3.11.7", "torch": "2.11.0"},
    "hardware": {"host": "lab", "cpu": "AMD EPYC 7763", "cpus": 2, "memory_gib": 8.0, "device": "cpu"},
    "cpus": 1,
}


def sweep(name: str, arms: int, seeds: int, epochs: int, images: int) -> str:
    """A sweep file. images: to train on, so that studies with different ones share no trial."""
    rates = ", ".join(f"{1e-5 * 10 ** (3 * i / arms):.6g}" for i in range(1, arms))
    first, last = (f"lr {rate}" for rate in (rates.split(", ")[0], rates.split(", ")[-1]))
    return f"""\
# Which learning rate is best?
name: {name}
task: inpaint
base:
  data: {{name: cifar10, train: {images}, val: 500, test: 1000}}
  mask: {{name: lines}}
  model: {{name: partial_conv_unet}}
  optimiser: {{name: adam, lr: 1.0e-5}}
  batch: 64
  epochs: {epochs}
seeds: {seeds}
arms:
{_arms(rates)}
report: {{metrics: [test/psnr_db, test/l2, test/ssim], test_epochs: [{epochs // 2}]}}
claims:
  - {{text: "the fastest is better", metric: test/psnr_db, better: {last}, than: base}}
  - {{text: "it makes no difference", metric: test/l2, equal: [base, {last}], within: 0.01}}
  - {{text: "it does over three of them", metric: test/ssim, order: [{last}, {first}, base]}}
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
    driver.write(planned, store, ("sweeps", "run"))
    for trial, _ in planned.runs():
        claim = {"number": 1, "token": "00000000", "claimed_at": 1.79e9, "provenance": PROVENANCE}
        store.put(f"trials/{trial.id}/attempts/0001.json", layout.dump(claim))
        store.put(f"trials/{trial.id}/attempts/0001-00000000.end.json", layout.dump({"state": "done", "error": None}))
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
        store.put(layout.result_key(trial.id, trial.epochs), layout.dump(result))


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


def measure(name: str, arguments: Sequence[str], repeat: int, limit_s: float, limit_mb: float) -> float:
    """Run the command a few times and print what it cost; its seconds."""
    found = [run(arguments) for _ in range(repeat)]
    seconds, cpu = (statistics.median(values) for values in list(zip(*found, strict=True))[:2])
    memory = max(mb for _, _, mb in found)
    verdict = "within" if seconds < limit_s and memory < limit_mb else "ABOVE"
    shown = f"{seconds:6.2f} s, {cpu:5.2f} s of them computing (median of {repeat}), {memory:4.0f} MB"
    print(f"{name:<38} {shown}   {verdict} {limit_s:g} s, {limit_mb:g} MB", flush=True)
    return seconds


def analyse(store: str, out: Path, studies: int, repeat: int, factor: float = 1.0) -> list[float]:
    """Seconds of a report on one of the studies, and of the claims of all. factor: how much longer they may take."""
    where, size = "S3" if "://" in store else "folder", f"{500 * studies:,} trials x 200 epochs"
    report = ["report", "study-00", "--store", store, "--out", str(out)]
    limits = (repeat, REPORT_LIMIT_S * factor, ANALYSIS_LIMIT_MB)
    told = measure(f"{where}: report of 500 trials", report, *limits)
    limits = (repeat, CLAIMS_LIMIT_S * factor, ANALYSIS_LIMIT_MB)
    return [told, measure(f"{where}: claims, {size}", ["claims", "--store", store], *limits)]


def on_s3(folder: Path, studies: int, repeat: int) -> list[float]:
    """The same from moto's server, which gets what a report reads."""
    with moto_server() as server:
        os.environ |= {"AWS_ENDPOINT_URL": server.url, "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
        os.environ |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        here, store = FolderStore(folder / "studies"), open_store(f"s3://{BUCKET}/studies")
        keys = [key for key in here.keys("") if "/result/" in key or "/plans/" in key]
        parallel_map(lambda key: store.put(key, here.get(key)), keys, 8)
        for name in stored_plans.sweep_names(store):
            record_cache.refresh(store, name)
        return analyse(store.uri, folder / "report", studies, repeat, S3_FACTOR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        file, store = prepare(folder, "store", "large", (options.arms, options.seeds, 2, 4000)), str(folder / "store")
        count = f"{options.arms * options.seeds:,} cached trials"
        limits = (options.repeat, LIMIT_S, LIMIT_MB)
        measure(f"plan, {count}", ["plan", str(file), "--store", store], *limits)
        measure(f"run, {count}", ["run", str(file), "--store", store], *limits)
        measure(f"status, {count}", ["status", "large", "--store", store], *limits)
        for number in range(options.studies):
            prepare(folder, "studies", f"study-{number:02}", (50, 10, 200, 4000 + number))
            record_cache.refresh(FolderStore(folder / "studies"), f"study-{number:02}")  # as a run does at its end
        local = analyse(str(folder / "studies"), folder / "report", options.studies, options.repeat)
        remote = on_s3(folder, options.studies, options.repeat)
        ratios = [f"{there / here:.2f}" for here, there in zip(local, remote, strict=True)]
        print(f"S3 takes {ratios[0]} (report) and {ratios[1]} (claims) times as long; {S3_FACTOR:g} is allowed")


def prepare(folder: Path, store: str, name: str, size: tuple[int, int, int, int]) -> Path:
    """A sweep with all its results in a store of the folder. size: arms, seeds, epochs, images."""
    file = folder / f"{name}.yaml"
    file.write_text(sweep(name, *size))
    fill(FolderStore(folder / store), expand.expand(loader.load(file), schema), size[2])
    return file


if __name__ == "__main__":
    main()
