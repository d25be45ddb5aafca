"""DeepFill v2: a coarse and a fine network of gated convolutions, with contextual attention and SN-PatchGAN.

Source: Yu et al. 2019, "Free-Form Image Inpainting with Gated Convolution", and its code; MODELS.md sections 1.5 and 10
for the smaller forms. 4.05 M parameters at 256 px, 5.95 M in the discriminator.

Unusual: `width` counts what gated layers give, 24; the code's 48 is features and gates together. Two networks: the
first fills the hole roughly, its output goes into the hole, and the second sees those three channels, not the mask. Of
its two branches one copies from outside the hole (`blocks/contextual_attention.py`). The published loss is {l1: 1.0,
l1_coarse: 1.0, adversarial: 1.0}: the errors of both outputs over the whole image in [-1, 1], and the hinge loss of a
discriminator that sees the image with its hole filled. mmagic's reproduction weighs the last one 0.1, and a user of the
code reports that this mends grey coarse outputs. Convolutions of stride 2 pad both sides here, where TensorFlow pads
the right and the bottom more: published weights would need that, learning does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from trainables.config.model_sections import ModelConfig
from trainables.errors import TrialError
from trainables.inpaint.blocks.contextual_attention import contextual_attention
from trainables.inpaint.blocks.gated_convolutions import Kind, Layer, Stack
from trainables.inpaint.blocks.sn_patchgan import SNPatchGAN

HALVINGS = 2
"""Before the layers that see far: they, and the attention, work on a quarter of the side."""


class Config(ModelConfig):
    """Options of the two networks; the discriminator scales with `width`."""

    value_range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    adversarial: ClassVar[tuple[str, ...]] = ("adversarial",)
    adversarial_loss: ClassVar[Literal["logistic", "hinge"]] = "hinge"
    judged: ClassVar[Literal["output", "composite"]] = "composite"
    terms: ClassVar[tuple[str, ...]] = ("l1_coarse",)
    small_forms: ClassVar[Mapping[int, tuple[int, ...]]] = {8: (1,), 16: (2,), 32: (2, 4), 64: (2, 4, 8)}
    """Dilations by the side of the image, px; from 128 px on the published ones."""

    width: int = Field(24, ge=2, description="channels of the first layer; all others, the discriminator's too, scale")
    convolution: Literal["gated", "plain", "partial"] = Field(
        "gated", description="what every layer is; partial: the second network has no holes left to leave out"
    )
    stages: Literal[1, 2] = Field(2, description="1: the coarse network alone; its error is then both l1 and l1_coarse")
    attention: bool = Field(True, description="false: the same branch without the copying, which has no parameters")

    def check(self, mask: Mapping[str, Any], size: int) -> None:
        """Every hole can be filled, in images of a power of two of at least 8 px."""
        if size < 8 or size & (size - 1):
            raise TrialError(
                f"data.size: {size}",
                "deepfill quarters the side, and its discriminator halves the image until 4x4 is left",
                "a power of two: 8, 16, 32, 64, ...",
                f"size: {max(8, 1 << (size.bit_length() - 1))}",
                "data.size",
            )

    def dilations_at(self, size: int) -> tuple[int, ...]:
        """The dilation of each dilated layer in images of `size` px."""
        return self.small_forms.get(size, (2, 4, 8, 16))

    def rate_at(self, size: int) -> int:
        """By how much the attention's map is made smaller to compare places: not at all on 8x8 and below."""
        return 1 if size <= 32 else 2


