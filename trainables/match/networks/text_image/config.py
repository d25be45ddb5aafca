"""Options of the text and image encoder."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trainables.config.model_sections import ModelConfig


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
