"""Workers for `test_distributed.py`: `python -m tests.trainables.training.team PORT FOLDER CASE...` forks four.

The first two processes train the named cases, then all four train some of them; results are written to FOLDER. The
processes are forked after the modules are imported and the images are read, which takes seconds in each process.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from tests import background
from tests.trainables.detect import native_set
from tests.trainables.forgery import forged_small
from trainables import schema
from trainables.errors import TrialError
from trainables.forgery.forged_images import ForgedSet
from trainables.inpaint import task as inpaint
from trainables.inpaint.dataset import InpaintDataset
from trainables.training import checkpoint
from trainables.training.distributed import Workers
from trainables.training.divergence import Diverged
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession, Restored

SIZES = (2, 4)
DATA_ROOT = Path(os.environ["SWEEPS_DATA"]) if "SWEEPS_DATA" in os.environ else Path("../shared/data")


CENTRE = {"mask": {"name": "centre", "fraction": 0.2}}


def configured(model: str, train: int = 18, **changes: Any) -> dict[str, Any]:
    """A configuration with batches of 8 images; the last batch has two images, too few for four workers."""
    base = {
        "data": {"name": "folder", "path": "kodak24", "train": train},
        "mask": {"name": "lines"},
        "model": {"name": model, "width": 4},
        "optimiser": {"name": "sgd", "lr": 0.02},
        "batch": 8,
        "epochs": 2,
    }
    return {**schema.resolve("inpaint", {**base, **changes}), "seed": 1}


def told(loss: Mapping[str, float], **changes: Any) -> dict[str, Any]:
    """A small TDANet on images with captions, with batches as in `configured`."""
    data = {"name": "cifar10", "train": 10, "val": 3, "test": 3, "captions": {"template": "a photo of a {class}"}}
    given = configured("vanilla_autoencoder", **CENTRE, **changes)
    model = {"name": "tdanet", "width": 2, "embedding": 8}
    parts = {key: given[key] for key in ("mask", "optimiser", "batch", "epochs")}
    parts["optimiser"] = {"name": "sgd", "lr": 1e-4}  # at a higher rate, the KL term diverges
    return {**schema.resolve("inpaint", {**parts, "data": data, "model": model, "loss": dict(loss)}), "seed": 1}


def detector(train: int, head: str, **changes: Any) -> dict[str, Any]:
    """A small detector with batches as in `configured`: some workers' parts have no positive, or no image."""
    model = {"name": "search_net", "width": 4, "depth": 1, "stages": 2, "head": head}
    changes["data"] = {**changes["data"], "train": train}
    rate = {"name": "sgd", "lr": 0.001}
    return forged_small.configured(1, model=model, optimiser=rate, batch=8, epochs=2, **changes)


def of_photographs() -> dict[str, Any]:
    """The same on photographs at their own size, of which there are few."""
    config = detector(14, head="mask", data={})
    data = {**config["data"], "set": native_set.SET}
    del data["forged"]
    return {**config, "data": {**data, "input_size": native_set.WINDOW}}


def own_set(name: str) -> ForgedSet:
    return native_set.loaded() if name.endswith("photographs") else forged_small.small(DATA_ROOT)


