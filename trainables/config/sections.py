"""The sections of a configuration as strict classes, and types for the `Config` of a model; imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from trainables.errors import TrialError


class StrictConfig(BaseModel):
    """Base of every configuration: unknown keys and wrong types are errors, instances are immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _ascending(pair: list[Any]) -> list[Any]:
    if pair[0] > pair[1]:
        raise ValueError(f"the first number is above the second ({pair[0]} > {pair[1]})")
    return pair


IntRange = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2), AfterValidator(_ascending)]
"""[lowest, highest], both inclusive; whole numbers drawn uniformly."""
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
"""The id of a trial, or `pending-...` as long as the sweep that determines it has not run."""
Phase = Literal["completion", "discriminators", "both"]
"""The networks of a GAN that are trained in an epoch; `completion` is the inpainting network."""


@dataclass(frozen=True)
class Needs:
    """Forged sets and trials that a trial needs from the store."""

    forged: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Resolved blocks of forged sets by their ids."""
    trials: tuple[str, ...] = ()
    """Ids of the trials whose recorded outputs are read."""
    networks: tuple[str, ...] = ()
    """Ids of the trials whose trained networks are used."""
    code: tuple[str, ...] = ()
    """Hashes of the user's code that the configuration names."""


class SourceConfig(StrictConfig):
    """Where images come from."""

    name: str = Field(description="name of the data set")
    path: str | None = Field(None, description="folder: the image folder, relative to the data root")
    split: str | None = Field(
        None, description="folder: CSV file with the columns `file` and `split`, relative to the data root"
    )
    crops: int | None = Field(
        None,
        ge=1,
        description="folder: number of square crops of each file, at random sizes and places; null: one centre crop",
    )
    val_from_test: int | None = Field(
        None,
        ge=1,
        lt=10_000,
        description="cifar: number of test images that form the validation split; null: 5,000 training images do",
    )

    @model_validator(mode="after")
    def _options_fit_the_name(self) -> SourceConfig:
        if "#" in self.name:  # the resolved name of a user's data set, which may have any options
            return self
        if (self.name == "folder") != (self.path is not None):
            raise ValueError("`path` is required with `name: folder`, and allowed only there")
        for option in ("split", "crops"):
            if getattr(self, option) is not None and self.name != "folder":
                raise ValueError(f"`{option}` is allowed only with `name: folder`")
        if self.val_from_test is not None and not self.name.startswith("cifar"):
            raise ValueError("`val_from_test` is allowed only with cifar10 and cifar100; use `split` for a folder")
        return self

    @property
    def test_alone(self) -> bool:
        """Whether every image of a folder is tested on; a user's data set may have an option `use` of its own."""
        return self.name == "folder" and getattr(self, "use", None) == "all"


class PartConfig(SourceConfig):
    name: Literal["own", "cifar10", "cifar100", "places365_val", "cub200", "oxford_pets", "folder"] = Field(
        description="name of a data set; `own`: the data set that is tested on"
    )


class AugmentConfig(StrictConfig):
    """Random changes of training images before holes are cut, drawn again for every image and epoch."""

    rotation_deg: float | None = Field(
        None, gt=0, le=180, description="largest rotation in either direction, degrees; null: no rotation"
    )
    zoom: PositiveRange | None = Field(
        None, description="[lowest, highest] scale factor about the centre; null: no zoom"
    )
    blur_sigma: NotNegativeRange | None = Field(
        None, description="[lowest, highest] standard deviation of a Gaussian blur, px; null: no blur"
    )
    flip: float | None = Field(None, gt=0, le=1, description="probability of a left-right flip; null: no flip")


class CaptionSourceConfig(StrictConfig):
    """Where captions come from, for models that take text; see `trainables/data/captions.py`."""

    template: str | None = Field(
        None,
        min_length=1,
        description="caption of every image; {class} (or {breed}) stands for the name of the image's class",
    )
    file: str | None = Field(
        None,
        min_length=1,
        description="text file relative to the data root, one line (image name, tab, caption) for each caption",
    )
    folder: str | None = Field(
        None,
        min_length=1,
        description="folder relative to the data root with <image name>.txt for each image, one caption per line",
    )

    @model_validator(mode="after")
    def _one_source(self) -> CaptionSourceConfig:
        if sum(given is not None for given in (self.template, self.file, self.folder)) != 1:
            raise ValueError("exactly one of `template`, `file` and `folder` is required for captions")
        if self.template is not None and not re.fullmatch(r"[^{}]*\{(class|breed)\}[^{}]*", self.template):
            raise ValueError(f"the template {self.template!r} must contain {{class}} or {{breed}} exactly once")
        return self


class CaptionsConfig(CaptionSourceConfig):
    """Where captions come from, and an optional control condition (shuffled or empty captions)."""

    text: Literal["right", "shuffled", "none"] = Field(
        "right",
        description="right: the captions of the image; shuffled: those of another image; none: empty captions",
    )


