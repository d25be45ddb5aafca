"""Task `inpaint`: fill the holes of images; the fills are scored against the original images.

Shapes: b images, 3 channels, h = w = `data.size`; mask_b1hw is 1 where a pixel is missing. The training images stay on
the device as uint8. Masks are drawn for a whole epoch as functions of (seed, epoch, image index) and rasterised batch
by batch on the device. Evaluation masks depend only on the split, so every arm and seed is scored on the same holes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainables import registry
from trainables.config.model_sections import ModelConfig
from trainables.data import augment, captions, images
from trainables.inpaint import dataset as inpaint_dataset
from trainables.inpaint import perceptual_features
from trainables.inpaint.batch import Batch, check_terms
from trainables.inpaint.config import method_options
from trainables.inpaint.dataset import InpaintDataset
from trainables.inpaint.evaluation import by_protocol, diversity, metrics, per_image, perceptual_metrics, sharpness
from trainables.inpaint.method import Method, Regression
from trainables.inpaint.method_checks import (
    check_built,
    check_code,
    check_fill,
    check_method,
    check_restores,
    check_state,
    check_weights,
)
from trainables.inpaint.setup import Setup, place
from trainables.masks import families as masks
from trainables.masks.rasterise import MaskDraw
from trainables.match.caption_retrieval import (
    HITS,
    CaptionRetriever,
    RetrievalAccuracy,
    load_retriever,
    real_image_accuracy,
    set_trained_encoders,
    vocabulary_of,
)
from trainables.protocols.section import protocol_of
from trainables.training.compiled import check_compiler
from trainables.training.distributed import Workers
from trainables.training.loop import derive, generator
from trainables.training.networks import build_network
from trainables.training.session import Machine
from trainables.training.terms import Terms
from trainables.training.user_metrics import UserMeter, UserMetric, of_config

BEST = ("val/psnr_db", "max")
SAMPLES = 8
WRONG_TEXT = ("psnr_db_hole", "l1_hole", HITS)
"""Metrics of the test images filled with the captions of other images, recorded as `<metric>_wrong_text`."""

__all__ = [
    "BEST",
    "build",
    "check_extra",
    "checks",
    "evaluate",
    "extra",
    "facts",
    "final_files",
    "load",
    "samples",
    "train",
]
"""The functions and constants required by the protocol `trainables.training.loop.Task`."""


def load(config: Mapping[str, Any], machine: Machine) -> InpaintDataset:
    """Load images, captions and masks."""
    return inpaint_dataset.load(config, machine, vocabulary_of(config, machine))


class InpaintLearner:
    """A method in training, with what evaluates it, and what the task keeps of its last evaluation."""

    def __init__(
        self,
        method: Method,
        options: ModelConfig,
        workers: Workers,
        draws: int | None = None,
        retriever: CaptionRetriever | None = None,
    ) -> None:
        """draws: fills drawn for each test image by the diversity metrics; None for a deterministic method.

        retriever: the network of `judge`, which retrieves captions from fills; None without `judge`.
        """
        self.method, self.options, self.workers, self.draws = method, options, workers, draws
        self.retriever = retriever
        self.parameters = method.parameters
        self.user_metrics: tuple[UserMetric, ...] = ()
        self.protocol: Mapping[str, Any] | None = None  # the section of the configuration
        self.filled = False  # whether `fill` has been called
        self.tested: Tensor | None = None  # `per_image.NAMES` of all test images, from the last evaluation
        self.tested_hits: Tensor | None = None  # `RetrievalAccuracy.hits` of the same images
        self.facts: dict[str, Any] = {}  # of the last rating by the sweep's protocol
        self.stopping: Callable[[], bool] = lambda: False  # whether the trial is asked to stop

    def fill(self, image_b3hw: Tensor, mask_b1hw: Tensor, tokens_bt: Tensor | None = None) -> Tensor:
        """The method's fill. Raises TrialError if it does not return images like the given ones."""
        output_b3hw = self.method.fill(image_b3hw, mask_b1hw, tokens_bt)
        check_fill(self.method, output_b3hw, image_b3hw)
        self.filled = True
        return output_b3hw

    def try_fill(self, batch: Batch) -> None:
        """Fill two images of a batch, so that a fault in evaluation mode ends the trial before an epoch is lost.

        This comes after a training step: a network may keep tensors from its first call, and those of a fill have no
        gradients.
        """
        device = batch.image_b3hw.device
        tokens_bt = None if batch.tokens_bt is None else batch.tokens_bt[:2]
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            self.fill(batch.image_b3hw[:2], batch.mask_b1hw[:2], tokens_bt)
            if self.protocol:
                self.fill(*by_protocol.blank(protocol_of(self.protocol).images.size, device))

    def state_dict(self) -> dict[str, Any]:
        state = self.method.state_dict()
        check_state(self.method, state)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.method.load_state_dict(state)

    def inference_weights(self) -> dict[str, Tensor]:
        weights = self.method.inference_weights()
        check_weights(self.method, weights)
        return weights


