"""The sections of a configuration as strict classes, and what the `Config` of a model may use; imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


class Strict(BaseModel):
    """Base of every configuration: unknown keys and wrong types are errors, values never change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _ascending(pair: list[Any]) -> list[Any]:
    if pair[0] > pair[1]:
        raise ValueError(f"the first number is above the second ({pair[0]} > {pair[1]})")
    return pair


IntRange = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2), AfterValidator(_ascending)]
"""[lowest, highest], both drawn with equal chance."""
FractionRange = Annotated[
    list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=2, max_length=2), AfterValidator(_ascending)
]
"""[lowest, highest] share of the image, both within (0, 1)."""
PositiveRange = Annotated[
    list[Annotated[float, Field(gt=0, le=16)]], Field(min_length=2, max_length=2), AfterValidator(_ascending)
]
"""[lowest, highest] factor."""
NotNegativeRange = Annotated[
    list[Annotated[float, Field(ge=0, le=64)]], Field(min_length=2, max_length=2), AfterValidator(_ascending)
]
"""[lowest, highest] px."""
TRIAL = r"^[0-9a-z-]+$"
"""A trial's id; `pending-...` while the sweep that will say which has not run."""
Phase = Literal["completion", "discriminators", "both"]
"""Who of a GAN learns in an epoch."""


@dataclass(frozen=True)
class Needs:
    """What a trial reads that others made: the resolved blocks of forged sets by their ids, and ids of trials.

    trials: those whose recorded outputs it reads. networks: those whose trained networks it uses.
    """

    forged: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trials: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


class SourceConfig(Strict):
    """Where images come from."""

    name: str
    path: str | None = Field(None, description="folder: where it lies below the data root")
    split: str | None = Field(None, description="folder: CSV file below the data root, columns `file` and `split`")
    crops: int | None = Field(
        None, ge=1, description="folder: so many squares of each file, of any size and place; null for its centre"
    )
    val_from_test: int | None = Field(
        None,
        ge=1,
        lt=10_000,
        description="cifar: so many test images validate and all training images train; null: 5,000 of those validate",
    )

    @model_validator(mode="after")
    def _options_fit_the_name(self) -> SourceConfig:
        if (self.name == "folder") != (self.path is not None):
            raise ValueError("`path` goes with `name: folder`, and only with it")
        for option in ("split", "crops"):
            if getattr(self, option) is not None and self.name != "folder":
                raise ValueError(f"`{option}` goes with `name: folder`")
        if self.val_from_test is not None and not self.name.startswith("cifar"):
            raise ValueError("`val_from_test` goes with cifar10 and cifar100; a folder has `split`")
        return self


class PartConfig(SourceConfig):
    name: Literal["own", "cifar10", "cifar100", "places365_val", "cub200", "oxford_pets", "folder"] = Field(
        description="a data set; `own`: the one tested on"
    )


class AugmentConfig(Strict):
    """How training images are changed before holes are cut into them; drawn anew for every image and epoch."""

    rotation_deg: float | None = Field(None, gt=0, le=180, description="turned by up to so many degrees either way")
    zoom: PositiveRange | None = Field(None, description="enlarged by a factor in [lowest, highest], about the centre")
    blur_sigma: NotNegativeRange | None = Field(
        None, description="blurred by a Gaussian, standard deviation in [lowest, highest] px"
    )
    flip: float | None = Field(None, gt=0, le=1, description="mirrored left to right with this probability")


class SaidConfig(Strict):
    """What is said of each image, to models that take text: `trainables/data/captions.py`."""

    template: str | None = Field(
        None, min_length=1, description="the caption of every image, with {class} (or {breed}) for what it shows"
    )
    file: str | None = Field(
        None, min_length=1, description="text file below the data root: image name, tab, caption; several an image"
    )
    folder: str | None = Field(
        None, min_length=1, description="folder below the data root: <image name>.txt for each, a caption a line"
    )

    @model_validator(mode="after")
    def _one_source(self) -> SaidConfig:
        if sum(given is not None for given in (self.template, self.file, self.folder)) != 1:
            raise ValueError("captions come from one of `template`, `file` and `folder`")
        if self.template is not None and not re.fullmatch(r"[^{}]*\{(class|breed)\}[^{}]*", self.template):
            raise ValueError(f"the template {self.template!r} does not have one {{class}}, or one {{breed}}, in it")
        return self


