"""The text and image encoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from trainables.match.image_reader import ImageReader
from trainables.match.matching_losses import EncodedCaptions
from trainables.match.networks.text_image.config import Config
from trainables.match.text_encoder import TextEncoder, Vocabulary


class TextImage(nn.Module):
    """Text and image encoder."""

    def __init__(self, config: Config, size: int) -> None:
        super().__init__()
        self.text = TextEncoder(config.features, config.embedding, config.recurrent)
        self.reader = ImageReader(size, config.features, config.width)

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Set the vocabulary; its embedding is untrained."""
        self.text.set_vocabulary(vocabulary)

    def tokens(self, captions: Sequence[str]) -> Tensor:
        """tokens_bt of captions in the network's vocabulary."""
        return self.text.vocabulary.tokens(captions).to(self.text.packed.device)

    def forward(self, image_b3hw: Tensor, tokens_bt: Tensor) -> tuple[Tensor, Tensor, EncodedCaptions]:
        """places_bcl and whole_bc of images in [0, 1], and the encoded captions."""
        places_bcl, whole_bc = self.reader(image_b3hw * 2 - 1)
        return places_bcl, whole_bc, EncodedCaptions(tokens_bt, *self.text(tokens_bt))


def build(config: Config, size: int) -> nn.Module:
    """Both encoders for images of size x size px, of any size of at least 8."""
    return TextImage(config, size)
