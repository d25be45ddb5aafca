"""Task `detect`: predict which images were inpainted, and where.

Shapes: b images, 3 channels, side = `data.input_size`; boxes x1 y1 x2 y2 as fractions of the sides; masks 1 in the
hole. The loss is a weighted sum of terms of `losses`, each a mean over the images that it applies to. The order of the
images and their flips are functions of (seed, epoch); the images that are scored do not depend on the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables import registry
from trainables.detect import boxes, output_files
from trainables.detect import losses as detection_losses
from trainables.detect import metrics as detection_metrics
from trainables.detect.change_config import changed_sets
from trainables.detect.config import TERMS, image_size
from trainables.detect.config import detector as options_of
from trainables.detect.dataset import DetectDataset, fitted_on, load, window_draws, windows
from trainables.detect.evaluation import extra_metrics, image_scores, photographs
from trainables.detect.inference import SplitPredictions, predict_split
from trainables.detect.metrics import Floats
from trainables.detect.output import DetectorOutput
from trainables.detect.perturbations import check_change
from trainables.errors import TrialError
from trainables.forgery.forged_images import LabelledImages
from trainables.forgery.native_images import NativeImages
from trainables.inpaint.dataset import LAYOUT
from trainables.training import optimisers
from trainables.training.distributed import Workers
from trainables.training.loop import derive, generator
from trainables.training.session import Machine
from trainables.training.sync_batch_norm import synchronise
from trainables.training.terms import Terms, as_sums
from trainables.training.user_metrics import UserMeter, UserMetric, of_config

BEST = ("val/f1", "max")

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
"""Names that `trainables.training.loop.Task` requires of a module."""


class DetectLearner:
    """A detector network with its optimiser; a baseline has none."""

    def __init__(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer | None,
        weights: Mapping[str, float],
        boxes: Mapping[str, Any] | None,
        size: int,
        workers: Workers = Workers(),  # noqa: B008 - frozen
    ) -> None:
        """Store the parts; the optimiser is None for a baseline.

        weights: weights of the loss terms.
        boxes: the resolved section `boxes`.
        size: side of the set's images, px.
        """
        self.network = network
        self.optimiser = optimiser
        self.weights_of_losses = dict(weights)
        self.boxes = boxes or {}
        self.size = size
        self.workers = workers
        self._trained = workers.prepare(network) if optimiser else network
        self.threshold: float | None = None  # a logit, chosen in the last evaluation of the validation images
        self.validated = False
        self.tested: dict[str, SplitPredictions] = {}  # of the last evaluation, by label of the test set
        self.extra: dict[str, dict[str, Floats]] = {}  # by label of the test set: metrics with a value for each image
        self.parameters = sum(p.numel() for p in network.parameters())
        self.user_metrics: tuple[UserMetric, ...] = ()

    def step(self, image_b3hw: Tensor, truth: Targets, whole: int) -> dict[str, Tensor]:
        """Train on this worker's part of a batch, which may be empty. whole: number of images of the batch."""
        assert self.optimiser is not None, "a model without parameters is not trained"
        terms = self._terms(self._trained(image_b3hw), truth, whole)
        loss = torch.stack([self.weights_of_losses[name] * term for name, term in terms.items()]).sum()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.validated = False
        return {"loss": loss.detach(), **{name: term.detach() for name, term in terms.items()}}

    def _terms(self, output: DetectorOutput, truth: Targets, whole: int) -> dict[str, Tensor]:
        """All weighted terms, with gradients; their mean over the workers is the mean over the whole batch."""
        scale = self.workers.scale(len(truth.label_b), whole)
        unit = self.size if self.boxes.get("units") == "pixel" else 1
        arguments: dict[str, Any] = {
            "logit_b": output.logit_b,
            "label_b": truth.label_b,
            "mask_logit_b1hw": output.mask_logit_b1hw,
            "mask_b1hw": truth.mask_b1hw,
            "beta": self.boxes.get("beta"),
        }
        if output.box_b4 is not None:
            arguments |= {"box_b4": boxes.at_least_float32(output.box_b4) * unit, "true_b4": truth.box_b4 * unit}
        counts_b = truth.label_b if self.boxes.get("over") == "positives" else torch.ones_like(truth.label_b)
        box_scale: Tensor | None = None
        terms = {}
        for name in self.weights_of_losses:
            inputs = TERMS[name]
            value_b: Tensor = getattr(detection_losses, name)(**{key: arguments[key] for key in inputs})
            if inputs[0] == "box_b4":
                box_scale = self.workers.scale_of(counts_b.sum()) if box_scale is None else box_scale
                terms[name] = (value_b * counts_b).sum() / counts_b.sum().clamp(min=1) * box_scale
            else:
                terms[name] = value_b.sum() / max(1, len(value_b)) * scale
        return terms

    def predict(self, image_b3hw: Tensor) -> DetectorOutput:
        """Output of the network for images in [0, 1] at its input size, without gradients."""
        with torch.inference_mode():
            output: DetectorOutput = self.network(image_b3hw)
            return output

    def state_dict(self) -> dict[str, Any]:
        optimiser = self.optimiser.state_dict() if self.optimiser else {}
        return {"network": self.network.state_dict(), "optimiser": optimiser}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        if self.optimiser:
            self.optimiser.load_state_dict(state["optimiser"])

    def inference_weights(self) -> dict[str, Tensor]:
        return self.network.state_dict()


