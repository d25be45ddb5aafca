"""The image encoder of TDANet."""

from __future__ import annotations

from torch import Tensor, nn

from trainables.inpaint.methods.tdanet.residual_blocks import ResBlock

CODE = 8
"""Side of the latent code, which is also the side of the encoder's last map."""


class TDANetEncoder(nn.Module):
    """Halves the side down to 8x8, with 1, 4, 8, 8, ... times `width` channels."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        halvings = (size // CODE).bit_length() - 1
        sizes = [width, 4 * width, *[8 * width] * (halvings - 2)]
        hidden = [width, width, 4 * width, *[8 * width] * halvings]
        blocks = [ResBlock(3, width, down=True, first=True)]
        blocks += [ResBlock(sizes[i - 1], sizes[i], hidden[i], down=True) for i in range(1, halvings)]
        self.blocks = nn.ModuleList(blocks)
        self.last = ResBlock(sizes[-1], 8 * width, 4 * width) if halvings == 2 else None
        self.channels = sizes

    def forward(self, image_b3hw: Tensor) -> list[Tensor]:
        """The features after each halving; the last map has 8 times `width` channels."""
        features = []
        for block in self.blocks:
            image_b3hw = block(image_b3hw)
            features.append(image_b3hw)
        return [*features[:-1], features[-1] if self.last is None else self.last(features[-1])]
