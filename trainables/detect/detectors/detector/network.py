"""The detector on a classifier of torchvision."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from trainables.detect.blocks.heads import TrunkWithHead
from trainables.detect.blocks.high_pass import FILTERS
from trainables.detect.detectors.detector import pretrained_weights
from trainables.detect.detectors.detector.config import Config
from trainables.errors import TrialError
from trainables.inpaint.perceptual_features import MEAN, STD


class BackboneDetector(TrunkWithHead):
    """A backbone with input normalisation and, with `high_pass`, residuals as additional input channels."""

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
    """The network for images of `size` px. Raises TrialError if the backbone is unknown or does not fit the size."""
    if config.head == "mask" and config.backbone.startswith("vit_"):
        raise TrialError(
            f"model.head: mask with backbone {config.backbone}",
            "its layers output sequences, which a mask head cannot use",
            "a convolutional backbone, or a Swin transformer such as swin_t",
            "choose another `model.backbone`, or `head: box`",
            "model.head",
        )
    trunk = _backbone(config.backbone)
    features = _without_last(trunk)
    if config.high_pass:
        _widen_first(trunk)
    try:
        return BackboneDetector(trunk, features, config, size)
    except (RuntimeError, AssertionError) as error:  # from the pass that finds the maps of a mask head
        raise TrialError(
            f"model.backbone: {config.backbone} with images of {size} px",
            f"the backbone does not accept them: {str(error)[:200]}",
            f"{config.least_input()} px or more",
            f"set `data.input_size: {max(224, config.least_input())}`",
            "data.input_size",
        ) from error


def load_pretrained(network: nn.Module, config: Config, root: Path | None) -> None:
    """Load the configured weights into the trunk; the head and added channels keep their random initialisation.

    root: the data root.
    """
    assert isinstance(network, BackboneDetector)
    pretrained_weights.load(network.trunk, config.backbone, config.weights, root)


def _backbone(name: str) -> nn.Module:
    import torchvision  # takes six seconds, so it is imported where it is needed

    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        from trainables.config.messages import unknown_name_error

        raise unknown_name_error("model.backbone", name, tuple(names), "model.backbone")
    options = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    network: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return network


def last_layer(trunk: nn.Module) -> str:
    """Name of the layer that outputs a classifier's scores."""
    names: list[str] = [name for name, layer in trunk.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
    return names[-1]


def _without_last(trunk: nn.Module) -> int:
    """Remove the last layer, and return the number of features that it received."""
    name = last_layer(trunk)
    layer = trunk.get_submodule(name)
    trunk.set_submodule(name, nn.Identity())
    if isinstance(layer, nn.Linear):
        return layer.in_features
    assert isinstance(layer, nn.Conv2d)
    return layer.in_channels


def _widen_first(trunk: nn.Module) -> None:
    """Add three input channels to the first convolution, with torch's default initialisation."""
    name, old = next((name, layer) for name, layer in trunk.named_modules() if isinstance(layer, nn.Conv2d))
    new = nn.Conv2d(6, old.out_channels, old.kernel_size, old.stride, old.padding, bias=old.bias is not None)  # type: ignore[arg-type]
    with torch.no_grad():
        new.weight[:, :3] = old.weight
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    trunk.set_submodule(name, new)
