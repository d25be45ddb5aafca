"""The small convolutional networks."""

from __future__ import annotations

from torch import Tensor, nn

from trainables.detect.blocks.heads import TrunkWithHead
from trainables.detect.detectors.search_net.config import Config


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