def build(config: Mapping[str, Any], data: InpaintDataset, machine: Machine) -> InpaintLearner:
    torch.manual_seed(derive(config["seed"], "initialisation"))
    network: Any = build_network(config["model"], data.canvas.size)  # on the CPU: the same initialisation on any device
    if data.captions is not None and method_options(config).takes_text:
        network.set_vocabulary(data.captions.vocabulary)
        set_trained_encoders(network, config, machine)
    method, options = build_method(config, network, data.canvas.size, replace(machine, data_root=data.canvas.root))
    judged = config.get("judge") is not None
    retriever = machine.workers.run_together(lambda: load_retriever(config, machine)) if judged else None
    learner = InpaintLearner(method, options, machine.workers, config.get("draws"), retriever)
    learner.user_metrics = of_config("metric", config)
    learner.protocol = config.get("protocol")
    learner.stopping = machine.stopping
    check_restores(method)
    learner.inference_weights()  # checked
    return learner


def build_method(
    config: Mapping[str, Any], network: nn.Module, size: int, machine: Machine
) -> tuple[Method, ModelConfig]:
    """The method of a configuration, with its options. Without a loss, it only fills holes.

    network: from `build_network`, for images of `size` px.
    """
    module, options = registry.find("method", config["model"]["name"]).load(), method_options(config)
    check_built(network, module.build)
    make: Callable[[Setup], Method] = getattr(module, "method", Regression)  # a module may give `build` alone
    method = make(Setup(config, options, place(network, config, machine), size, machine, module.build))
    check_method(method, make)
    return method, options


def checks(config: Mapping[str, Any]) -> list[tuple[Callable[[Any, Path | None], Any], Any]]:
    """Checks to run before training, each with its argument: code, images, captions, masks, the feature network."""
    required: list[tuple[Callable[[Any, Path | None], Any], Any]]
    masked = {"data": {"size": config["data"]["size"]}, "mask": config["mask"], "test_masks": config.get("test_masks")}
    required = [(check_code, config["model"]["name"]), (images.check, config["data"])]
    required += [(captions.check, config["data"]), (inpaint_dataset.check_masks, masked)]
    if config.get("protocol"):
        of_protocol = {"data": masked["data"], **{key: config[key] for key in ("model", "protocol")}}
        required.append((by_protocol.check_size, of_protocol))
        required.append((check_protocol_images, config["protocol"]))
    if config.get("compile"):
        required.append((check_compiler, True))
    if config.get("metrics"):
        required.append((check_user_metrics, {"data": masked["data"], "metrics": config["metrics"]}))
    return [*required, (perceptual_features.load, config["features"])] if config.get("features") else required


def epoch_masks(config: Mapping[str, Any], data: InpaintDataset, epoch: int) -> MaskDraw:
    """Draw the masks of the training images for an epoch, a function of (seed, epoch, image index)."""
    source = generator(config["seed"], "masks", epoch)
    return masks.draw(data.mask, len(data.images.train), data.canvas_of("train"), source).to(data.device)


def epoch_changes(config: Mapping[str, Any], data: InpaintDataset, epoch: int) -> augment.Augmentation | None:
    """Draw the augmentation of the training images for an epoch, a function of (seed, epoch, image index)."""
    section = config["data"].get("augment")
    source = generator(config["seed"], "augment", epoch)
    return None if section is None else augment.draw(section, len(data.images.train), source).to(data.device)


def train(
    learner: InpaintLearner, config: Mapping[str, Any], data: InpaintDataset, epoch: int
) -> Iterator[tuple[int, Terms]]:
    """Train one epoch in an order drawn from (seed, epoch).

    A last batch of a single image is skipped because batch normalisation needs two.
    """
    for batch in _batches(learner, config, data, epoch):
        terms = learner.method.training_step(batch)
        check_terms(terms, learner.method)
        if not learner.filled and batch.part.images:
            learner.try_fill(batch)
        yield batch.part.whole, terms


