"""The share of inpainted images as a prediction, and its fit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.detect.detectors.majority.config import Config
from trainables.detect.output import DetectorOutput
from trainables.forgery.forged_images import LabelledImages

MOST = 12.0
"""Largest magnitude of the logit, reached if all training images have one label."""


class Majority(nn.Module):
    """Predicts the logit in its buffer."""

    logit: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("logit", torch.zeros(()))

    def forward(self, image_b3hw: Tensor) -> DetectorOutput:
        """The same logit for every image; if both labels are equally frequent, it means inpainted."""
        return DetectorOutput(self.logit.expand(len(image_b3hw)))


def build(config: Config, size: int) -> nn.Module:  # noqa: ARG001 - common signature of all models
    """The baseline; any size."""
    return Majority()


def learn(network: nn.Module, train: LabelledImages) -> None:
    """Set the logit from the training labels; deterministic."""
    assert isinstance(network, Majority)
    share = train.label_n.double().mean()
    network.logit.copy_((share / (1 - share)).log().clamp(-MOST, MOST))
