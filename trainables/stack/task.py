"""Task `stack`: combine the recorded outputs of trained detectors, without reading the images again.

The ensemble is fitted on images that the detectors were not trained on: the left-out images of each fold or, without
folds, the validation images. Without folds, validation is scored by five-fold cross-validation over photographs, so
that no image is scored by an ensemble fitted on it. Test images are scored by the ensemble fitted on all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold, cross_val_predict
from torch import Tensor

from trainables import registry
from trainables.config.messages import no_fills_error
from trainables.detect import metrics as detection_metrics
from trainables.errors import TrialError
from trainables.stack import dataset as stack_dataset
from trainables.stack.config import trials
from trainables.stack.dataset import StackDataset, StackRows
from trainables.training.loop import derive
from trainables.training.session import Machine
from trainables.training.terms import Terms

BEST = ("val/auc", "max")
PARTS = 5
"""Number of folds of the cross-validation."""
_CLIP = 1e-6
"""Probabilities are clipped to this distance from 0 and 1, so that their logits are finite."""

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


class StackLearner:
    """An ensemble, fitted in the constructor. Checkpoints are empty: resuming fits it again to the same rows."""

    parameters = 0

    def __init__(self, estimator: Any, fresh: Any, data: StackDataset) -> None:
        """Fit `estimator`. fresh: an unfitted copy of it, for cross-validation."""
        self.fresh = fresh
        self.estimator = estimator.fit(data.learn.inputs(data.inputs), data.learn.label_n)
        self.threshold: float | None = None

    def logit(self, rows: StackRows, inputs: str) -> detection_metrics.Floats:
        return _as_logit(self.estimator.predict_proba(rows.inputs(inputs))[:, 1])

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing; see the class."""

    def inference_weights(self) -> dict[str, Tensor]:
        return {}


def _as_logit(probability: Any) -> detection_metrics.Floats:
    p = np.clip(np.asarray(probability, dtype=np.float64), _CLIP, 1 - _CLIP)
    logit: detection_metrics.Floats = np.log(p / (1 - p))
    return logit


def load(config: Mapping[str, Any], machine: Machine) -> StackDataset:
    if machine.workers.size > 1:
        raise TrialError(
            f"resources.workers: {machine.workers.size}",
            "an ensemble is fitted by one process",
            "1",
            "resources.workers: 1",
        )
    return stack_dataset.load(trials(config, config["seed"]), config["data"]["inputs"], machine.outputs)


def build(config: Mapping[str, Any], data: StackDataset, machine: Machine) -> StackLearner:  # noqa: ARG001 - part of the task interface
    code = registry.find("ensemble", config["model"]["name"])
    module, options = code.load(), code.options(config["model"])
    one, other = (module.build(options, derive(config["seed"], "ensemble")) for _ in range(2))
    if data.learn.label_n.all() or not data.learn.label_n.any():
        raise TrialError(
            "data.bases",
            "all images to fit the ensemble on have the same label",
            "detectors of a set with both inpainted and other images",
            "name detectors of another set",
        )
    return StackLearner(one, other, data)


def train(
    learner: StackLearner,
    config: Mapping[str, Any],  # noqa: ARG001 - part of the task interface
    data: StackDataset,
    epoch: int,  # noqa: ARG001
) -> Iterator[tuple[int, Terms]]:
    """Yield the cross-entropy on the training rows; the ensemble is already fitted."""
    probability = detection_metrics.probability(learner.logit(data.learn, data.inputs))
    n = len(data.learn.label_n)
    yield n, {"loss": (torch.tensor(log_loss(data.learn.label_n, probability)).double() * n, n)}


def evaluate(learner: StackLearner, data: StackDataset, split: str) -> dict[str, float]:
    """Metrics of task `detect` that need no box or mask; the threshold is chosen on the validation images."""
    if split == "test" and learner.threshold is None:
        evaluate(learner, data, "val")
    rows = data.val if split == "val" else data.test
    logit = _unseen(learner, data) if split == "val" and not data.folded else learner.logit(rows, data.inputs)
    if split == "val":
        learner.threshold = detection_metrics.best_threshold(logit, rows.label_n)
    nothing = np.full(len(logit), np.nan)
    kind = np.where(rows.label_n, "inpainted", "real")
    judged = detection_metrics.LabelledPredictions(logit, rows.label_n, kind.tolist(), nothing, nothing)
    return detection_metrics.scores(judged, learner.threshold if split == "test" else None)


def _unseen(learner: StackLearner, data: StackDataset) -> detection_metrics.Floats:
    """Logit of each validation image, from an ensemble fitted on other photographs."""
    parts = min(PARTS, len(set(data.val.source.tolist())))
    probability = cross_val_predict(
        learner.fresh,
        data.val.inputs(data.inputs),
        data.val.label_n,
        groups=data.val.source,
        cv=GroupKFold(parts),
        method="predict_proba",
    )
    return _as_logit(probability[:, 1])


def checks(config: Mapping[str, Any]) -> list[Any]:  # noqa: ARG001 - part of the task interface
    """No checks: the inputs are in the store."""
    return []


def check_extra(data: StackDataset, names: Sequence[str]) -> None:  # noqa: ARG001 - part of the task interface
    """Refuse metrics of fills: this task has no fills to score."""
    if names:
        raise no_fills_error("stack", names)


def extra(learner: StackLearner, data: StackDataset, names: Sequence[str]) -> dict[str, float]:  # noqa: ARG001 - see check_extra
    """No further metrics."""
    return {}


def samples(learner: StackLearner, data: StackDataset) -> dict[str, bytes]:  # noqa: ARG001 - part of the task interface
    """No pictures: the ensemble reads no images."""
    return {}


def facts(learner: StackLearner, data: StackDataset) -> dict[str, Any]:  # noqa: ARG001 - part of the task interface
    """No further facts."""
    return {}


def final_files(learner: StackLearner, data: StackDataset) -> dict[str, bytes]:  # noqa: ARG001
    """No files: the inputs are stored with the detectors."""
    return {}
