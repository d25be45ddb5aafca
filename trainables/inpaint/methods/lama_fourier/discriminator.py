"""The PatchGAN of pix2pixHD: 4x4 convolutions to a map of scores, one for each patch of the image.

Source: Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", in the form
of LaMa's code; MODELS.md sections 7 and 10.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class NLayerDiscriminator(nn.Module):
    """`halvings` layers of stride 2, one of stride 1, and a layer of scores; the mask is not an input.

    Leaky ReLU, and batch normalisation in all layers but the first. With four halvings the receptive field of a score
    is 142x142 px, and there are 6.96 M parameters at width 64.
    """

    def __init__(self, halvings: int, width: int) -> None:
        super().__init__()
        channels = [width * min(2**level, 8) for level in range(halvings + 1)]
        first = nn.Sequential(nn.Conv2d(3, width, 4, stride=2, padding=2), nn.LeakyReLU(0.2))
        self.layers = nn.ModuleList([first])
        for level, (inputs, outputs) in enumerate(pairwise(channels), 1):
            conv = nn.Conv2d(inputs, outputs, 4, stride=2 if level < halvings else 1, padding=2)
            self.layers.append(nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)))
        self.layers.append(nn.Conv2d(channels[-1], 1, 4, padding=2))

    def forward(self, image_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """Logits b1hw of images in [0, 1]."""
        return self.maps(image_b3hw, mask_b1hw)[-1]

    def maps(self, image_b3hw: Tensor, mask_b1hw: Tensor) -> list[Tensor]:
        """The outputs of all layers; the last one holds the logits."""
        maps = [image_b3hw]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        return maps[1:]
