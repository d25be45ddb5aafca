"""The baseline that looks at nothing: the share of inpainted images among those that it was shown."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from trainables.config.model_sections import DetectorConfig
from trainables.detect.output import Found
from trainables.forgery.forged_images import Labelled

MOST = 12.0
"""The largest logit, where all training images are of one kind."""


class Config(DetectorConfig):
    """No options."""

    trains: ClassVar[bool] = False


class Majority(nn.Module):
    """One number."""

    logit: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("logit", torch.zeros(()))

    def forward(self, image_b3hw: Tensor) -> Found:
        """The same for every image; of two equally frequent labels, inpainted."""
        return Found(self.logit.expand(len(image_b3hw)))


def build(config: Config, size: int) -> nn.Module:  # noqa: ARG001 - every model is built alike
    """The baseline; any size."""
    return Majority()


def learn(network: nn.Module, train: Labelled) -> None:
    """Count the training images; deterministic."""
    assert isinstance(network, Majority)
    share = train.label_n.double().mean()
    network.logit.copy_((share / (1 - share)).log().clamp(-MOST, MOST))
