"""A text encoder and an image encoder that learn which caption belongs to which image.

Source: Xu et al. 2018, "AttnGAN" (DAMSM), with a small image encoder that is trained too where they have Inception;
MODELS.md sections 2.1 and 10. The published loss is {sentence: 1, word: 1}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from trainables.config.model_sections import ModelConfig
from trainables.match.image_reader import ImageReader
from trainables.match.matching_losses import Read
from trainables.match.text_encoder import TextEncoder, Vocabulary


class Config(ModelConfig):
    """Options of both encoders."""

    task: ClassVar[str] = "match"
    terms: ClassVar[tuple[str, ...]] = ("sentence", "word")
    takes_text: ClassVar[bool] = True

    width: int = Field(64, ge=2, description="channels of the image encoder's first layer; the widest have 4 times so")
    features: int = Field(256, ge=2, multiple_of=2, description="numbers that a word, a place, an image are read as")
    embedding: int = Field(300, ge=1, description="numbers that a word is looked up as")
    recurrent: Literal["lstm", "gru"] = Field("lstm", description="what reads captions, in both directions")


class TextImage(nn.Module):
    """Both encoders."""

    def __init__(self, config: Config, size: int) -> None:
        super().__init__()
        self.text = TextEncoder(config.features, config.embedding, config.recurrent)
        self.reader = ImageReader(size, config.features, config.width)

    def know(self, vocabulary: Vocabulary) -> None:
        """Take the words of another vocabulary, none of which it has learned."""
        self.text.know(vocabulary)

    def tokens(self, captions: Sequence[str]) -> Tensor:
        """tokens_bt of captions in its own vocabulary."""
        return self.text.vocabulary.tokens(captions).to(self.text.packed.device)

    def forward(self, image_b3hw: Tensor, tokens_bt: Tensor) -> tuple[Tensor, Tensor, Read]:
        """places_bcl and whole_bc of images in [0, 1], and what is read of the captions."""
        places_bcl, whole_bc = self.reader(image_b3hw * 2 - 1)
        return places_bcl, whole_bc, Read(tokens_bt, *self.text(tokens_bt))


def build(config: Config, size: int) -> nn.Module:
    """Both encoders for images of size x size px, of any size of at least 8."""
    return TextImage(config, size)
