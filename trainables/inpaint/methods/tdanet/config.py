"""Options of TDANet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from trainables.config.model_sections import ModelConfig, TrainedTextConfig
from trainables.errors import TrialError


class Config(ModelConfig):
    """Options of the network; the discriminators scale with `width`."""

    adversarial: ClassVar[tuple[str, ...]] = ("adversarial", "adversarial_features")
    terms: ClassVar[tuple[str, ...]] = ("l1_scales", "kl", "matching")
    takes_text: ClassVar[bool] = True
    samples: ClassVar[bool] = True

    width: int = Field(
        32, ge=2, description="channels of the first layer; the widest layers and the word features have 8 times this"
    )
    attention: Literal["dual", "single"] = Field(
        "dual", description="words for the known region; dual: the least similar words; single: the most similar"
    )
    recurrent: Literal["lstm", "gru"] = Field("lstm", description="type of the bidirectional text encoder")
    embedding: int = Field(300, ge=1, description="size of the word embeddings")
    text_encoder: TrainedTextConfig | None = Field(
        None, description="{trial: ID, frozen: true}: pre-trained by a trial of task match; null: trained jointly"
    )
    compat: bool = Field(
        False, description="true: swap the words of prior and posterior in training, as in the published code"
    )

    def check_size(self, size: int) -> None:
        """Check that the side of the images is a power of two, at least 32."""
        if size < 32 or size & (size - 1):
            raise TrialError(
                f"data.size: {size}",
                "tdanet halves the image at least twice, down to 8x8",
                "a power of two: 32, 64, 128, ...",
                f"size: {max(32, 1 << (size.bit_length() - 1))}",
                "data.size",
            )

    def reads_as(self) -> Mapping[str, Any]:
        """The encoder sizes that a matching network must have; its features are as wide as the widest layers here."""
        sizes = {"width": 2 * self.width, "features": 8 * self.width, "embedding": self.embedding}
        return {**sizes, "recurrent": self.recurrent}
