"""Feature maps of a classifier trained on ImageNet, for the loss terms `perceptual` and `style`.

The maps are the outputs of the first three pooling layers of VGG-16 (Simonyan & Zisserman 2015), as in Liu et al. 2018,
or of SqueezeNet 1.0 (Iandola et al. 2016), whose weights are a hundredth of the size. The networks are defined here,
with torchvision's parameter names, because importing torchvision takes six seconds.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.data.image_files import path_below
from trainables.data.loaded import cached
from trainables.errors import TrialError

URLS = {
    "vgg16": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "squeezenet1_0": "https://download.pytorch.org/models/squeezenet1_0-b66bff10.pth",
}
"""URLs of torchvision's weights; the suffix of a file name is the beginning of the file's SHA-256."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Input normalisation of both networks."""


@dataclass(frozen=True)
class Features:
    """Feature maps (bchw) at each level, of an output, its composite with the known pixels, and the truth.

    Iterating gives one (output, composite, truth) triple for each level.
    """

    output: list[Tensor]
    composite: list[Tensor]
    truth: list[Tensor]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return zip(self.output, self.composite, self.truth, strict=True)

    @property
    def zero(self) -> Tensor:
        return self.truth[0].new_zeros(())


class FeatureNetwork(nn.Module):
    """Frozen layers whose outputs at some indices are the feature maps."""

    mean: Tensor
    std: Tensor

    def __init__(self, features: nn.Sequential, levels: tuple[int, ...], least: int) -> None:
        """levels: indices of the layers whose outputs are the maps. least: smallest side of an input image, px."""
        super().__init__()
        self.features, self.levels, self.least = features, levels, least
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, image_b3hw: Tensor) -> list[Tensor]:
        """The feature maps of images in [0, 1], one for each level."""
        maps, levels = (image_b3hw - self.mean) / self.std, []
        for index, layer in enumerate(self.features):
            maps = layer(maps)
            if index in self.levels:
                levels.append(maps)
        return levels

    def compare(self, output_b3hw: Tensor, image_b3hw: Tensor, mask_b1hw: Tensor) -> Features:
        """Feature maps of an output and its composite, with graph, and of the original image, without graph."""
        composite_b3hw = image_b3hw + (output_b3hw - image_b3hw) * mask_b1hw
        both, b = self(torch.cat([output_b3hw, composite_b3hw])), len(output_b3hw)
        with torch.no_grad():
            truth = self(image_b3hw)
        return Features([maps[:b] for maps in both], [maps[b:] for maps in both], truth)


# --- networks ---------------------------------------------------------------------------------------------------------


class Fire(nn.Module):
    """SqueezeNet's block: a 1x1 convolution to few channels, then parallel 1x1 and 3x3 convolutions."""

    def __init__(self, inputs: int, squeezed: int, outputs: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, outputs // 2, 1)
        self.expand3x3 = nn.Conv2d(squeezed, outputs // 2, 3, padding=1)

    def forward(self, maps_bchw: Tensor) -> Tensor:
        squeezed = self.squeeze(maps_bchw).relu()
        return torch.cat([self.expand1x1(squeezed).relu(), self.expand3x3(squeezed).relu()], 1)


def vgg16() -> FeatureNetwork:
    """Maps of 64, 128 and 256 channels at 1/2, 1/4 and 1/8 of the side."""
    layers: list[nn.Module] = []
    inputs = 3
    for outputs, convolutions in ((64, 2), (128, 2), (256, 3)):
        for _ in range(convolutions):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return FeatureNetwork(nn.Sequential(*layers), (4, 9, 16), 8)


def squeezenet1_0() -> FeatureNetwork:
    """Maps of 96, 256 and 512 channels; for 32 px images they are 6x6, 3x3 and 1x1."""
    features = nn.Sequential(
        *(nn.Conv2d(3, 96, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(Fire(96, 16, 128), Fire(128, 16, 128), Fire(128, 32, 256), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(Fire(256, 32, 256), Fire(256, 48, 384), Fire(384, 48, 384), Fire(384, 64, 512)),
        nn.MaxPool2d(3, 2, ceil_mode=True),
    )
    return FeatureNetwork(features, (2, 6, 11), 21)


NETWORKS = {"vgg16": vgg16, "squeezenet1_0": squeezenet1_0}


# --- weights ----------------------------------------------------------------------------------------------------------


def load(section: Mapping[str, Any], root: Path | None, device: str = "cpu", side: int | None = None) -> FeatureNetwork:
    """Load the network of a resolved `features` section; networks are cached for the life of the process.

    root: data root, to which `weights` is relative. Without `weights`, torchvision's weights are taken from torch's
        cache; they are downloaded into it on first use.
    side: side of the images that the network will see, px.

    Raises TrialError if the weights are not available or belong to another network, or if the images are too small.
    """
    network = _load(section["name"], section["weights"], root, device)
    if side is not None and side < network.least:
        raise TrialError(
            f"features.name: {section['name']} with predictions of {side} px",
            "the images are too small: nothing is left of them after the third pooling layer",
            ", ".join(f"{name}: {build().least} px or more" for name, build in NETWORKS.items()),
            "set a larger `data.size`, or `features.name: vgg16`",
            "features.name",
        )
    return network


@cached(maxsize=2)
def _load(name: str, weights: str | None, root: Path | None, device: str) -> FeatureNetwork:
    network = NETWORKS[name]()
    file = _downloaded(name) if weights is None else path_below(root, weights, "features.weights")
    required = set(network.state_dict())
    try:
        state = {key: value for key, value in read_weights(file).items() if key in required}
        network.load_state_dict(state)
    except (
        OSError,
        RuntimeError,
        ValueError,
        TypeError,
        AttributeError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        raise _error(name, str(file), f"the file does not hold the weights of {name}: {str(error)[:200]}") from error
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a .npz or .pth file, by name."""
    if file.suffix == ".npz":
        with np.load(file) as arrays:  # allow_pickle is off
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    return state


def _downloaded(name: str) -> Path:
    url = URLS[name]
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not file.is_file():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rpartition("-")[2], progress=False)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError for a wrong hash
            raise _error(name, "no `weights`", f"the download of {url} failed: {error}") from error
    return file


def _error(name: str, given: str, why: str) -> TrialError:
    return TrialError(
        f"features.name: {name}, {given}",
        why,
        "a .pth or .npz file of torchvision's weights below the data root, or null if they can be downloaded",
        f"download {URLS[name]} and set `features.weights` to the file, or remove `perceptual` and `style` from `loss`",
        "features.weights",
    )
