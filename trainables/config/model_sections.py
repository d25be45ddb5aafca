"""Base classes for the `Config` of a model, one for each task; imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from trainables.config.sections import TRIAL, StrictConfig
from trainables.errors import TrialError


class TrainedTextConfig(StrictConfig):
    """The trained text encoder, and the image encoder that captions are matched with, that a network starts from."""

    trial: str = Field(
        pattern=TRIAL, description="id of a finished trial of task match; its vocabulary is used as well"
    )
    frozen: bool = Field(True, description="true: both encoders stay as they are; false: both are trained further")


class ModelConfig(StrictConfig):
    """Base of every model's `Config`."""

    task: ClassVar[str] = "inpaint"
    trains: ClassVar[bool] = True
    """Whether the model has parameters to train."""
    adversarial: ClassVar[tuple[str, ...]] = ()
    """Adversarial loss terms; each has its own discriminator."""
    discriminator_terms: ClassVar[tuple[str, ...]] = ()
    """Additional loss terms that need a discriminator, such as `r1` and `feature_matching`."""
    terms: ClassVar[tuple[str, ...]] = ()
    """Loss terms that the method computes itself."""
    takes_text: ClassVar[bool] = False
    """Whether `forward` takes tokens_bt of captions as its third argument.

    The network then has `set_vocabulary(vocabulary)` and `tokens(captions) -> tokens_bt`, see
    `trainables.match.text_encoder`. If the argument is left out, captions are empty.
    """
    samples: ClassVar[bool] = False
    """Whether `forward` takes `generator=` (on the CPU) and then draws one of several possible images."""
    bf16_parity: ClassVar[bool] = False
    """Whether training in bfloat16 was measured to be as good as in float32: `precision: auto` then uses it.

    The study `precision-bf16` measures it for our methods.
    """
    splits: ClassVar[tuple[str, ...]] = ("val", "test")
    """The splits that the model can be scored on; a model that reads stored outputs may have the test split only."""

    def check_size(self, size: int) -> None:
        """Raise TrialError if the model cannot take images of `size` px. Called before the network is built."""

    def check(self, mask: Mapping[str, Any], size: int) -> None:
        """Raise TrialError if the model cannot fill the holes of a resolved `mask` section in images of `size` px."""

    @property
    def centred(self) -> bool:
        """Whether an inpainter fills holes in the central square of half the side only."""
        return False

    def reads_as(self) -> Mapping[str, Any]:
        """For a `text_encoder`: the options of `text_image` that match the model's own encoders."""
        return {}


def check_power_of_two(size: int, why: str, least: int = 8) -> None:
    """Raise TrialError unless the side of the images is a power of two, at least `least` px. why: what halves it."""
    if size < least or size & (size - 1):
        raise TrialError(
            f"data.size: {size}",
            why,
            "a power of two: 8, 16, 32, 64, ...",
            f"size: {max(8, 1 << (size.bit_length() - 1))}",
            "data.size",
        )


class RegionConfig(ModelConfig):
    """Base `Config` of the context encoders, which predict the centre of an image or the whole image, in [-1, 1]."""

    adversarial: ClassVar[tuple[str, ...]] = ("adversarial",)

    predicts: Literal["image", "centre"] = Field(
        "image", description="what the network predicts: the whole image, or its central square of half the side"
    )
    discriminator: Literal["image", "centre"] | None = Field(
        None, description="what the discriminator sees; null: the region that the network predicts"
    )
    known_weight: float | None = Field(
        None,
        gt=0,
        description="weight of predicted pixels outside the hole in l1 and l2; null: 10 for centre, 1 for image",
    )

    @property
    def centred(self) -> bool:
        return self.predicts == "centre"

    def check(self, mask: Mapping[str, Any], size: int) -> None:
        """With `predicts: centre`, only centred holes of at most half the side can be filled."""
        if self.predicts == "image":
            return
        if mask["name"] != "centre" or round(size * math.sqrt(mask["fraction"])) > size // 2:
            raise TrialError(
                f"model.predicts: 'centre' with mask: {mask['name']}",
                f"the network predicts only the central {size // 2} px, and the mask has holes elsewhere",
                "`predicts: centre` with mask: {name: centre, fraction: at most 0.25}; `predicts: image` with any mask",
                "set `model.predicts: image`, or change `mask`",
                "model.predicts",
            )


class DetectorConfig(ModelConfig):
    """Base `Config` of the networks of task `detect`."""

    task: ClassVar[str] = "detect"

    def least_input(self) -> int:
        """Side of the smallest input images, px."""
        return 8

    def pretrained(self) -> bool:
        """Whether training starts from weights that the network's module loads (`load_pretrained`)."""
        return False

    def gives(self) -> tuple[str, ...]:
        """The outputs that the network is trained to predict: of `logit`, `box` and `mask`."""
        return ("logit",)


class StackConfig(ModelConfig):
    """Base `Config` of the ensembles of task `stack`."""

    task: ClassVar[str] = "stack"
    inputs: ClassVar[tuple[str, ...]] = ("logits", "features")
    """The outputs of the detectors that the ensemble can take as input."""