GLCIC = {"l2_hole": 1.0, "adversarial_global": 0.1, "adversarial_local": 0.1}
TERMS = {"l1_valid": 0.1, "valid": 0.1, "hole": 0.6, "tv": 0.1, "perceptual": 0.01, "style": 1.0}
SQUEEZENET = {"name": "squeezenet1_0", "weights": "squeezenet1_0/squeezenet1_0_torchvision_layout.npz"}
CHANGES = {"rotation_deg": 10.0, "zoom": [1.0, 1.2], "blur_sigma": [0.0, 1.0], "flip": 0.5}
ADAM = {"name": "adam", "lr": 1e-3}
BRUSHES = {
    **{"about": "a test", "paper": "none", "equality": "own", "evidence": "none"},
    "images": {"size": 32, "fit": "shorter_side", "crop": "centre", "filter": "bicubic"},
    "masks": {"name": "brush", "seed": 0, "strokes": [1, 2], "vertices": [4, 5], "width": [3, 6]},
    "metrics": {"psnr_db": 1, "ssim": 1, "l1_seam": 1},
}
CASES: dict[str, dict[str, Any]] = {
    "autoencoder": configured("vanilla_autoencoder"),
    "hole": configured("vanilla_autoencoder", loss={"l1_hole": 0.5, "l2_hole": 1.0}),
    "adam": configured("vanilla_autoencoder", optimiser=ADAM, loss={"l1": 1.0, "l2_hole": 1.0}),
    "changed, all terms": configured(
        "vanilla_autoencoder",
        data={"name": "folder", "path": "kodak24", "train": 18, "augment": CHANGES},
        test_masks={"centre": {"name": "centre"}},
        loss=TERMS,
        features=SQUEEZENET,
    ),
    "protocol": configured("vanilla_autoencoder", protocol={"name": "brushes", "content": BRUSHES}),
    "normalised double": configured("partial_conv_unet"),
    "gan double": configured("context_encoder", loss={"l2": 0.9, "adversarial": 0.1}, **CENTRE),
    "phases double": configured(
        "glcic", epochs=3, loss=GLCIC, phases={"completion": 0.3, "discriminators": 0.3}, **CENTRE
    ),
    "gan adam double": configured(
        "context_encoder", train=16, loss={"l2": 0.9, "adversarial": 0.1}, optimiser=ADAM, **CENTRE
    ),
    "own terms double": configured(
        "deepfill", epochs=1, loss={"l1": 1.0, "l1_coarse": 1.0, "adversarial": 0.1}, mask={"name": "free_form"}
    ),
    "mask as target double": configured(
        "lama_fourier",
        epochs=1,
        loss={"valid": 1.0, "adversarial": 0.1, "feature_matching": 1.0, "r1": 0.01},
        mask={"name": "free_form"},
    ),
    "text double": told(
        {"l1_scales": 1.0, "kl": 1.0, "adversarial": 0.1, "adversarial_features": 0.1, "matching": 0.1},
        epochs=1,
    ),
    "text without matching double": told({"l1_scales": 1.0, "kl": 1.0}, epochs=1),
    "apart double": configured("partial_conv_unet", train=16, sync_batch_norm=False),
    "detector": detector(18, head="box", data={"augment": {"flip": 0.5}}),
    "detector of masks": detector(18, head="mask", data={}),
    "detector of photographs": of_photographs(),
}


BY_FOUR = ("detector", "changed, all terms", "phases double")
"""Cases that four workers train as well; only a few, because processes that share a core are slow."""
ALWAYS = (*BY_FOUR, "apart double")
"""Cases that tests read without naming them."""
SLOW = ("hole", "gan adam double", "own terms double", "mask as target double", "text double")
"""Cases that `make test` leaves out: of each kind of loss, optimiser and data, another case stays."""
LAZY = ("torch._dynamo", "sklearn.metrics")
"""Modules that are imported at the first step of several workers and at the first evaluation of a detector."""


class DoubleData(InpaintDataset):
    """Images and masks in float64."""

    def batch(self, split: str, index: Tensor, draw: Any) -> tuple[Tensor, Tensor]:
        image_b3hw, mask_b1hw = super().batch(split, index, draw)
        return image_b3hw.double(), mask_b1hw.double()


class Double:
    """The task in float64, in which rounding cannot explain a difference."""

    BEST = inpaint.BEST
    train, evaluate, extra, facts, samples, final_files = (
        staticmethod(inpaint.train),
        staticmethod(inpaint.evaluate),
        staticmethod(inpaint.extra),
        staticmethod(inpaint.facts),
        staticmethod(inpaint.samples),
        staticmethod(inpaint.final_files),
    )

    def load(self, config: Mapping[str, Any], machine: Machine) -> DoubleData:
        data = inpaint.load(config, machine)
        return DoubleData(**{field.name: getattr(data, field.name) for field in fields(data)})

    def build(
        self, config: Mapping[str, Any], data: inpaint.InpaintDataset, machine: Machine
    ) -> inpaint.InpaintLearner:
        with default_type(torch.float64):
            return inpaint.build(config, data, machine)