def _batches(learner: InpaintLearner, config: Mapping[str, Any], data: InpaintDataset, epoch: int) -> Iterator[Batch]:
    """This worker's parts of the batches of an epoch. What an epoch draws goes to the device once, before its steps."""
    seed, n, workers = config["seed"], len(data.images.train), learner.workers
    order = torch.randperm(n, generator=generator(seed, "order", epoch)).to(data.device)
    draw, changes = epoch_masks(config, data, epoch), epoch_changes(config, data, epoch)
    caption_draw_n = torch.rand(n, generator=generator(seed, "captions", epoch)).to(data.device)
    whole_batches = [index for index in torch.split(order, config["batch"]) if len(index) > 1]
    for step, index in enumerate(whole_batches, 1):
        mine = workers.part(index)
        image_b3hw, mask_b1hw = data.batch("train", mine, draw)
        if changes:
            image_b3hw = changes.apply(image_b3hw, mine)
            if data.mask["name"] == "object":
                mask_b1hw = changes.move(mask_b1hw, mine)
        yield Batch(
            image_b3hw,
            mask_b1hw,
            workers.place(len(index)),
            mine,
            data.text("train", index, caption_draw_n) if learner.options.takes_text else None,
            epoch,
            derive(seed, "noise", epoch, step),
            last=step == len(whole_batches),
        )


def evaluate(learner: InpaintLearner, data: InpaintDataset, split: str) -> dict[str, float]:
    """Compute the metrics of a split; the test split is also scored under `test_masks`, as `<metric>_on_<label>`."""
    if split not in learner.options.splits:
        return {}
    keeps = split == "test" and learner.workers.size == 1  # each of several workers sees only a part of the images
    meter = metrics.Meter(data.crop, by_share=split == "test", keep=per_image.NAMES if keeps else ())
    hits = RetrievalAccuracy(learner.retriever, split)
    values = _scores(learner, data, split, data.evaluation_masks[split], meter, hits)
    values |= real_image_accuracy(learner.retriever, data, split, learner.workers)
    if keeps:
        learner.tested, learner.tested_hits = meter.per_image(), hits.per_image()
    if split == "test" and learner.options.takes_text and data.captions is not None:
        draw = data.evaluation_masks[split]
        scores = _scores(
            learner, data, split, draw, metrics.Meter(), RetrievalAccuracy(learner.retriever, split), wrong_text=True
        )
        values |= {f"{name}_wrong_text": scores[name] for name in WRONG_TEXT if name in scores}
    if split == "test" and learner.draws:  # every worker evaluates the whole split: the draws depend on the batches
        values |= diversity.split_diversity(learner.method.fill, data, split, learner.draws)
    for label, draw in data.other_masks.items() if split == "test" else ():
        scores = _scores(learner, data, split, draw, metrics.Meter(), RetrievalAccuracy(learner.retriever, split))
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
    own = UserMeter(() if wrong_text else learner.user_metrics)
    mine = learner.workers.part(data.all_of(split))
    for index in data.evaluation_batches(mine):
        image_b3hw, mask_b1hw = data.batch(split, index, draw)
        output_b3hw = learner.fill(image_b3hw, mask_b1hw, data.text(split, index, wrong=wrong_text))
        meter.update(output_b3hw, image_b3hw, mask_b1hw)
        hits.update(index, torch.where(mask_b1hw > 0.5, output_b3hw, image_b3hw))
        own.update(*user_metric_inputs(output_b3hw, image_b3hw, mask_b1hw))
    meter.totals = learner.workers.sum(meter.totals.to(data.device))
    values = meter.compute() | hits.compute(learner.workers, data.device)
    return values | own.compute(learner.workers, data.device)