class Targets:
    """Labels, boxes and masks of a batch; masks have the size of the images and are None if no loss term uses them."""

    def __init__(self, label_b: Tensor, box_b4: Tensor, mask_b1hw: Tensor | None) -> None:
        self.label_b, self.box_b4, self.mask_b1hw = label_b, box_b4, mask_b1hw

    def mirrored(self, across_b: Tensor, down_b: Tensor) -> Targets:
        """Labels, boxes and masks after flipping some images left-right, and some top-bottom."""
        x1, y1, x2, y2 = self.box_b4.unbind(1)
        has_box = self.label_b > 0.5  # zeros of negatives stay zeros
        turned_x, turned_y = across_b & has_box, down_b & has_box
        x1, x2 = torch.where(turned_x, 1 - x2, x1), torch.where(turned_x, 1 - x1, x2)
        y1, y2 = torch.where(turned_y, 1 - y2, y1), torch.where(turned_y, 1 - y1, y2)
        mask = None if self.mask_b1hw is None else mirrored(self.mask_b1hw, across_b, down_b)
        return Targets(self.label_b, torch.stack([x1, y1, x2, y2], 1), mask)


def mirrored(image_bchw: Tensor, across_b: Tensor, down_b: Tensor) -> Tensor:
    """Flip some images left-right, and some top-bottom."""
    image_bchw = torch.where(across_b.view(-1, 1, 1, 1), image_bchw.flip(3), image_bchw)
    return torch.where(down_b.view(-1, 1, 1, 1), image_bchw.flip(2), image_bchw)


def build(config: Mapping[str, Any], data: DetectDataset, machine: Machine) -> DetectLearner:
    torch.manual_seed(derive(config["seed"], "initialisation"))
    network = _network(config["model"], data.side, data.root)  # on the CPU: the same initialisation on any device
    network = network.to(machine.device, memory_format=LAYOUT)  # type: ignore[call-overload]
    workers = machine.workers
    if not options_of(config["model"]).trains:
        registry.find("detector", config["model"]["name"]).load().learn(network, fitted_on(data))
        learner = DetectLearner(network.eval(), None, {}, None, data.size, workers)
        learner.user_metrics = of_config("detection_metric", config)
        return learner
    if workers.size > 1 and config.get("sync_batch_norm") is not False:
        synchronise(network)
    optimiser = optimisers.build(config["optimiser"], network.parameters())
    learner = DetectLearner(network, optimiser, config["loss"], config["boxes"], data.size, workers)
    learner.user_metrics = of_config("detection_metric", config)
    return learner


def checks(config: Mapping[str, Any]) -> list[tuple[Callable[[Any, Path | None], Any], Any]]:
    """Checks of pretrained weights, users' metrics, and changes. Sets are forged, or read, before the trials."""
    required: list[tuple[Callable[[Any, Path | None], Any], Any]] = []
    if options_of(config["model"]).pretrained():
        required.append((_check_weights, config["model"]))
    sets = {"own": config["data"], **(config["test_sets"] or {})}
    for label, change in (config["test_changes"] or {}).items():
        sizes = sorted({image_size(sets[name]) for name in changed_sets(change)})
        required += [(check_change, {"label": label, "change": change, "size": size}) for size in sizes]
    if config.get("metrics"):
        required.append((_check_user_metrics, {"metrics": config["metrics"]}))
    return required


def _check_weights(section: Mapping[str, Any], root: Path | None) -> None:
    _network(section, max(64, options_of(section).least_input()), root)


def _network(section: Mapping[str, Any], size: int, root: Path | None) -> nn.Module:
    """The network of a resolved `model` section, with pretrained weights from the data root if it asks for them."""
    module, options = registry.find("detector", section["name"]).load(), options_of(section)
    network: nn.Module = module.build(options, size)
    if options.pretrained():
        module.load_pretrained(network, options, root)
    return network


