"""The constant box, and its fit to the training boxes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.detect import boxes
from trainables.detect.detectors.constant_box.config import Config
from trainables.detect.output import DetectorOutput
from trainables.forgery.forged_images import LabelledImages

SURE = 12.0
"""Logit predicted for every image."""
MOST = 4096
"""Maximum number of training boxes used."""
FINEST = 1 / 1024
"""Smallest step of the search, as a fraction of the image's side."""


class ConstantBox(nn.Module):
    """Predicts the box in its buffer."""

    box: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("box", torch.tensor([0.25, 0.25, 0.75, 0.75]))

    def forward(self, image_b3hw: Tensor) -> DetectorOutput:
        """The same output for every image."""
        b = len(image_b3hw)
        return DetectorOutput(self.box.new_full((b,), SURE), self.box.expand(b, 4))


def build(config: Config, size: int) -> nn.Module:  # noqa: ARG001 - common signature of all models
    """The baseline; any size."""
    return ConstantBox()


def learn(network: nn.Module, train: LabelledImages) -> None:
    """Search for the box with the highest mean IoU over the training boxes; deterministic."""
    assert isinstance(network, ConstantBox)
    true_n4 = train.box_n4[train.label_n > 0.5][:MOST].cpu()
    if len(true_n4):
        network.box.copy_(best_box(true_n4))


def best_box(true_n4: Tensor) -> Tensor:
    """Box (4,) found by local search with decreasing steps, from the best of centred squares and the median box."""
    sides = torch.arange(1, 20) / 20
    squares_n4 = torch.stack([0.5 - sides / 2, 0.5 - sides / 2, 0.5 + sides / 2, 0.5 + sides / 2], 1)
    best, score = _best_of(torch.cat([squares_n4, true_n4.median(0).values[None]]), true_n4)
    moves = torch.cat([torch.eye(4), -torch.eye(4)])
    moves = torch.cat([moves, _both_corners()])
    step = 1 / 8
    while step >= FINEST:
        candidate, candidate_score = _best_of((best + step * moves).clamp(0, 1), true_n4)
        if candidate_score > score:
            best, score = candidate, candidate_score
        else:
            step /= 2
    return best


def _both_corners() -> Tensor:
    """Moves of the whole box, and moves of opposite sides in opposite directions."""
    pairs = [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, -1, 0], [0, 1, 0, -1], [1, 1, -1, -1]]
    moves = torch.tensor(pairs, dtype=torch.float32)
    return torch.cat([moves, -moves])


def _best_of(candidate_m4: Tensor, true_n4: Tensor) -> tuple[Tensor, float]:
    scores = torch.stack([boxes.iou(c.expand_as(true_n4), true_n4).mean() for c in candidate_m4])
    best = int(scores.argmax())
    return candidate_m4[best], float(scores[best])
