"""Images per second of `fit` on a GAN against a hand-written loop: same networks, same batch, data already in memory.

The hand-written loop is the least that trains a context encoder: one forward pass of the generator, two of the
discriminator, its step, a third pass without gradients to its weights, the generator's step; no records, no checks.
Runs of both alternate, and the figure is the ratio of each pair, so that a machine whose speed drifts does no harm; on
one that others use as well, `--cpu-time` counts the processor time of this process instead. The bound is 0.95.

    python -m tests.benchmarks.bench_gan [--pairs 7] [--images 512] [--threads 1] [--cpu-time]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from tests.benchmarks.figures import show
from trainables import schema
from trainables.inpaint import task as inpaint
from trainables.inpaint.methods.context_encoder import network as context_encoder
from trainables.inpaint.methods.context_encoder.config import Config
from trainables.training.loop import fit, task_named
from trainables.training.session import Goal, Machine, MemorySession

ADAM = {"name": "adam", "lr": 2e-4, "betas": [0.5, 0.999]}


def configuration(predicts: str, images: int, batch: int) -> dict[str, Any]:
    given = {
        "data": {"name": "cifar10", "train": images, "val": 1, "test": 1},
        "mask": {"name": "centre", "fraction": 0.19140625},
        "model": {"name": "context_encoder", "predicts": predicts, "known_weight": 1.0},
        "loss": {"l2": 0.999, "adversarial": 0.001},
        "optimiser": ADAM,
        "batch": batch,
        "epochs": 1,
    }
    return {**schema.resolve("inpaint", given), "seed": 0}


class CpuTime(MemorySession):
    """A session whose clock stands still while others compute."""

    def clock(self) -> float:
        return time.process_time()


def through_fit(config: dict[str, Any], machine: Machine, cpu_time: bool) -> float:
    session = (CpuTime if cpu_time else MemorySession)(Goal(epochs=1), machine)
    fit(task_named("inpaint"), config, session)
    return float(session.rows[0]["sys/images_per_s"])


def by_hand(config: dict[str, Any], machine: Machine, cpu_time: bool) -> float:
    """Images per second of the plain loop."""
    clock = time.process_time if cpu_time else time.perf_counter
    torch.set_num_threads(machine.cpus)
    data = inpaint.load(config, machine)
    index = torch.arange(len(data.images.train))
    images, masks = data.batch("train", index, inpaint.epoch_masks(config, data, 1))
    options = Config(predicts=config["model"]["predicts"])
    layout = torch.channels_last
    generator = context_encoder.build(options, 32).to(machine.device, memory_format=layout).train()  # type: ignore[call-overload]
    discriminator = context_encoder.build_discriminator(options, 32, "adversarial")
    discriminator = discriminator.to(machine.device, memory_format=layout).train()  # type: ignore[call-overload]
    adam_g, adam_d = (torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (generator, discriminator))
    window = slice(8, 24) if options.predicts == "centre" else slice(None)
    started = clock()
    for start in range(0, len(images), config["batch"]):
        image, mask = images[start : start + config["batch"]], masks[start : start + config["batch"]]
        output = generator(image * (1 - mask), mask)
        adam_d.zero_grad(set_to_none=True)
        loss_d = (
            F.softplus(-discriminator(image, mask)).mean() + F.softplus(discriminator(output.detach(), mask)).mean()
        )
        loss_d.backward()  # type: ignore[no-untyped-call]
        adam_d.step()
        discriminator.requires_grad_(False)
        adam_g.zero_grad(set_to_none=True)
        error = (output - image)[:, :, window, window] * 2
        loss_g = 0.999 * error.square().mean() + 0.001 * F.softplus(-discriminator(output, mask)).mean()
        loss_g.backward()
        adam_g.step()
        discriminator.requires_grad_(True)
    if machine.device == "cuda":
        torch.cuda.synchronize()
    return len(images) / (clock() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()
    root = Path(os.environ.get("SWEEPS_DATA", "../shared/data")).resolve()
    machine = Machine(options.device, options.threads, root)
    for predicts in ("centre", "image"):
        given = (configuration(predicts, options.images, options.batch), machine, options.cpu_time)
        through_fit(*given), by_hand(*given)  # warm up
        pairs = [(through_fit(*given), by_hand(*given)) for _ in range(options.pairs)]
        speed = f"fit {statistics.median(p[0] for p in pairs):.0f} images/s"
        more = f"{speed}, {options.threads} thread(s), {options.device}"
        show(f"context_encoder, {predicts}: fit / hand-written", [ours / theirs for ours, theirs in pairs], more=more)


if __name__ == "__main__":
    main()
