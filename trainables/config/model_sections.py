"""What the `Config` of a model inherits from, by task; imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from trainables.config.sections import TRIAL, Strict
from trainables.errors import TrialError


class TrainedTextConfig(Strict):
    """Where a network's text encoder, and the image encoder that captions are matched with, come from."""

    trial: str = Field(pattern=TRIAL, description="id of a finished trial of task match, whose words come along")
    frozen: bool = Field(True, description="false: both go on learning")


class ModelConfig(Strict):
    """Base of every model's `Config`. A class variable `trains = False` marks a model without parameters."""

    task: ClassVar[str] = "inpaint"
    trains: ClassVar[bool] = True
    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """Range in which the model's losses are computed."""
    adversarial: ClassVar[tuple[str, ...]] = ()
    """Loss terms that the model's discriminators give, one each: `build_discriminator` makes the one of a term."""
    adversarial_loss: ClassVar[Literal["logistic", "hinge", "least_squares"]] = "logistic"
    """Which loss those terms are, of the network and of the discriminators: `trainables.inpaint.adversarial.LOSSES`."""
    matched: ClassVar[tuple[str, ...]] = ()
    """Those of them that are another thing for the network: how far its images' scores are from those of real ones."""
    judged: ClassVar[Literal["output", "composite"]] = "output"
    """What the discriminators see: what the network returns, or that in the holes and the image around them."""
    masked_target: ClassVar[bool] = False
    """Whether they shall call that generated in its holes alone, and real around them; their logits are maps then."""
    discriminator_terms: ClassVar[tuple[str, ...]] = ()
    """Further loss terms of the discriminators, of `trainables.inpaint.adversarial.FURTHER`, beside an adversarial one.

    `feature_matching` needs `maps(image_b3hw, mask_b1hw)` of a discriminator: its features, the logits last.
    """
    terms: ClassVar[tuple[str, ...]] = ()
    """Loss terms that the network itself gives, by `learn(damaged_b3hw, mask_b1hw, image_b3hw) -> (image_b3hw, terms)`.

    The terms are scalars by name, each a mean over the images. `learn` is called in place of `forward` where one of
    them has a weight. After its b images it may give as many others: the discriminators learn from the last b, and the
    network learns to deceive them with all. A network that draws, or compares the images of a batch, has `part`, which
    several workers set in training: see `trainables.training.distributed.Part`. Text is then that of the whole batch.
    """
    takes_text: ClassVar[bool] = False
    """Whether `forward` and `learn` take tokens_bt of captions as their last argument, and the network has

    `know(vocabulary)` and `tokens(captions) -> tokens_bt`: see `trainables.match.text_encoder`. Without it, captions
    are empty.
    """
    samples: ClassVar[bool] = False
    """Whether `forward` takes `generator=`, on the CPU, and then draws one of several images."""
    splits: ClassVar[tuple[str, ...]] = ("val", "test")
    """The splits that it can be scored on; a model that reads what others made may have the test images alone."""

    def check(self, mask: Mapping[str, Any], size: int) -> None:
        """Raise TrialError where it cannot fill the holes of a resolved `mask` section in images of `size` px."""

    def reads_as(self) -> Mapping[str, Any]:
        """For a `text_encoder`: the options of `text_image` with which its own encoders were made."""
        return {}


class RegionConfig(ModelConfig):
    """Base `Config` of the context encoders, which predict the centre of an image or all of it, in [-1, 1]."""

    value_range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    adversarial: ClassVar[tuple[str, ...]] = ("adversarial",)

    predicts: Literal["image", "centre"] = Field(
        "image", description="what the network predicts: the image, or its central square of half the side"
    )
    discriminator: Literal["image", "centre"] | None = Field(
        None, description="what the discriminator sees; null for what the network predicts"
    )
    known_weight: float | None = Field(
        None, gt=0, description="weight in l1 and l2 of the known pixels among the predicted; null: centre 10, image 1"
    )

    def check(self, mask: Mapping[str, Any], size: int) -> None:
        """The centre form fills centred holes of at most half the side; see the base."""
        if self.predicts == "image":
            return
        if mask["name"] != "centre" or round(size * math.sqrt(mask["fraction"])) > size // 2:
            raise TrialError(
                f"model.predicts: 'centre' with mask: {mask['name']}",
                f"it predicts the central {size // 2} px and would leave holes elsewhere",
                "predicts: centre with mask: {name: centre, fraction: at most 0.25}, predicts: image with any mask",
                "set `model.predicts: image`, or change `mask`",
                "model.predicts",
            )


class DetectorConfig(ModelConfig):
    """Base `Config` of the networks of task `detect`."""

    task: ClassVar[str] = "detect"

    def least_input(self) -> int:
        """Side of the smallest images that it can see, px."""
        return 8

    def gives(self) -> tuple[str, ...]:
        """What it learns to say, of `logit`, `box` and `mask`."""
        return ("logit",)


class StackConfig(ModelConfig):
    """Base `Config` of the ensembles of task `stack`."""

    task: ClassVar[str] = "stack"
    inputs: ClassVar[tuple[str, ...]] = ("logits", "features")
    """What of the detectors it can work on."""