class SizedConfig(SourceConfig):
    """Where images come from, their size, and the number of images in each split."""

    name: Literal["cifar10", "cifar100", "places365_val", "cub200", "oxford_pets", "folder"] = Field(
        description="name of the data set; `folder`: any folder of images"
    )
    size: int = Field(32, ge=8, le=1024, description="side of the square images, px")
    train: int | None = Field(None, ge=2, description="number of training images; null for all")
    val: int | None = Field(None, ge=1, description="number of validation images; null for all")
    test: int | None = Field(None, ge=1, description="number of test images; null for all")


class PhotographsConfig(SizedConfig):
    """The photographs of a forge block."""

    use: Literal["all"] | None = Field(
        None,
        description="folder, in the forge blocks of `test_sets`: all: test on every image, and make no others; null: "
        "on those of the test split",
    )

    @model_validator(mode="after")
    def _all_is_for_testing(self) -> PhotographsConfig:
        if "#" in self.name:  # a user's data set, which may have any options
            return self
        if self.use is not None and (self.name != "folder" or self.split or self.train or self.val):
            raise ValueError(
                "`use: all` tests on every image of a folder: it is allowed only with `name: folder`, and without "
                "`split`, `train` and `val`"
            )
        return self


class MetricConfig(StrictConfig):
    """Base of the options of a user's metric."""

    better: Literal["max", "min"] | None = Field(None, description="which values are better; null: as its file says")

    @model_validator(mode="after")
    def _has_a_direction(self) -> MetricConfig:
        if self.better is None:
            raise TrialError(
                "better",
                "neither the metric's file nor the sweep file says which values are better",
                "max (higher is better) or min",
                'write `better = "max"` in the file, or `{name: ./FILE.py, better: max}` in `report.extra`',
                "better",
            )
        return self


class DataConfig(SizedConfig):
    train_on: list[PartConfig] | None = Field(
        None,
        min_length=1,
        description="data sets to train on in equal shares; null: the data set that is tested on",
    )
    augment: AugmentConfig | None = Field(None, description="random changes of the training images; null: none")
    captions: CaptionsConfig | None = Field(None, description="captions of the images; null: no captions")


class FeaturesConfig(StrictConfig):
    """The trained classifier whose feature maps `perceptual` and `style` compare."""

    name: Literal["vgg16", "squeezenet1_0"] = Field("vgg16", description="the network")
    weights: str | None = Field(
        None,
        min_length=1,
        description="file with its weights, relative to the data root; null: torchvision's weights, downloaded",
    )


class AdamConfig(StrictConfig):
    """Adam (Kingma and Ba 2015): steps scaled by running means of the gradient and of its square."""

    lr: float = Field(1e-3, gt=0, description="learning rate")
    betas: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        [0.9, 0.999],
        min_length=2,
        max_length=2,
        description="decay rates per step of the running means of the gradient and of its square",
    )
    weight_decay: float = Field(
        0.0, ge=0, description="L2 penalty: this factor times the weights is added to their gradient"
    )


class SGDConfig(StrictConfig):
    """Stochastic gradient descent with momentum."""

    lr: float = Field(1e-2, gt=0, description="learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="factor that keeps the previous update direction; 0: none")
    weight_decay: float = Field(
        0.0, ge=0, description="L2 penalty: this factor times the weights is added to their gradient"
    )


class StepConfig(StrictConfig):
    """The learning rates are multiplied by a factor at regular intervals."""

    every: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] = Field(
        0.25, description="epochs between two steps; a value below 1 is a share of all epochs"
    )
    gamma: float = Field(0.5, gt=0, lt=1, description="factor by which every step multiplies the learning rates")


class NoScheduleConfig(StrictConfig):
    """No options: learning rates stay the same."""


class PhasesConfig(StrictConfig):
    """Training phases of a GAN in whole epochs: first the network alone, then its discriminators alone, then both.

    The defaults are the shares in Iizuka et al. 2017: 90,000, 10,000 and 400,000 iterations.
    """

    completion: float = Field(0.18, gt=0, lt=1, description="share of the epochs in which the network trains alone")
    discriminators: float = Field(
        0.02, gt=0, lt=1, description="share of the epochs in which the discriminators then train alone"
    )

    def at(self, epoch: int, epochs: int) -> Phase:
        """The phase of an epoch (1, 2, ...). The first two phases have at least one epoch each."""
        alone = max(1, round(self.completion * epochs))
        if epoch <= alone:
            return "completion"
        return "discriminators" if epoch <= alone + max(1, round(self.discriminators * epochs)) else "both"


class CaptionRetrieverConfig(StrictConfig):
    """The trained matching network that finds the caption of a filled image."""

    trial: str = Field(pattern=TRIAL, description="id of a finished trial of task match, on images of the same size")


OPTIMISERS: dict[str, type[StrictConfig]] = {"adam": AdamConfig, "sgd": SGDConfig}
SCHEDULES: dict[str, type[StrictConfig]] = {"none": NoScheduleConfig, "step": StepConfig}
