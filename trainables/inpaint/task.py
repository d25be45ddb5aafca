"""Task `inpaint`: fill the holes of images; the fills are scored against the original images.

Shapes: b images, 3 channels, h = w = `data.size`; mask_b1hw is 1 where a pixel is missing. The training images stay on
the device as uint8. Masks are drawn for a whole epoch as functions of (seed, epoch, image index) and rasterised batch
by batch on the device. Evaluation masks depend only on the split, so every arm and seed is scored on the same holes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainables.config.sections import Phase, PhasesConfig
from trainables.data import augment, captions, images
from trainables.inpaint import dataset as inpaint_dataset
from trainables.inpaint import perceptual_features
from trainables.inpaint.adversarial import Adversary, GANObjective
from trainables.inpaint.config import adversarial_terms, network_terms
from trainables.inpaint.dataset import LAYOUT, InpaintDataset
from trainables.inpaint.evaluation import diversity, metrics, per_image, perceptual_metrics
from trainables.inpaint.learner import InpaintLearner
from trainables.inpaint.predicted_region import PredictedRegion
from trainables.masks import families as masks
from trainables.masks.rasterise import MaskDraw
from trainables.match.caption_retrieval import (
    HITS,
    RetrievalAccuracy,
    RetrievalDataset,
    load_retriever,
    real_image_accuracy,
    set_trained_encoders,
    vocabulary_of,
)
from trainables.training import optimisers
from trainables.training.distributed import Workers
from trainables.training.loop import derive, generator
from trainables.training.networks import build_network, model_of
from trainables.training.precision import Precision
from trainables.training.session import Machine
from trainables.training.sync_batch_norm import synchronise
from trainables.training.terms import Terms, as_sums

BEST = ("val/psnr_db", "max")
SAMPLES = 8
WRONG_TEXT = ("psnr_db_hole", "l1_hole", HITS)
"""Metrics of the test images filled with the captions of other images, recorded as `<metric>_wrong_text`."""

__all__ = ["BEST", "build", "check_extra", "checks", "evaluate", "extra", "final_files", "load", "samples", "train"]
"""The functions and constants required by the protocol `trainables.training.loop.Task`."""


def load(config: Mapping[str, Any], machine: Machine) -> RetrievalDataset:
    """Load images, captions and masks, and the network of `judge` if the configuration names one."""
    data = inpaint_dataset.load(config, machine, vocabulary_of(config, machine))
    return RetrievalDataset.of(data, load_retriever(config, machine))


def build(config: Mapping[str, Any], data: InpaintDataset, machine: Machine) -> InpaintLearner:
    torch.manual_seed(derive(config["seed"], "initialisation"))
    network: Any = build_network(config["model"], data.canvas.size)  # on the CPU: the same initialisation on any device
    module, options = model_of(config["model"])
    if options.takes_text and data.captions is not None:
        network.set_vocabulary(data.captions.vocabulary)
        set_trained_encoders(network, config, machine)
    network = network.to(machine.device, memory_format=LAYOUT)
    workers = machine.workers
    if _sees_whole_batches(config, workers):
        synchronise(network)
    if not any(True for _ in network.parameters()):
        return InpaintLearner(network.eval(), None, {}, workers=workers, splits=options.splits)
    scope = (
        module.scope(options, data.canvas.size)
        if hasattr(module, "scope")
        else PredictedRegion(value_range=options.value_range)
    )
    optimiser = optimisers.build(config["optimiser"], network.parameters())
    adversary = _build_adversary(config, data.canvas.size, machine)
    observed, classifier = bool(options.adversarial), None
    if config.get("features"):
        side = scope.crop(torch.empty(1, 1, data.canvas.size, data.canvas.size, device="meta")).shape[2]
        classifier = perceptual_features.load(config["features"], data.canvas.root, machine.device, side)
    return InpaintLearner(
        network,
        optimiser,
        config["loss"],
        scope,
        adversary,
        observed,
        workers=workers,
        classifier=classifier,
        own_terms=network_terms(config),
        discriminates_composite=options.discriminator_input == "composite",
        precision=Precision(config.get("precision"), machine.device),
        takes_text=options.takes_text,
        draws=config.get("draws"),
    )


def _sees_whole_batches(config: Mapping[str, Any], workers: Workers) -> bool:
    """Whether batch normalisation has to synchronise its statistics over several workers."""
    return workers.size > 1 and config.get("sync_batch_norm") is not False


def _build_adversary(config: Mapping[str, Any], size: int, machine: Machine) -> Adversary | None:
    """Build the discriminators whose loss terms have a weight; None if there are none.

    Each discriminator has a random stream of its own, so its initialisation does not depend on the others.
    """
    module, options = model_of(config["model"])
    discriminators: dict[str, nn.Module] = {}
    for term in adversarial_terms(config):
        torch.manual_seed(derive(config["seed"], "initialisation", term))
        discriminator = module.build_discriminator(options, size, term)
        discriminators[term] = discriminator.to(machine.device, memory_format=LAYOUT)
        if _sees_whole_batches(config, machine.workers):
            synchronise(discriminator, twice="r1" in config["loss"])
    if not discriminators:
        return None
    parameters = [p for discriminator in discriminators.values() for p in discriminator.parameters()]
    optimiser = optimisers.build(config.get("discriminator_optimiser") or config["optimiser"], parameters)
    precision = Precision(config.get("precision"), machine.device)
    rules = GANObjective(
        options.masked_target, config["loss"].get("r1", 0.0), "feature_matching" in config["loss"], options.matched
    )
    return Adversary(discriminators, optimiser, machine.workers, options.adversarial_loss, precision, rules)


def checks(config: Mapping[str, Any]) -> list[tuple[Callable[[Any, Path | None], Any], Any]]:
    """Checks to run before training, each with its argument: images, captions, masks and the feature network."""
    required: list[tuple[Callable[[Any, Path | None], Any], Any]]
    masked = {"data": {"size": config["data"]["size"]}, "mask": config["mask"], "test_masks": config.get("test_masks")}
    required = [(images.check, config["data"]), (captions.check, config["data"]), (inpaint_dataset.check_masks, masked)]
    return [*required, (perceptual_features.load, config["features"])] if config.get("features") else required


def epoch_masks(config: Mapping[str, Any], data: InpaintDataset, epoch: int) -> MaskDraw:
    """Draw the masks of the training images for an epoch, a function of (seed, epoch, image index)."""
    source = generator(config["seed"], "masks", epoch)
    return masks.draw(data.mask, len(data.images.train), data.canvas_of("train"), source).to(data.device)


def epoch_changes(config: Mapping[str, Any], data: InpaintDataset, epoch: int) -> augment.Augmentation | None:
    """Draw the augmentation of the training images for an epoch, a function of (seed, epoch, image index)."""
    section = config["data"].get("augment")
    source = generator(config["seed"], "augment", epoch)
    return None if section is None else augment.draw(section, len(data.images.train), source)


def train(
    learner: InpaintLearner, config: Mapping[str, Any], data: InpaintDataset, epoch: int
) -> Iterator[tuple[int, Terms]]:
    """Train one epoch in an order drawn from (seed, epoch).

    A last batch of a single image is skipped because batch normalisation needs two.
    """
    learner.network.train()
    learner.scale_rates(optimisers.decay(config.get("schedule"), epoch, config["epochs"]))
    learner.phase = _phase(config, epoch)
    seed, size = config["seed"], config["batch"]
    n = len(data.images.train)
    order = torch.randperm(n, generator=generator(seed, "order", epoch))
    draw, changes = epoch_masks(config, data, epoch), epoch_changes(config, data, epoch)
    caption_draw_n = torch.rand(n, generator=generator(seed, "captions", epoch))
    if learner.needs_full_batch:
        torch.manual_seed(
            derive(seed, "noise", epoch)
        )  # every worker draws the noise of the whole batch, as one process would
    for index in torch.split(order, size):
        if len(index) > 1:
            mine = learner.workers.part(index)
            image_b3hw, mask_b1hw = data.batch("train", mine, draw)
            if changes:
                image_b3hw = changes.apply(image_b3hw, mine)
                if data.mask["name"] == "object":
                    mask_b1hw = changes.move(mask_b1hw, mine)
            text = data.text("train", index if learner.needs_full_batch else mine, caption_draw_n)
            yield (
                len(index),
                as_sums(learner.step(image_b3hw, mask_b1hw, len(index), *text), learner.workers.place(len(index))),
            )
    learner.workers.sync_buffers(learner.network)


def _phase(config: Mapping[str, Any], epoch: int) -> Phase:
    """The phase of an epoch. It depends only on the epoch, so checkpoints do not store it."""
    section = config.get("phases")
    return "both" if section is None else PhasesConfig.model_validate(section).at(epoch, config["epochs"])


def evaluate(learner: InpaintLearner, data: RetrievalDataset, split: str) -> dict[str, float]:
    """Compute the metrics of a split; the test split is also scored under `test_masks`, as `<metric>_on_<label>`."""
    if split not in learner.splits:
        return {}
    keeps = split == "test" and learner.workers.size == 1  # each of several workers sees only a part of the images
    meter = metrics.Meter(data.crop, by_share=split == "test", keep=per_image.NAMES if keeps else ())
    hits = RetrievalAccuracy(data.retriever, split)
    values = _scores(learner, data, split, data.evaluation_masks[split], meter, hits)
    values |= real_image_accuracy(data, split, learner.workers)
    if keeps:
        learner.tested, learner.tested_hits = meter.per_image(), hits.per_image()
    if split == "test" and learner.takes_text and data.captions is not None:
        draw = data.evaluation_masks[split]
        scores = _scores(
            learner, data, split, draw, metrics.Meter(), RetrievalAccuracy(data.retriever, split), wrong_text=True
        )
        values |= {f"{name}_wrong_text": scores[name] for name in WRONG_TEXT if name in scores}
    if split == "test" and learner.draws:  # every worker evaluates the whole split: the draws depend on the batches
        values |= diversity.split_diversity(learner.fill, data, split, learner.draws)
    for label, draw in data.other_masks.items() if split == "test" else ():
        scores = _scores(learner, data, split, draw, metrics.Meter(), RetrievalAccuracy(data.retriever, split))
        values |= {f"{name}_on_{label}": value for name, value in scores.items()}
    return values


def _scores(
    learner: InpaintLearner,
    data: InpaintDataset,
    split: str,
    draw: MaskDraw,
    meter: metrics.Meter,
    hits: RetrievalAccuracy,
    wrong_text: bool = False,
) -> dict[str, float]:
    learner.network.eval()
    mine = learner.workers.part(torch.arange(len(data.split(split))))
    for index in data.evaluation_batches(mine):
        image_b3hw, mask_b1hw = data.batch(split, index, draw)
        output_b3hw = learner.fill(image_b3hw, mask_b1hw, *data.text(split, index, wrong=wrong_text))
        meter.update(output_b3hw, image_b3hw, mask_b1hw)
        hits.update(index, torch.where(mask_b1hw > 0.5, output_b3hw, image_b3hw))
    meter.totals = learner.workers.sum(meter.totals.to(data.device))
    return meter.compute() | hits.compute(learner.workers, data.device)


def check_extra(data: InpaintDataset, names: Sequence[str]) -> None:
    perceptual_metrics.scorers(names, data.canvas.root, data.device)


def extra(learner: InpaintLearner, data: InpaintDataset, names: Sequence[str]) -> dict[str, float]:
    """Score the composites of the test images with trained networks (LPIPS, KID, FID)."""
    learner.network.eval()
    scorers = perceptual_metrics.scorers(names, data.canvas.root, data.device)
    for index in data.evaluation_batches(torch.arange(len(data.images.test))):
        image_b3hw, mask_b1hw = data.batch("test", index, data.evaluation_masks["test"])
        output_b3hw = learner.fill(image_b3hw, mask_b1hw, *data.text("test", index))
        composite_b3hw = torch.where(mask_b1hw > 0.5, output_b3hw, image_b3hw)
        for scorer in scorers.values():
            scorer.update(composite_b3hw, image_b3hw)
    return {name: scorer.compute() for name, scorer in scorers.items()}


def samples(learner: InpaintLearner, data: InpaintDataset) -> dict[str, bytes]:
    """Sample pictures of the first test images: truth, mask, damaged, output and composite, a strip each."""
    learner.network.eval()
    return per_image.strips(learner.fill, data, torch.arange(min(SAMPLES, len(data.images.test))))


def final_files(learner: InpaintLearner, data: InpaintDataset) -> dict[str, bytes]:
    """Files written after the last epoch: the per-image metrics of the test images, and pictures of the worst ones.

    Empty if this process has not evaluated all test images itself, which is so with several workers, or if a trial
    that was already finished is only finalised again: another evaluation pass would delay the other workers.
    """
    if learner.tested is None:
        return {}
    worst = per_image.worst(learner.tested)
    learner.network.eval()
    strips = per_image.strips(learner.fill, data, worst) if len(worst) else {}
    return {per_image.FILE: per_image.pack(learner.tested, learner.tested_hits)} | {
        f"worst-{name}": png for name, png in strips.items()
    }
