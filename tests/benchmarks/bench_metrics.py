"""CPU time of the metrics of fills against SSIM alone, and of all in a trial that is not training.

The first figure is the time of all metrics of a batch, divided by the time that torchmetrics takes for one SSIM of the
same images; runs of both alternate. The others are shares of the CPU time of a trial, which has nine training images to
one validation image and two test images, and a checkpoint after every epoch: metrics; evaluation with its metrics;
pictures and final files; checkpoints, as bytes in memory. The bound is a tenth for all of it.

    python -m tests.benchmarks.bench_metrics [--pairs 7] [--trials 3] [--images 900] [--epochs 5] [--threads 1]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from tests.benchmarks.figures import show
from trainables import schema
from trainables.inpaint.evaluation import metrics
from trainables.training import loop
from trainables.training.session import Goal, Machine, MemorySession

BATCH = 256
MODELS: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "autoencoder of width 8": ({"name": "vanilla_autoencoder", "width": 8}, {"l2": 1.0}),
    "U-Net of width 16": ({"name": "partial_conv_unet", "width": 16}, {"valid": 1.0, "hole": 6.0, "tv": 0.1}),
}


def cpu_time(function: Callable[[], Any]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


def against_ssim(size: int, pairs: int) -> list[float]:
    """Times of the metrics divided by those of torchmetrics' SSIM."""
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
        return [cpu_time(ours) / cpu_time(theirs) for _ in range(pairs)]


def shares(model: str, options: argparse.Namespace, machine: Machine) -> Counter[str]:
    """The shares of a trial's CPU time, by what it was spent on."""
    images, epochs = options.images, options.epochs
    described, loss = MODELS[model]
    data = {"name": "cifar10", "train": images, "val": images // 9, "test": images * 2 // 9}
    given = {"data": data, "mask": {"name": "lines"}, "model": described, "loss": loss, "batch": 128, "epochs": epochs}
    config = {**schema.resolve("inpaint", given), "seed": 0}
    task, spent = loop.task_named("inpaint"), Counter[str]()

    def timed(of: Any, name: str, what: str) -> Any:
        function = getattr(of, name)

        def call(*arguments: Any) -> Any:
            started = time.process_time()
            result = function(*arguments)
            spent[what] += time.process_time() - started  # type: ignore[assignment]
            return result

        return mock.patch.object(of, name, call)

    with contextlib.ExitStack() as patched:
        for of, name, what in (
            (metrics.Meter, "update", "metrics"),
            (loop, "_evaluate", "evaluation"),
            (task, "samples", "pictures and final files"),
            (task, "final_files", "pictures and final files"),
            (loop, "_save", "checkpoints"),
        ):
            patched.enter_context(timed(of, name, what))
        total = cpu_time(lambda: loop.fit(task, config, MemorySession(Goal(epochs), machine)))
    spent["all but training"] = spent["evaluation"] + spent["pictures and final files"] + spent["checkpoints"]
    return Counter({what: seconds / total for what, seconds in spent.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--images", type=int, default=900)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for size in (32, 64):
        show(f"{size} px: all metrics / SSIM of torchmetrics", against_ssim(size, options.pairs))
    machine = Machine("cpu", options.threads, Path(os.environ.get("SWEEPS_DATA", "../shared/data")).resolve())
    for model in MODELS:
        shares(model, options, machine)  # warm up
        found = [shares(model, options, machine) for _ in range(options.trials)]
        for what in ("metrics", "evaluation", "pictures and final files", "checkpoints", "all but training"):
            show(f"{model}, {options.epochs} epochs: {what}", [100 * one[what] for one in found], "%")


if __name__ == "__main__":
    main()
