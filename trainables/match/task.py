"""Task `match`: retrieve the caption of an image, and the image of a caption, among all of a split.

Shapes: b images of a batch, h = w = `data.size`, t words. Each image of a batch is compared with every caption of the
batch, so a trial runs in one process. Each epoch draws one caption per image; scoring uses the first caption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainables.config.messages import no_fills_error
from trainables.data import augment, captions, images
from trainables.errors import TrialError
from trainables.inpaint.dataset import EVALUATION_BATCH, LAYOUT
from trainables.match import matching_losses
from trainables.training import optimisers
from trainables.training.distributed import Workers
from trainables.training.loop import derive, generator
from trainables.training.networks import build_network
from trainables.training.session import Machine
from trainables.training.terms import Terms, as_sums

BEST = ("val/matching", "min")
SCORED = 64
"""Batch size for the loss of a split, independent of the configured batch."""


@dataclass(frozen=True)
class MatchDataset:
    """Images and their captions, on the device."""

    images: images.ImageSet
    captions: captions.Captions
    device: torch.device
    size: int

    @property
    def fingerprint(self) -> str:
        return f"{self.images.fingerprint} {self.captions.fingerprint}"

    def batch(self, split: str, index: Tensor, drawn_n: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """image_b3hw in [0, 1], and tokens_bt of one caption of each image."""
        pixels_b3hw: Tensor = getattr(self.images, split)[index.to(self.device)]
        image_b3hw = pixels_b3hw.to(torch.float32, memory_format=LAYOUT).div_(255)
        return image_b3hw, self.captions.of(split, index, drawn_n)


class MatchLearner:
    """The matching network with its optimiser."""

    def __init__(self, network: Any, optimiser: torch.optim.Optimizer, weights: Mapping[str, float]) -> None:
        self.network = network
        self.optimiser = optimiser
        self.weights_of_losses = dict(weights)
        self.parameters = sum(p.numel() for p in network.parameters())

    def step(self, image_b3hw: Tensor, tokens_bt: Tensor) -> dict[str, Tensor]:
        """Train on one batch; returns the loss terms, on the device."""
        terms = matching_losses.losses(*self.network(image_b3hw, tokens_bt))
        loss = torch.stack([weight * terms[name] for name, weight in self.weights_of_losses.items()]).sum()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return {"loss": loss.detach(), **{name: terms[name].detach() for name in self.weights_of_losses}}

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])

    def inference_weights(self) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = self.network.state_dict()
        return weights


def load(config: Mapping[str, Any], machine: Machine) -> MatchDataset:
    device = torch.device(machine.device)
    loaded = captions.load(config["data"], machine.data_root)
    assert loaded is not None, "the schema requires captions"
    pixels = images.load(config["data"], machine.data_root).to(device)
    return MatchDataset(pixels, loaded.to(device), device, config["data"]["size"])


def build(config: Mapping[str, Any], data: MatchDataset, machine: Machine) -> MatchLearner:
    if machine.workers.size > 1:
        raise TrialError(
            f"task: match with {machine.workers.size} workers",
            "each image of a batch is compared with every caption of the batch, so a batch cannot be divided",
            "one worker",
            "set `resources.workers: 1`",
        )
    torch.manual_seed(derive(config["seed"], "initialisation"))
    network: Any = build_network(config["model"], data.size)
    network.set_vocabulary(data.captions.vocabulary)
    network = network.to(machine.device, memory_format=LAYOUT)
    return MatchLearner(network, optimisers.build(config["optimiser"], network.parameters()), config["loss"])


def checks(config: Mapping[str, Any]) -> list[tuple[Callable[[Any, Path | None], Any], Any]]:
    """Check that the images and captions exist."""
    return [(images.check, config["data"]), (captions.check, config["data"])]


def train(
    learner: MatchLearner, config: Mapping[str, Any], data: MatchDataset, epoch: int
) -> Iterator[tuple[int, Terms]]:
    """Train for one epoch, in an order drawn from (seed, epoch).

    A last batch of one image is skipped, because it has no other caption to choose from.
    """
    learner.network.train()
    optimisers.scale_rate(learner.optimiser, optimisers.decay(config.get("schedule"), epoch, config["epochs"]))
    seed, n, section = config["seed"], len(data.images.train), config["data"].get("augment")
    order = torch.randperm(n, generator=generator(seed, "order", epoch)).to(data.device)
    drawn_n = torch.rand(n, generator=generator(seed, "captions", epoch)).to(data.device)
    changes = None if section is None else augment.draw(section, n, generator(seed, "augment", epoch)).to(data.device)
    for index in torch.split(order, config["batch"]):
        if len(index) > 1:
            image_b3hw, tokens_bt = data.batch("train", index, drawn_n)
            if changes:
                image_b3hw = changes.apply(image_b3hw, index)
            yield len(index), as_sums(learner.step(image_b3hw, tokens_bt), Workers().place(len(index)))


def evaluate(learner: MatchLearner, data: MatchDataset, split: str) -> dict[str, float]:
    """Loss of a split, in batches of SCORED images, and its retrieval recalls."""
    learner.network.eval()
    wholes, sentences, total = [], [], torch.zeros((), dtype=torch.float64, device=data.device)
    n = len(getattr(data.images, split))
    for index in torch.split(torch.arange(n, device=data.device), SCORED):
        with torch.inference_mode():
            places, whole, text = learner.network(*data.batch(split, index))
            terms = matching_losses.losses(places, whole, text)
            total += torch.stack(
                [weight * terms[name] for name, weight in learner.weights_of_losses.items()]
            ).sum() * len(index)
            wholes.append(whole)
            sentences.append(text.sentence_bc)
    tokens_nt = data.captions.of(split, torch.arange(n, device=data.device))
    recalls = matching_losses.recalls(torch.cat(wholes), torch.cat(sentences), tokens_nt, EVALUATION_BATCH)
    return {"matching": float(total) / n, **recalls}


def check_extra(data: MatchDataset, names: Sequence[str]) -> None:  # noqa: ARG001 - part of the task interface
    """Refuse metrics of fills: this task has no fills to score."""
    if names:
        raise no_fills_error("match", names)


def extra(learner: MatchLearner, data: MatchDataset, names: Sequence[str]) -> dict[str, float]:  # noqa: ARG001 - see `check_extra`
    return {}


def samples(learner: MatchLearner, data: MatchDataset) -> dict[str, bytes]:  # noqa: ARG001 - part of the task interface
    """No pictures."""
    return {}


def facts(learner: MatchLearner, data: MatchDataset) -> dict[str, Any]:  # noqa: ARG001 - part of the task interface
    """No further facts."""
    return {}


def final_files(learner: MatchLearner, data: MatchDataset) -> dict[str, bytes]:  # noqa: ARG001
    return {}
