"""Images per second of `fit` against a hand-written training loop: same model, same batch, data already in memory.

The hand-written loop is the least that trains: float images and ready masks in memory, no records, no checks. Runs of
both alternate, and the figure is the ratio of each pair, so that a machine whose speed drifts does no harm. The bound
for plain autoencoders is 0.97.

    python -m tests.benchmarks.bench_fit [--pairs 7] [--images 1280] [--threads 1]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.figures import show
from trainables import schema
from trainables.inpaint import task as inpaint
from trainables.training import networks
from trainables.training.loop import fit, task_named
from trainables.training.session import Goal, Machine, MemorySession

MODELS = ("vanilla_autoencoder", "partial_conv_unet")


def configuration(model: str, images: int, batch: int) -> dict[str, Any]:
    data = {"name": "cifar10", "train": images, "val": 1, "test": 1}
    given = {"data": data, "mask": {"name": "lines"}, "model": {"name": model}, "batch": batch, "epochs": 1}
    return {**schema.resolve("inpaint", given), "seed": 0}


def through_fit(config: dict[str, Any], machine: Machine) -> float:
    session = MemorySession(Goal(epochs=1), machine)
    fit(task_named("inpaint"), config, session)
    return float(session.rows[0]["sys/images_per_s"])


def by_hand(config: dict[str, Any], machine: Machine) -> float:
    """Images per second of the plain loop."""
    torch.set_num_threads(machine.cpus)
    data = inpaint.load(config, machine)
    index = torch.arange(len(data.images.train))
    images, masks = data.batch("train", index, inpaint.epoch_masks(config, data, 1))
    network = networks.build_network(config["model"], 32).to(machine.device).train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    started = time.perf_counter()
    for start in range(0, len(images), config["batch"]):
        image, mask = images[start : start + config["batch"]], masks[start : start + config["batch"]]
        optimiser.zero_grad(set_to_none=True)
        loss = torch.nn.functional.mse_loss(network(image * (1 - mask), mask), image)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    if machine.device == "cuda":
        torch.cuda.synchronize()
    return len(images) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--images", type=int, default=1280)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    root = Path(os.environ.get("SWEEPS_DATA", "../shared/data")).resolve()
    machine = Machine(options.device, options.threads, root)
    for model in MODELS:
        config = configuration(model, options.images, options.batch)
        through_fit(config, machine), by_hand(config, machine)  # warm up
        pairs = [(through_fit(config, machine), by_hand(config, machine)) for _ in range(options.pairs)]
        speed = f"fit {statistics.median(p[0] for p in pairs):.0f} images/s"
        more = f"{speed}, {options.threads} thread(s), {options.device}"
        show(f"{model}: fit / hand-written", [ours / theirs for ours, theirs in pairs], more=more)


if __name__ == "__main__":
    main()
