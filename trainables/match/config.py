"""The configuration of task `match`: keys, defaults, and what they require of each other; imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from trainables import registry
from trainables.config import data_paths
from trainables.config.data_paths import DataPath
from trainables.config.sections import StrictConfig
from trainables.config.task_config import TrainingConfig, positive_weights
from trainables.data.section import Data
from trainables.errors import TrialError


class LossConfig(StrictConfig):
    sentence: float = Field(1.0, ge=0, description="weight of the loss that matches whole images with whole captions")
    word: float = Field(1.0, ge=0, description="weight of the loss that matches words with image regions")


class Config(TrainingConfig):
    """The keys of `base`."""

    off: ClassVar[Mapping[str, Any]] = {"schedule": {"name": "none"}}

    data: Data = Field(description="{name: ..., captions: {...}}, see docs/sweep-files.md")
    model: Annotated[dict[str, Any], registry.section("matcher")] = Field(description="{name: ..., options}")
    loss: LossConfig | None = Field(None, description="{sentence: weight, word: weight}; null: 1 for both")

    @classmethod
    def data_paths(cls, resolved: Mapping[str, Any]) -> Iterator[DataPath]:
        return data_paths.of_data(resolved["data"])

    @classmethod
    def complete(cls, resolved: dict[str, Any]) -> dict[str, Any]:
        resolved["loss"] = positive_weights(resolved["loss"] or LossConfig().model_dump(), "sentence")
        if resolved["data"]["captions"] is None or resolved["data"]["captions"]["text"] == "none":
            raise TrialError(
                "task: match with data without captions",
                "the task matches images with captions",
                "captions from a template, a file or a folder",
                'data: {captions: {template: "a photo of a {class}"}}',
                "data.captions",
            )
        return resolved