# --- training ---------------------------------------------------------------------------------------------------------


def train(
    learner: DetectLearner, config: Mapping[str, Any], data: DetectDataset, epoch: int
) -> Iterator[tuple[int, Terms]]:
    """Train for one epoch, in an order drawn from (seed, epoch).

    A last batch of one image is skipped, because batch normalisation needs two.
    """
    learner.network.train()
    if learner.optimiser is not None:
        optimisers.scale_rate(learner.optimiser, optimisers.decay(config.get("schedule"), epoch, config["epochs"]))
    n = len(data.train)
    order = torch.randperm(n, generator=generator(config["seed"], "order", epoch)).to(data.device)
    flips = _flips(config, n, epoch)
    flips = None if flips is None else (flips[0].to(data.device), flips[1].to(data.device))
    draws = window_draws(data.train, config["seed"], "windows", epoch)
    with_masks = any(TERMS[name][0].startswith("mask") for name in learner.weights_of_losses)
    for index in torch.split(order, config["batch"]):
        if len(index) > 1:
            mine = learner.workers.part(index)
            image_b3hw, truth = batch(data.train, mine, data, with_masks, draws)
            if flips is not None:
                across_b, down_b = (which_n[mine] for which_n in flips)
                image_b3hw, truth = mirrored(image_b3hw, across_b, down_b), truth.mirrored(across_b, down_b)
            yield len(index), as_sums(learner.step(image_b3hw, truth, len(index)), learner.workers.place(len(index)))
    learner.workers.sync_buffers(learner.network)


def batch(
    part: LabelledImages, index: Tensor, data: DetectDataset, with_masks: bool, draw_n3: Tensor | None = None
) -> tuple[Tensor, Targets]:
    """image_b3hw in [0, 1], with their labels, boxes and masks. draw_n3: of windows of photographs."""
    at = index.to(data.device)
    if draw_n3 is not None:
        part, at = windows(part, index, draw_n3, data.side), torch.arange(len(at), device=data.device)
    image_b3hw = part.image_n3hw[at].to(torch.float32, memory_format=LAYOUT).div_(255)
    mask = None
    if with_masks:
        mask = part.mask_n1hw[at].float()
        mask = F.interpolate(mask, (data.side, data.side), mode="nearest-exact") if len(at) else mask
    return image_b3hw, Targets(part.label_n[at], part.box_n4[at], mask)


def _flips(config: Mapping[str, Any], n: int, epoch: int) -> tuple[Tensor, Tensor] | None:
    """Images to flip left-right, and images to flip top-bottom: a function of (seed, epoch, image index)."""
    section = config["data"]["augment"]
    if section is None:
        return None
    across, down = torch.rand(n, 2, generator=generator(config["seed"], "augment", epoch)).unbind(1)
    return across < (section["flip"] or 0), down < (section["flip_vertical"] or 0)


# --- scoring ----------------------------------------------------------------------------------------------------------


def evaluate(learner: DetectLearner, data: DetectDataset, split: str) -> dict[str, float]:
    """Metrics of a split; for the test split also on other sets and under perturbations, as `<metric>_on_<label>`."""
    if split == "val":
        predicted = _predict_split(learner, data.val)
        labelled = predicted.labelled
        learner.threshold = detection_metrics.best_threshold(labelled.logit_n, labelled.label_n)
        learner.validated = True
        chosen = {} if learner.threshold is None else {"threshold": _as_probability(learner.threshold)}
        return {**detection_metrics.scores(labelled), **chosen, **_user_scores(learner, predicted, data.val)}
    if not learner.validated:
        evaluate(learner, data, "val")
    own = _predict_split(learner, data.test)
    learner.tested = {image_scores.OWN: own}
    values = detection_metrics.scores(own.labelled, learner.threshold, shares=True)
    values |= _user_scores(learner, own, data.test)
    for label, part in _others(data):
        predicted = learner.tested[label] = _predict_split(learner, part)
        scored = detection_metrics.scores(predicted.labelled, learner.threshold)
        scored |= _user_scores(learner, predicted, part)
        values |= {f"{name}_on_{label}": value for name, value in scored.items() if name != "threshold"}
    return values


def _user_scores(learner: DetectLearner, predicted: SplitPredictions, part: LabelledImages) -> dict[str, float]:
    """Users' metrics of a split, of which every worker has all predictions.

    Metrics of the box are left out for a detector that gives none.
    """
    if not learner.user_metrics or not predicted.labelled.finite:
        return {}
    inputs = {
        "probability": torch.from_numpy(predicted.labelled.logit_n).sigmoid(),
        "label": torch.from_numpy(predicted.labelled.label_n).double(),
        "true_box": part.box_n4.double().cpu(),
    }
    if predicted.box_n4 is not None:
        inputs["box"] = torch.from_numpy(predicted.box_n4)
    return _user_values(learner.user_metrics, inputs)


