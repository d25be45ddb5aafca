"""Any of torchvision's classifiers as a detector: its last layer replaced by a label, a label and a box, or a mask.

Sources: 000_0d9f1f22a9376145 (one sigmoid and four linear outputs, or segmentation), 001_cc5423a036889870 (the label
alone). The last linear layer, or 1x1 convolution, of the classifier is found in the network itself and taken out; what
stands before it stays. Images are normalised with ImageNet's mean and standard deviation inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from trainables.config.model_sections import DetectorConfig
from trainables.detect.blocks import pretrained_weights
from trainables.detect.blocks.heads import Headed
from trainables.detect.blocks.high_pass import FILTERS
from trainables.errors import TrialError
from trainables.inpaint.perceptual_features import MEAN, STD


class Config(DetectorConfig):
    least: ClassVar[Mapping[str, int]] = {"alexnet": 63, "inception_v3": 75, "maxvit_t": 224, "vit_": 224}
    """Sides below which a backbone, or one whose name begins so, cannot work; 32 px do for all others."""

    backbone: str = Field("resnet18", description="torchvision's name of a classifier")
    weights: str = Field(
        "none",
        min_length=1,
        description="imagenet: torchvision's, downloaded; none: drawn; or a .pth or .npz file below the data root",
    )
    head: Literal["label", "box", "mask"] = Field("box", description="label, label and box, or a mask that gives both")
    high_pass: Literal["srm", "bayar"] | None = Field(
        None, description="three more input channels: fixed (srm) or learned (bayar) high-pass residuals; null: none"
    )

    def least_input(self) -> int:
        """See the base."""
        return next((side for name, side in self.least.items() if self.backbone.startswith(name)), 32)

    def gives(self) -> tuple[str, ...]:
        """See the base."""
        return {"label": ("logit",), "box": ("logit", "box"), "mask": ("logit", "mask")}[self.head]


class Detector(Headed):
    """The backbone behind a normalisation and, if asked for, a branch of residuals."""

    mean: Tensor
    std: Tensor

    def __init__(self, trunk: nn.Module, features: int, config: Config, size: int) -> None:
        super().__init__(trunk, features, config.head, size, 6 if config.high_pass else 3)
        self.high_pass = FILTERS[config.high_pass]() if config.high_pass else None
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def prepared(self, image_b3hw: Tensor) -> Tensor:
        normal = (image_b3hw - self.mean) / self.std
        return normal if self.high_pass is None else torch.cat([normal, self.high_pass(image_b3hw)], 1)


def build(config: Config, size: int) -> nn.Module:
    """size: of the images that it will see. Raises TrialError where there is no such backbone, or none at this size."""
    if config.head == "mask" and config.backbone.startswith("vit_"):
        raise TrialError(
            f"model.head: mask with backbone {config.backbone}",
            "its layers pass on sequences, from which no mask can be read",
            "a convolutional backbone, or swin_t and its like",
            "choose another `model.backbone`, or `head: box`",
            "model.head",
        )
    trunk = _backbone(config.backbone)
    features = _without_last(trunk)
    if config.high_pass:
        _widen_first(trunk)
    try:
        return Detector(trunk, features, config, size)
    except (RuntimeError, AssertionError) as error:  # of a mask head's look at the maps
        raise TrialError(
            f"model.backbone: {config.backbone} with images of {size} px",
            f"it cannot take them: {str(error)[:200]}",
            f"{config.least_input()} px or more",
            f"set `data.input_size: {max(224, config.least_input())}`",
            "data.input_size",
        ) from error


def initialise(network: nn.Module, config: Config, root: Path | None) -> None:
    """Load the weights that the configuration names into the trunk; the head and added channels stay drawn."""
    if config.weights != "none":
        assert isinstance(network, Detector)
        pretrained_weights.load(network.trunk, config.backbone, config.weights, root)


def _backbone(name: str) -> nn.Module:
    import torchvision  # six seconds, so it is imported where it is needed

    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        from trainables.config.messages import unknown

        raise unknown("model.backbone", name, tuple(names), "model.backbone")
    options = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    network: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return network


def last_layer(trunk: nn.Module) -> str:
    """The name of the layer that gives a classifier's scores."""
    names: list[str] = [name for name, layer in trunk.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
    return names[-1]


def _without_last(trunk: nn.Module) -> int:
    """Take the last layer out; how many features the head then gets."""
    name = last_layer(trunk)
    layer = trunk.get_submodule(name)
    trunk.set_submodule(name, nn.Identity())
    if isinstance(layer, nn.Linear):
        return layer.in_features
    assert isinstance(layer, nn.Conv2d)
    return layer.in_channels


def _widen_first(trunk: nn.Module) -> None:
    """Give the first convolution three more input channels, drawn as torch draws them."""
    name, old = next((name, layer) for name, layer in trunk.named_modules() if isinstance(layer, nn.Conv2d))
    new = nn.Conv2d(6, old.out_channels, old.kernel_size, old.stride, old.padding, bias=old.bias is not None)  # type: ignore[arg-type]
    with torch.no_grad():
        new.weight[:, :3] = old.weight
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    trunk.set_submodule(name, new)