class Coarse(nn.Module):
    """The first network."""

    def __init__(self, kind: Kind, width: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = Stack(
            [
                Layer(kind, 5, width, 5),
                Layer(kind, width, 2 * width, stride=2),
                Layer(kind, 2 * width, 2 * width),
                Layer(kind, 2 * width, 4 * width, stride=2),
                *_chain(kind, 4 * width, [1, 1, *dilations, 1, 1]),
                *_up(kind, width),
            ]
        )
        self.last = nn.Conv2d(width // 2, 3, 3, padding=1)

    def forward(self, seen_b5hw: Tensor, valid_b1hw: Tensor) -> Tensor:
        """image_b3hw in [-1, 1]."""
        return torch.tanh(self.last(self.layers(seen_b5hw, valid_b1hw)[0]))


class Fine(nn.Module):
    """The second network: a branch that sees far, one that copies, and what makes an image of both."""

    def __init__(self, config: Config, size: int) -> None:
        super().__init__()
        kind, width = config.convolution, config.width
        self.rate = config.rate_at(size) if config.attention else None

        def down(third: int) -> list[Layer]:
            return [
                Layer(kind, 3, width, 5),
                Layer(kind, width, width, stride=2),
                Layer(kind, width, 2 * width),
                Layer(kind, 2 * width, third, stride=2),
                Layer(kind, third, 4 * width),
            ]

        self.far = Stack([*down(2 * width), *_chain(kind, 4 * width, [1, *config.dilations_at(size)])])
        self.near = Stack([*down(4 * width), Layer(kind, 4 * width, 4 * width, activation=F.relu)])
        self.copied = Stack(_chain(kind, 4 * width, [1, 1]))
        self.joined = Stack([Layer(kind, 8 * width, 4 * width), Layer(kind, 4 * width, 4 * width), *_up(kind, width)])
        self.last = nn.Conv2d(width // 2, 3, 3, padding=1)

    def forward(self, pasted_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw in [-1, 1]. mask_b1hw: where not to copy from; for the layers, nothing is missing any more."""
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
    """Both networks, or the coarse one alone."""

    def __init__(self, config: Config, size: int) -> None:
        super().__init__()
        self.coarse = Coarse(config.convolution, config.width, config.dilations_at(size))
        self.fine = Fine(config, size) if config.stages == 2 else None

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw in [0, 1], its known pixels as the last network makes them."""
        return self.outputs(damaged_b3hw, mask_b1hw)[-1] * 0.5 + 0.5

    def learn(self, damaged_b3hw: Tensor, mask_b1hw: Tensor, image_b3hw: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """image_b3hw, and `l1_coarse`: the mean absolute error of the first network's output in [-1, 1]."""
        outputs = self.outputs(damaged_b3hw, mask_b1hw)
        error_b3hw = outputs[0] - (image_b3hw * 2 - 1)
        return outputs[-1] * 0.5 + 0.5, {"l1_coarse": error_b3hw.abs().mean()}

    def outputs(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> list[Tensor]:
        """What each network makes, image_b3hw in [-1, 1]; the last one is the model's."""
        known_b3hw = (damaged_b3hw * 2 - 1) * (1 - mask_b1hw)
        seen_b5hw = torch.cat([known_b3hw, torch.ones_like(mask_b1hw), mask_b1hw], 1)
        coarse_b3hw: Tensor = self.coarse(seen_b5hw, 1 - mask_b1hw)
        if self.fine is None:
            return [coarse_b3hw]
        return [coarse_b3hw, self.fine(known_b3hw + coarse_b3hw * mask_b1hw, mask_b1hw)]


def _chain(kind: Kind, width: int, dilations: list[int]) -> list[Layer]:
    """Layers of one width, one for each dilation."""
    return [Layer(kind, width, width, dilation=dilation) for dilation in dilations]


def _up(kind: Kind, width: int) -> list[Layer]:
    """From a quarter of the side to the whole one."""
    return [
        Layer(kind, 4 * width, 2 * width, doubled=True),
        Layer(kind, 2 * width, 2 * width),
        Layer(kind, 2 * width, width, doubled=True),
        Layer(kind, width, width // 2),
    ]


def build(config: Config, size: int) -> nn.Module:
    """The network for images of size x size px. Raises TrialError as `Config.check` does."""
    config.check({}, size)
    return DeepFill(config, size)


def build_discriminator(config: Config, size: int, term: str) -> nn.Module:  # noqa: ARG001 - there is one term
    """The discriminator: 64 channels first where the network has 24."""
    return SNPatchGAN(size, config.width * 8 // 3)
