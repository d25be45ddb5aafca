"""A training step of every inpainter: images per second and peak memory, beside the arithmetic that it needs at least.

Networks have their published widths, losses are those of inpainter_families.yaml and text_guidance.yaml. Each model
runs in a process of its own, whose peak memory is then its own. The floor is what counted operations (a multiplication
and an addition are two) would take at the rate of a large matrix product, the best seen in the same process: the share
of it that is reached says whether arithmetic or something else takes the time. Fourier transforms are not counted, nor
is anything but products.

    python -m tests.benchmarks.bench_inpainters [--sizes 32 256] [--batch 2] [--steps 3] [--threads 1] [--device cpu]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from trainables import schema
from trainables.inpaint import task as inpaint
from trainables.inpaint.method import GAN, Batch, Regression
from trainables.training.session import Machine

LAMA = {"valid": 10.0, "adversarial": 10.0, "feature_matching": 100.0, "r1": 0.001}
ARMS: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "autoencoder with mask": ({"name": "vanilla_autoencoder", "see_mask": True}, {"l2": 1.0}),
    "partial-convolution U-Net": ({"name": "partial_conv_unet"}, {"valid": 1.0, "hole": 6.0, "tv": 0.1}),
    "context encoder": ({"name": "context_encoder"}, {"l2": 0.999, "adversarial": 0.001}),
    "GLCIC": ({"name": "glcic"}, {"l2_hole": 0.995, "adversarial_global": 0.0025, "adversarial_local": 0.0025}),
    "DeepFill v2": ({"name": "deepfill"}, {"l1": 1.0, "l1_coarse": 1.0, "adversarial": 1.0}),
    "LaMa": ({"name": "lama_fourier"}, LAMA),
    "LaMa with AOT blocks": ({"name": "lama_fourier", "block": "aot"}, LAMA),
    "LaMa with plain blocks": ({"name": "lama_fourier", "block": "plain"}, LAMA),
    "TDANet": (
        {"name": "tdanet"},
        {"l1_scales": 20.0, "kl": 20.0, "adversarial": 1.0, "adversarial_features": 1.0, "matching": 0.1},
    ),
}
SAID: dict[str, dict[str, Any]] = {"TDANet": {"captions": {"template": "a photo of a {class}"}}}
"""What is said of the images, where a network listens."""


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations as torch's FlopCounterMode, whose hooks on modules know no second derivatives."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=found)
        return found


def build(arm: str, size: int, batch: int, machine: Machine) -> tuple[Regression, Batch]:
    """The method, and a batch."""
    model, loss = ARMS[arm]
    given = {
        "data": {"name": "cifar10", "size": size, "train": batch, "val": 1, "test": 1} | SAID.get(arm, {}),
        "mask": {"name": "free_form"},
        "model": model,
        "loss": loss,
        "optimiser": {"name": "adam", "lr": 1e-4},
        "batch": batch,
    }
    config = {**schema.resolve("inpaint", given), "seed": 0}
    data = inpaint.load(config, machine)
    learner = inpaint.build(config, data, machine)
    assert isinstance(learner.method, Regression)
    index = torch.arange(batch)
    image_b3hw, mask_b1hw = data.batch("train", index, inpaint.epoch_masks(config, data, 1))
    return learner.method, Batch.of(image_b3hw, mask_b1hw, data.text("train", index))


def measure(options: argparse.Namespace) -> dict[str, float]:
    """One arm at one size, in this process."""
    torch.set_num_threads(options.threads)
    root = Path(os.environ.get("SWEEPS_DATA", "../shared/data")).resolve()
    gpu = options.device.startswith("cuda")
    method, given = build(options.arm, options.sizes[0], options.batch, Machine(options.device, 1, root))
    fastest = rate(options.device)
    before = 0.0 if gpu else memory()
    with Counter() as counter:  # type: ignore[no-untyped-call]  # the first step, which also warms up
        method.training_step(given)
    times = []
    for _ in range(options.steps):
        started = time.perf_counter()
        method.training_step(given)
        if gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() / 2**20 if gpu else memory()
    judges = method.discriminators.networks.values() if isinstance(method, GAN) and method.discriminators else ()
    return {
        "parameters": method.parameters,
        "judges": sum(p.numel() for judge in judges for p in judge.parameters()),
        "flop": counter.total / options.batch,
        "step_s": statistics.median(times),
        "slowest_s": max(times),
        "peak": peak,
        "before": before,
        "rate": max(fastest, rate(options.device)),
    }


def memory() -> float:
    """Highest resident memory of this process so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def rate(device: str, side: int = 2048) -> float:
    """Operations a second of a square matrix product in float32: the best of five."""
    a = torch.rand(side, side, device=device)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        a @ a
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 2 * side**3 / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arm", choices=ARMS, help="this one alone, in this process, as JSON")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    if options.arm:
        print(json.dumps(measure(options)))
        return
    print(f"batch {options.batch}, {options.threads} thread(s), {options.device}, median of {options.steps} steps")
    for size in options.sizes:
        print(f"{size} px: M parameters + discriminators, GFLOP/image, s/step (slowest), images/s, floor, MiB (before)")
        for arm in options.arms:
            given = {"--arm": arm, "--sizes": size, "--batch": options.batch, "--steps": options.steps}
            given |= {"--threads": options.threads, "--device": options.device}
            command = [sys.executable, __file__, *(str(part) for pair in given.items() for part in pair)]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            floor = found["rate"] / found["flop"]
            speed = options.batch / found["step_s"]
            print(
                f"  {arm:26} {found['parameters'] / 1e6:6.2f} + {found['judges'] / 1e6:5.2f}  "
                f"{found['flop'] / 1e9:7.2f}  {found['step_s']:7.3f} ({found['slowest_s']:.3f})  {speed:8.2f}  "
                f"{floor:8.2f} ({100 * speed / floor:.0f} %)  {found['peak']:6.0f} ({found['before']:.0f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
