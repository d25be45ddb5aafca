"""A text encoder and an image encoder, trained to match captions with images.

Source: Xu et al. 2018, "AttnGAN" (DAMSM), with a small jointly trained image encoder instead of Inception; MODELS.md
sections 2.1 and 10. The published loss is {sentence: 1, word: 1}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from trainables.config.model_sections import ModelConfig
from trainables.match.image_reader import ImageReader
from trainables.match.matching_losses import EncodedCaptions
from trainables.match.text_encoder import TextEncoder, Vocabulary


class Config(ModelConfig):
    """Options of both encoders."""

    task: ClassVar[str] = "match"
    terms: ClassVar[tuple[str, ...]] = ("sentence", "word")
    takes_text: ClassVar[bool] = True

    width: int = Field(
        64, ge=2, description="channels of the image encoder's first layer; the widest layers have 4 times as many"
    )
    features: int = Field(256, ge=2, multiple_of=2, description="number of features of a word, a region, an image")
    embedding: int = Field(300, ge=1, description="size of the word embedding")
    recurrent: Literal["lstm", "gru"] = Field("lstm", description="bidirectional recurrent network that reads captions")


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
