"""CPU time of the metrics of fills: against SSIM alone from torchmetrics, and as a share of an epoch.

The first figure is the time of all metrics of a batch, divided by the time that torchmetrics takes for one SSIM of the
same images; runs of both alternate. The second is the share of the time of a trial that goes to its metrics, for an
autoencoder of width 8 with nine training images to one validation image and two test images.

    python tests/benchmarks/bench_metrics.py [--pairs 7] [--images 900] [--threads 1]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from trainables import schema
from trainables.inpaint.evaluation import metrics
from trainables.training.loop import fit, task_named
from trainables.training.session import Goal, Machine, MemorySession

BATCH = 256
EPOCHS = 5


def cpu_time(function: Callable[[], Any]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


def against_ssim(size: int, pairs: int) -> list[float]:
    """Times of the metrics divided by those of torchmetrics' SSIM, sorted."""
    source = torch.Generator().manual_seed(0)
    both = torch.rand(2 * BATCH, 3, size, size, generator=source).contiguous(memory_format=torch.channels_last)
    output, image = both.split(BATCH)
    mask = (torch.rand(BATCH, 1, size, size, generator=source) < 0.25).float()

    def ours() -> None:
        metrics.Meter().update(output, image, mask)

    def theirs() -> None:
        structural_similarity_index_measure(output, image, data_range=1.0, reduction="none")

    with torch.no_grad():
        ours(), theirs()  # warm up
        return sorted(cpu_time(ours) / cpu_time(theirs) for _ in range(pairs))


def share(images: int, machine: Machine) -> float:
    """The share of a trial's time that goes to metrics."""
    data = {"name": "cifar10", "train": images, "val": images // 9, "test": images * 2 // 9}
    model = {"name": "vanilla_autoencoder", "width": 8}
    given = {"data": data, "mask": {"name": "lines"}, "model": model, "batch": 128, "epochs": EPOCHS}
    config = {**schema.resolve("inpaint", given), "seed": 0}
    spent = 0.0
    update = metrics.Meter.update

    def timed(meter: metrics.Meter, *batch: torch.Tensor) -> None:
        nonlocal spent
        spent += cpu_time(lambda: update(meter, *batch))

    with mock.patch.object(metrics.Meter, "update", timed):
        total = cpu_time(lambda: fit(task_named("inpaint"), config, MemorySession(Goal(epochs=EPOCHS), machine)))
    return spent / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--images", type=int, default=900)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for size in (32, 64):
        ratios = against_ssim(size, options.pairs)
        print(
            f"{size} px: all metrics / SSIM of torchmetrics = {statistics.median(ratios):.3f} "
            f"(n={len(ratios)}, {ratios[0]:.3f} to {ratios[-1]:.3f})"
        )
    machine = Machine("cpu", options.threads, Path(os.environ.get("SWEEPS_DATA", "../shared/data")).resolve())
    share(options.images, machine)  # warm up
    part = share(options.images, machine)
    print(f"metrics take {part:.1%} of the CPU time of a trial of {EPOCHS} epochs (load {os.getloadavg()[0]:.1f})")


if __name__ == "__main__":
    main()