def user_metric_inputs(output_b3hw: Tensor, image_b3hw: Tensor, mask_b1hw: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """What users' metrics may ask for, and which outputs are finite. The prediction is the composite, as for ours."""
    clamped_b3hw = output_b3hw.float().clamp(0, 1)
    prediction_b3hw = torch.where(mask_b1hw > 0.5, clamped_b3hw, image_b3hw)
    inputs = {"prediction": prediction_b3hw, "target": image_b3hw, "mask": mask_b1hw, "output": clamped_b3hw}
    return inputs, clamped_b3hw.flatten(1).isfinite().all(1)


def check_user_metrics(config: Mapping[str, Any], root: Path | None) -> None:  # noqa: ARG001 - as every check
    """Raise TrialError if a user's metric does not give a finite number for each of two images of noise.

    config: with `metrics`, and `data.size`.
    """
    size = config["data"]["size"]
    noise, mask_b1hw = generator("check"), torch.zeros(2, 1, size, size)
    mask_b1hw[:, :, size // 4 : size // 2, size // 4 : size // 2] = 1
    image_b3hw, output_b3hw = torch.rand(2, 2, 3, size, size, generator=noise).unbind()
    meter = UserMeter(of_config("metric", config))
    meter.update(*user_metric_inputs(output_b3hw, image_b3hw, mask_b1hw))
    meter.compute(Workers(), torch.device("cpu"))


def check_protocol_images(section: Mapping[str, Any], root: Path | None) -> None:
    """Raise TrialError if the folders of a resolved `protocol` section cannot be used. Called before training."""
    by_protocol.images_of(section, root, torch.empty(0, 3, 1, 1, dtype=torch.uint8))


def check_extra(data: InpaintDataset, names: Sequence[str]) -> None:
    _scorers(data, names)


def _scorers(data: InpaintDataset, names: Sequence[str]) -> dict[str, perceptual_metrics.Scorer]:
    """The scorers with trained networks."""
    networks = [name for name in names if name != sharpness.NAME]
    return perceptual_metrics.scorers(networks, data.canvas.root, data.device)


def extra(learner: InpaintLearner, data: InpaintDataset, names: Sequence[str]) -> dict[str, float]:
    """Score the composites of the test images: with trained networks (LPIPS, KID, FID), and by their sharpness.

    If the sweep has a protocol, its images are filled and rated as well: `<metric>_on_protocol`.
    """
    rated: dict[str, float] = {}
    if learner.protocol and data.protocol is not None:
        found = by_protocol.rate(learner.fill, data.protocol, data.device, learner.workers, learner.stopping)
        rated, learner.facts = by_protocol.columns(found), {"protocol": by_protocol.facts(learner.protocol, found)}
    return {**_test_scores(learner, data, names), **rated} if names else rated


def _test_scores(learner: InpaintLearner, data: InpaintDataset, names: Sequence[str]) -> dict[str, float]:
    scorers, meter = _scorers(data, names), sharpness.Sharpness()
    for index in data.evaluation_batches(data.all_of("test")):
        image_b3hw, mask_b1hw = data.batch("test", index, data.evaluation_masks["test"])
        output_b3hw = learner.method.fill(image_b3hw, mask_b1hw, data.text("test", index))
        composite_b3hw = torch.where(mask_b1hw > 0.5, output_b3hw, image_b3hw)
        for scorer in scorers.values():
            scorer.update(composite_b3hw, image_b3hw)
        if sharpness.NAME in names:
            meter.update(composite_b3hw, image_b3hw, mask_b1hw)
    values = {name: scorer.compute() for name, scorer in scorers.items()}
    sharp = meter.compute()
    return values if sharp is None else {**values, sharpness.NAME: sharp}


def samples(learner: InpaintLearner, data: InpaintDataset) -> dict[str, bytes]:
    """Sample pictures of the first test images: truth, mask, damaged, output and composite, a strip each."""
    return per_image.strips(learner.method.fill, data, data.all_of("test")[:SAMPLES])


def facts(learner: InpaintLearner, data: InpaintDataset) -> dict[str, Any]:  # noqa: ARG001 - part of the task interface
    """What rated the fills, and on which images, if the sweep has a protocol."""
    return learner.facts


def final_files(learner: InpaintLearner, data: InpaintDataset) -> dict[str, bytes]:
    """Files written after the last epoch: the per-image metrics of the test images, and pictures of the worst ones.

    Empty if this process has not evaluated all test images itself, which is so with several workers: an evaluation of
    all of them here would delay the others.
    """
    if learner.tested is None and learner.workers.size == 1:  # the trial goes on after its last checkpoint
        evaluate(learner, data, "test")
    if learner.tested is None:
        return {}
    worst = per_image.worst(learner.tested)
    strips = per_image.strips(learner.method.fill, data, worst) if len(worst) else {}
    return {per_image.FILE: per_image.pack(learner.tested, learner.tested_hits)} | {
        f"worst-{name}": png for name, png in strips.items()
    }