@contextlib.contextmanager
def default_type(kind: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def train(name: str, workers: Workers, restored: Restored | None = None) -> MemorySession:
    """Train a case; its records and checkpoints are in the session."""
    session = MemorySession(Goal(CASES[name]["epochs"]), Machine(data_root=DATA_ROOT, workers=workers), restored)
    task: Any = Double() if name.endswith("double") else inpaint
    if name.startswith("detector"):
        task = forged_small.InMemory(own_set(name))
    fit(task, CASES[name], session)
    return session


def kept(session: MemorySession) -> dict[str, Any]:
    """The values that are compared: the records and, on worker 0, the state of all networks."""
    files = session.saved[session.goal.epochs]
    state = checkpoint.unpack(files)[0] if files else {}
    weights = [state.get("network", {}), *state.get("adversary", {}).get("discriminators", {}).values()]
    return {"rows": session.rows, "networks": weights}


def resumed(workers: Workers) -> bool:
    """Whether a trial that is resumed after its first epoch ends with the same weights to the last bit."""
    straight = train("gan double", workers)
    first = workers.broadcast(straight.saved[1])
    again = train("gan double", workers, Restored(1, first))
    a, b = kept(straight)["networks"], kept(again)["networks"]
    return all(torch.equal(x[key], y[key]) for x, y in zip(a, b, strict=True) for key in x)


class Faulty(Double):
    """A task with a fault on one worker: its data is missing, or its loss is NaN from step 2 of epoch 2 on."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def load(self, config: Mapping[str, Any], machine: Machine) -> DoubleData:
        if self.fault == "data" and machine.workers.rank == machine.workers.size - 1:
            raise TrialError("data", "missing on this machine", "a folder", "copy it")
        return super().load(config, machine)

    def train(self, learner: Any, config: Mapping[str, Any], data: Any, epoch: int) -> Iterator[Any]:  # type: ignore[override]
        for step, (count, terms) in enumerate(inpaint.train(learner, config, data, epoch), 1):
            bad = self.fault == "nan" and epoch == 2 and step >= 2 and learner.workers.rank == 1
            total, images = terms["loss"]
            yield count, {**terms, "loss": (total * (float("nan") if bad else 1), images)}


def failed(fault: str, workers: Workers) -> str:
    """The error that a worker raises for a fault on any worker."""
    config = CASES["autoencoder"]
    session = MemorySession(Goal(config["epochs"]), Machine(data_root=DATA_ROOT, workers=workers))
    try:
        fit(Faulty(fault), config, session)  # type: ignore[arg-type]
    except (TrialError, Diverged) as error:
        return f"{type(error).__name__} {error}"
    return "nothing"


def main(rank: int, port: int, folder: Path, cases: Sequence[str]) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    for size in SIZES:
        if rank >= size:
            continue
        os.environ["MASTER_PORT"] = str(port + size)
        distributed.init_process_group("gloo", rank=rank, world_size=size)
        workers = Workers(rank, size)
        found: dict[str, Any] = {name: kept(train(name, workers)) for name in (cases if size == 2 else BY_FOUR)}
        found["resumed"] = resumed(workers)
        found["faults"] = {fault: failed(fault, workers) for fault in ("data", "nan")}
        packed = io.BytesIO()
        torch.save(found, packed)
        background.write(folder / f"{size}-{rank}.pt", packed.getvalue())
        distributed.destroy_process_group()


def prepare(cases: Sequence[str]) -> None:
    """Import what the cases need and read their images, which then stay in memory, by building each case once."""
    torch.set_num_threads(1)  # threads do not survive a fork
    for module in LAZY:
        importlib.import_module(module)
    machine = Machine(data_root=DATA_ROOT)
    for name in cases:
        config = CASES[name]
        if name.startswith("detector"):
            forged_small.InMemory(own_set(name)).load(config, machine)
        else:
            inpaint.build(config, inpaint.load(config, machine), machine)


def fork(port: int, folder: Path, cases: Sequence[str]) -> list[int]:
    """Start the workers. Returns their process ids."""
    started = []
    for rank in range(max(SIZES)):
        if pid := os.fork():
            started.append(pid)
            continue
        code = 1
        try:
            main(rank, port, folder, cases)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)  # exit at once, so that the other workers notice it and leave their collective call
    return started


if __name__ == "__main__":
    prepare(sys.argv[3:])
    workers = fork(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    sys.exit(any(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers))
