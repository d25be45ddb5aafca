"""The two networks of DeepFill v2 and their training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.inpaint.adversarial import HINGE, Objective
from trainables.inpaint.method import GAN, Batch, Calls, LossTerm, Method, Setup, TrainingOutput
from trainables.inpaint.methods.deepfill.config import Config
from trainables.inpaint.methods.deepfill.contextual_attention import contextual_attention
from trainables.inpaint.methods.deepfill.discriminator import SNPatchGAN
from trainables.inpaint.methods.deepfill.gated import GatedLayer, GatedStack, Kind
from trainables.inpaint.predicted_region import PredictedRegion
from trainables.training.precision import full

HALVINGS = 2
"""Number of stride-2 layers before the dilated layers; these and the attention work on a quarter of the side."""


class CoarseNetwork(nn.Module):
    """The coarse network."""

    def __init__(self, kind: Kind, width: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = GatedStack(
            [
                GatedLayer(kind, 5, width, 5),
                GatedLayer(kind, width, 2 * width, stride=2),
                GatedLayer(kind, 2 * width, 2 * width),
                GatedLayer(kind, 2 * width, 4 * width, stride=2),
                *_chain(kind, 4 * width, [1, 1, *dilations, 1, 1]),
                *_up(kind, width),
            ]
        )
        self.last = nn.Conv2d(width // 2, 3, 3, padding=1)

    def forward(self, seen_b5hw: Tensor, valid_b1hw: Tensor) -> Tensor:
        """image_b3hw in [-1, 1]."""
        return torch.tanh(self.last(self.layers(seen_b5hw, valid_b1hw)[0]))


class RefinementNetwork(nn.Module):
    """The fine network: a branch of dilated layers, a branch with contextual attention, and a joint decoder."""

    def __init__(self, config: Config, size: int) -> None:
        super().__init__()
        kind, width = config.convolution, config.width
        self.rate = config.rate_at(size) if config.attention else None

        def down(third: int) -> list[GatedLayer]:
            return [
                GatedLayer(kind, 3, width, 5),
                GatedLayer(kind, width, width, stride=2),
                GatedLayer(kind, width, 2 * width),
                GatedLayer(kind, 2 * width, third, stride=2),
                GatedLayer(kind, third, 4 * width),
            ]

        self.far = GatedStack([*down(2 * width), *_chain(kind, 4 * width, [1, *config.dilations_at(size)])])
        self.near = GatedStack([*down(4 * width), GatedLayer(kind, 4 * width, 4 * width, activation=F.relu)])
        self.copied = GatedStack(_chain(kind, 4 * width, [1, 1]))
        self.joined = GatedStack(
            [GatedLayer(kind, 8 * width, 4 * width), GatedLayer(kind, 4 * width, 4 * width), *_up(kind, width)]
        )
        self.last = nn.Conv2d(width // 2, 3, 3, padding=1)

    def forward(self, pasted_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw in [-1, 1]. mask_b1hw: region from which the attention does not copy; the layers do not use it."""
        everything_b1hw = torch.ones_like(mask_b1hw)
        far_bchw, valid_b1hw = self.far(pasted_b3hw, everything_b1hw)
        near_bchw, _ = self.near(pasted_b3hw, everything_b1hw)
        if self.rate is not None:
            step = 2**HALVINGS
            near_bchw = contextual_attention(near_bchw, mask_b1hw[..., ::step, ::step], self.rate)
        copied_bchw, _ = self.copied(near_bchw, valid_b1hw)
        image_bchw, _ = self.joined(torch.cat([far_bchw, copied_bchw], 1), valid_b1hw)
        return torch.tanh(self.last(image_bchw))


class DeepFill(nn.Module):
    """The coarse and the fine network, or only the coarse one."""

    def __init__(self, config: Config, size: int) -> None:
        super().__init__()
        self.coarse = CoarseNetwork(config.convolution, config.width, config.dilations_at(size))
        self.fine = RefinementNetwork(config, size) if config.stages == 2 else None

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw in [0, 1]; the known pixels are predicted too."""
        return self.outputs(damaged_b3hw, mask_b1hw)[-1] * 0.5 + 0.5

    def outputs(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> list[Tensor]:
        """The output of each network, image_b3hw in [-1, 1]; the last one is the output of the model."""
        known_b3hw = (damaged_b3hw * 2 - 1) * (1 - mask_b1hw)
        seen_b5hw = torch.cat([known_b3hw, torch.ones_like(mask_b1hw), mask_b1hw], 1)
        coarse_b3hw: Tensor = self.coarse(seen_b5hw, 1 - mask_b1hw)
        if self.fine is None:
            return [coarse_b3hw]
        return [coarse_b3hw, self.fine(known_b3hw + coarse_b3hw * mask_b1hw, mask_b1hw)]


def _chain(kind: Kind, width: int, dilations: list[int]) -> list[GatedLayer]:
    """Layers of equal width, one for each dilation."""
    return [GatedLayer(kind, width, width, dilation=dilation) for dilation in dilations]


def _up(kind: Kind, width: int) -> list[GatedLayer]:
    """Layers that upsample from a quarter of the side to the full side."""
    return [
        GatedLayer(kind, 4 * width, 2 * width, doubled=True),
        GatedLayer(kind, 2 * width, 2 * width),
        GatedLayer(kind, 2 * width, width, doubled=True),
        GatedLayer(kind, width, width // 2),
    ]


def build(config: Config, size: int) -> nn.Module:
    """Build the network for images of size x size px. Raises TrialError like `Config.check_size`."""
    config.check_size(size)
    return DeepFill(config, size)


def build_discriminator(config: Config, size: int, term: str) -> nn.Module:  # noqa: ARG001 - there is only one term
    """Build the discriminator; its first layer has 64 channels at the default width of 24."""
    return SNPatchGAN(size, config.width * 8 // 3)


class DeepFillGAN(GAN):
    """Both networks with a discriminator that sees the composite."""

    def compared_region(self) -> PredictedRegion:
        return PredictedRegion(value_range=(-1.0, 1.0))

    def training_module(self) -> nn.Module:
        return Calls(self.network, "outputs")

    def predict(self, batch: Batch) -> TrainingOutput:
        """The last output, and `l1_coarse`, the mean absolute error of the coarse network's output in [-1, 1]."""
        with self.precision.cast():
            outputs = self.trained(batch.damaged_b3hw, batch.mask_b1hw)
            image_b3hw = outputs[-1] * 0.5 + 0.5
        terms: dict[str, LossTerm] = {}
        if "l1_coarse" in self.weights:
            terms["l1_coarse"] = (full(outputs[0]) - (batch.image_b3hw * 2 - 1)).abs().mean()
        return TrainingOutput(full(image_b3hw), terms)

    def build_discriminator(self, term: str) -> nn.Module:
        return build_discriminator(self.options, self.setup.size, term)

    def objective(self, term: str) -> Objective:
        return Objective(HINGE)

    def discriminator_input(self, prediction: TrainingOutput, batch: Batch) -> Tensor:
        return batch.image_b3hw * (1 - batch.mask_b1hw) + prediction.image_b3hw * batch.mask_b1hw


def method(setup: Setup) -> Method:
    return DeepFillGAN(setup)
