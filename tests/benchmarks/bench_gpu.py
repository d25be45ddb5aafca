"""Several trials at the same time on one GPU: images per second of all, against one trial alone.

Each trial is a process of its own, as Ray runs them (`resources: {gpu: 0.25}` puts four on a GPU). The processes wait
for one another before they train, and each trains one epoch more than is timed, since the first one builds kernels.
Rounds with one and with several processes alternate. Where NVIDIA's MPS runs, processes share the GPU at the same time
instead of in turns; the line says whether it does. A training step beside its floor is `bench_inpainters.py --device
cuda`, `fit` against a plain loop is `bench_fit.py`.

    python -m tests.benchmarks.bench_gpu [--together 1 2 4 8] [--sizes 32 64] [--rounds 3] [--device cuda]
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import statistics
import subprocess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.figures import show
from trainables import schema
from trainables.training.loop import fit, task_named
from trainables.training.session import Goal, Machine, MemorySession, Row

MODELS: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "autoencoder": ({"name": "vanilla_autoencoder", "see_mask": True}, {"l2": 1.0}),
    "partial-convolution U-Net": ({"name": "partial_conv_unet"}, {"valid": 1.0, "hole": 6.0, "tv": 0.1}),
    "DeepFill v2": ({"name": "deepfill"}, {"l1": 1.0, "l1_coarse": 1.0, "adversarial": 1.0}),
}


PATIENCE_S = 600.0
"""How long a trial waits for the first epochs of the others, of which one may have failed."""


def configuration(model: str, options: argparse.Namespace, size: int) -> dict[str, Any]:
    described, loss = MODELS[model]
    given = {
        "data": {"name": "cifar10", "size": size, "train": options.images, "val": 1, "test": 1},
        "mask": {"name": "free_form"},
        "model": described if options.width is None else {**described, "width": options.width},
        "loss": loss,
        "optimiser": {"name": "adam", "lr": 1e-4},
        "batch": options.batch,
        "epochs": 2,
    }
    return {**schema.resolve("inpaint", given), "seed": 0}


class Together(MemorySession):
    """Begins its second epoch when all trials of the round have ended their first one."""

    def __init__(self, machine: Machine, start: Barrier) -> None:
        super().__init__(Goal(epochs=2), machine)
        self._start = start

    def report(self, row: Row) -> None:
        super().report(row)
        if len(self.rows) == 1:
            self._start.wait(timeout=PATIENCE_S)


def trial(config: dict[str, Any], machine: Machine, start: Barrier, speeds: Any) -> None:
    torch.set_num_threads(machine.cpus)
    session = Together(machine, start)
    fit(task_named("inpaint"), config, session)
    speeds.put(float(session.rows[-1]["sys/images_per_s"]))


def images_per_s(config: dict[str, Any], machine: Machine, together: int) -> float:
    """Of all trials of a round."""
    context = multiprocessing.get_context("spawn")
    start, speeds = context.Barrier(together), context.Queue()
    processes = [context.Process(target=trial, args=(config, machine, start, speeds)) for _ in range(together)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit(f"of {together} trials some failed, see above")
    return math.fsum(speeds.get() for _ in processes)


def mps() -> str:
    found = subprocess.run(["pgrep", "-f", "nvidia-cuda-mps"], capture_output=True, check=False).returncode == 0
    return "MPS runs" if found else "no MPS"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--together", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=12800)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=int, help="width of the networks (default: the published one)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else None)
    options = parser.parse_args()
    if options.device is None:
        print("no GPU: nothing measured; --device cpu --width 4 --images 64 --batch 16 shows that it runs")
        return
    root = Path(os.environ.get("SWEEPS_DATA", "../shared/data")).resolve()
    machine = Machine(options.device, options.threads, root)
    card = f"{torch.cuda.get_device_name()}, {mps()}" if options.device == "cuda" else options.device
    for size in options.sizes:
        for model in MODELS:
            config = configuration(model, options, size)
            rounds = [[images_per_s(config, machine, n) for n in (1, *options.together)] for _ in range(options.rounds)]
            for place, together in enumerate(options.together, 1):
                ratios = [speeds[place] / speeds[0] for speeds in rounds]
                more = f"{statistics.median(speeds[place] for speeds in rounds):.0f} images/s in all, {card}"
                show(f"{model}, {size} px, {together} together / one alone", ratios, more=more)


if __name__ == "__main__":
    main()
