"""Small convolutional networks for an architecture search; 001_cc5423a036889870 asks for one and gives no details.

`stages` of `depth` convolutions each, with batch normalisation and ReLU; each stage but the first begins with stride 2
and doubles the channels. Global average pooling and a head as in `detector` follow.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from trainables.config.model_sections import DetectorConfig
from trainables.detect.blocks.heads import TrunkWithHead


class Config(DetectorConfig):
    width: int = Field(16, ge=1, le=256, description="channels of the first stage")
    depth: int = Field(2, ge=1, le=8, description="convolutions per stage")
    kernel: Literal[3, 5, 7] = Field(3, description="side of the kernels, px")
    stages: int = Field(3, ge=1, le=6, description="number of stages; each halves the side")
    head: Literal["label", "box", "mask"] = Field(
        "label", description="label; box: label and box; mask: a mask from which both are derived"
    )

    def least_input(self) -> int:
        return max(8, 1 << self.stages)

    def gives(self) -> tuple[str, ...]:
        return {"label": ("logit",), "box": ("logit", "box"), "mask": ("logit", "mask")}[self.head]


class SearchNet(TrunkWithHead):
    """Convolutional network on images scaled to [-1, 1]."""

    def prepared(self, image_b3hw: Tensor) -> Tensor:
        return 2 * image_b3hw - 1


def build(config: Config, size: int) -> nn.Module:
    """The network; any size from `least_input` on."""
    layers: list[nn.Module] = []
    inputs = 3
    for stage in range(config.stages):
        outputs = config.width * 2**stage
        block: list[nn.Module] = []
        for index in range(config.depth):
            stride = 2 if stage and not index else 1
            block += [
                nn.Conv2d(inputs, outputs, config.kernel, stride, config.kernel // 2, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
            inputs = outputs
        layers.append(nn.Sequential(*block))
    trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return SearchNet(trunk, inputs, config.head, size)