def _user_values(metrics: tuple[UserMetric, ...], inputs: Mapping[str, Tensor]) -> dict[str, float]:
    meter = UserMeter(tuple(metric for metric in metrics if set(metric.inputs) <= set(inputs)))
    meter.update(inputs, torch.ones(len(inputs["label"]), dtype=torch.bool))
    return meter.compute(Workers(), torch.device("cpu"))


def _check_user_metrics(config: Mapping[str, Any], root: Path | None) -> None:  # noqa: ARG001 - as every check
    """Raise TrialError if a user's metric does not give a finite number for each of four made-up predictions."""
    box_n4 = torch.tensor([[0.1, 0.2, 0.5, 0.6], [0.0, 0.0, 1.0, 1.0]]).double().repeat(2, 1)
    label_n = torch.tensor([0.0, 1.0, 1.0, 0.0]).double()
    inputs = {"label": label_n, "probability": (label_n + 0.25) / 2, "box": box_n4 / 2, "true_box": box_n4}
    _user_values(of_config("detection_metric", config), inputs)


def _as_probability(logit: float) -> float:
    return float(torch.tensor(logit, dtype=torch.float64).sigmoid())


def _others(data: DetectDataset) -> Iterator[tuple[str, LabelledImages]]:
    yield from data.others.items()
    yield from data.changed_tests()


def _predict_split(learner: DetectLearner, part: LabelledImages) -> SplitPredictions:
    learner.network.eval()
    if isinstance(part, NativeImages):
        return photographs.predict_photographs(learner.predict, part, learner.workers)
    return predict_split(learner.predict, part, learner.workers)


def check_extra(data: DetectDataset, names: Sequence[str]) -> None:  # noqa: ARG001 - part of the task interface
    """Raise TrialError for a metric that is none of `extra_metrics.NAMES`, such as one of fills."""
    for name in names:
        if name not in extra_metrics.NAMES:
            raise TrialError(
                f"report.extra: {name}",
                "it scores filled images, and task detect does not fill images",
                ", ".join(extra_metrics.NAMES),
                "remove it from `report.extra`",
                "report.extra",
            )


def extra(learner: DetectLearner, data: DetectDataset, names: Sequence[str]) -> dict[str, float]:
    """Metrics of the last evaluation of the test images, and as `<metric>_on_<label>` of each further test set."""
    learner.network.eval()
    if not learner.tested:  # the trial goes on after its last checkpoint, whose records are complete
        evaluate(learner, data, "test")
    parts = {image_scores.OWN: data.test, **dict(_others(data))}
    values: dict[str, float] = {}
    for label, part in parts.items():
        learner.extra[label] = extra_metrics.of_pixels(learner.predict, part, names)
        found = extra_metrics.of_labels(learner.tested[label].labelled, learner.threshold, names)
        found |= extra_metrics.means(learner.extra[label])
        values |= {name if label == image_scores.OWN else f"{name}_on_{label}": value for name, value in found.items()}
    return values


def samples(learner: DetectLearner, data: DetectDataset) -> dict[str, bytes]:
    """Pictures of the first test images: true boxes; also predicted boxes and the probability; heat maps of masks."""
    learner.network.eval()
    return output_files.pictures(learner.predict, data.test, torch.arange(min(output_files.SAMPLES, len(data.test))))


def facts(learner: DetectLearner, data: DetectDataset) -> dict[str, Any]:  # noqa: ARG001 - part of the task interface
    """No further facts."""
    return {}


def final_files(learner: DetectLearner, data: DetectDataset) -> dict[str, bytes]:
    """Predictions for each image of each test set, `outputs.npz` for task `stack`, and pictures of the worst images."""
    learner.network.eval()
    parts = {name: part for name in ("val", "test", "held") if (part := data.split(name)) is not None}
    files = {output_files.OUTPUTS: output_files.outputs(learner.predict, parts)}
    own = learner.tested[image_scores.OWN]
    files[output_files.PER_IMAGE] = output_files.per_image(own, data.test)
    files[image_scores.FILE] = image_scores.pack(
        learner.tested, image_scores.parts(data), learner.threshold, learner.extra
    )
    worst = output_files.worst(own)
    strips = output_files.pictures(learner.predict, data.test, worst) if len(worst) else {}
    return files | {f"worst-{name}": png for name, png in strips.items()}