class CaptionsConfig(SaidConfig):
    """The same, or the wrong thing."""

    text: Literal["right", "shuffled", "none"] = Field(
        "right", description="shuffled: each image gets the captions of another one; none: empty captions"
    )


class SizedConfig(SourceConfig):
    """Images of one size, and how many of each split."""

    name: Literal["cifar10", "cifar100", "places365_val", "cub200", "oxford_pets", "folder"] = Field(
        description="which data set; `folder` is any folder of images"
    )
    size: int = Field(32, ge=8, le=1024, description="side of the square images, px")
    train: int | None = Field(None, ge=2, description="how many training images; null for all")
    val: int | None = Field(None, ge=1, description="how many validation images; null for all")
    test: int | None = Field(None, ge=1, description="how many test images; null for all")


class DataConfig(SizedConfig):
    train_on: list[PartConfig] | None = Field(
        None, min_length=1, description="data sets that train in equal shares, instead of the one tested on"
    )
    augment: AugmentConfig | None = Field(None, description="changes of the training images; null for none")
    captions: CaptionsConfig | None = Field(None, description="what is said of the images; null for nothing")


class FeaturesConfig(Strict):
    """The trained classifier whose feature maps `perceptual` and `style` compare."""

    name: Literal["vgg16", "squeezenet1_0"] = Field("vgg16", description="which network")
    weights: str | None = Field(
        None, min_length=1, description="file of its weights below the data root; null: torchvision's, downloaded"
    )


class AdamConfig(Strict):
    name: Literal["adam"] = "adam"
    lr: float = Field(1e-3, gt=0, description="learning rate")
    betas: list[Annotated[float, Field(ge=0, lt=1)]] = Field([0.9, 0.999], min_length=2, max_length=2)
    weight_decay: float = Field(0.0, ge=0)


class SGDConfig(Strict):
    name: Literal["sgd"] = "sgd"
    lr: float = Field(1e-2, gt=0, description="learning rate")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)


class StepConfig(Strict):
    name: Literal["step"] = "step"
    every: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] = Field(
        0.25, description="epochs between two steps; below 1, their share of all epochs"
    )
    gamma: float = Field(0.5, gt=0, lt=1, description="what the learning rates are multiplied with at each step")


class NoScheduleConfig(Strict):
    name: Literal["none"] = "none"


class PhasesConfig(Strict):
    """Who of a GAN learns when, in whole epochs: the network alone, its discriminators alone, both to the end.

    The defaults are the iterations of Iizuka et al. 2017: 90,000, 10,000 and 400,000.
    """

    completion: float = Field(0.18, gt=0, lt=1, description="share of the epochs without the discriminators")
    discriminators: float = Field(0.02, gt=0, lt=1, description="share of the epochs after those without the network")

    def at(self, epoch: int, epochs: int) -> Phase:
        """Who learns in an epoch (1, 2, ...) of so many; each of the first two phases has one epoch at least."""
        alone = max(1, round(self.completion * epochs))
        if epoch <= alone:
            return "completion"
        return "discriminators" if epoch <= alone + max(1, round(self.discriminators * epochs)) else "both"


class BatchConfig(Strict):
    batch: int = Field(ge=2, description="images a step; batch normalisation needs two")


class EpochsConfig(Strict):
    epochs: int = Field(ge=1, description="passes over the training images")


class DrawsConfig(Strict):
    draws: int | None = Field(
        None, ge=2, le=64, description="so many fills of each test image, by a model that draws: spread and best"
    )


class JudgeConfig(Strict):
    """Who says which caption a filled image shows."""

    trial: str = Field(pattern=TRIAL, description="id of a finished trial of task match, on images of the same size")


class PrecisionConfig(Strict):
    precision: Literal["float32", "bf16"] | None = Field(
        None, description="bf16: networks compute in bfloat16 (autocast), losses and weights stay in float32"
    )


class SyncConfig(Strict):
    sync_batch_norm: bool | None = Field(
        None,
        description="false: with several workers, each normalises over its own part of a batch, which is faster and "
        "gives other numbers; else over the whole batch, as one process",
    )


OPTIMISERS: dict[str, type[Strict]] = {"adam": AdamConfig, "sgd": SGDConfig}
SCHEDULES: dict[str, type[Strict]] = {"none": NoScheduleConfig, "step": StepConfig}
