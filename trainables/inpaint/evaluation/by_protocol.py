"""Rates the fills of a method by the protocol of its sweep, as `sweeps score` rates a folder of these fills.

Images are filled one by one, rounded to 8 bits and composed like the files of another program. Each of several workers
fills and rates its part of them.

Legend: m metrics, n images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables import registry
from trainables.data.image_files import path_below
from trainables.errors import TrialError
from trainables.protocols import mask_sets, rating
from trainables.protocols.masked_images import CutImages, MaskedImage, Photographs, Pixels
from trainables.protocols.rating import Rating
from trainables.protocols.section import IMAGES, MASKS, protocol_of
from trainables.training.distributed import Workers
from trainables.training.divergence import Diverged
from trainables.training.networks import build_network
from trainables.training.session import Stopped

Fill = Callable[[Tensor, Tensor], Tensor]
"""Called with image_b3hw and mask_b1hw; returns image_b3hw in [0, 1]."""
_ALL = "fills"


def images_of(section: Mapping[str, Any], root: Path | None, test_n3hw: Tensor) -> CutImages:
    """The images of a resolved `protocol` section. Raises TrialError for folders that cannot be used.

    test_n3hw: uint8, the test images, which are rated if the section names no folder; image i is called like '00042'.
    """
    from PIL import Image

    protocol = protocol_of(section)
    masks = section.get("masks") and path_below(root, section["masks"], MASKS)
    if section.get("images"):
        return Photographs(protocol, path_below(root, section["images"], IMAGES), masks, (IMAGES, MASKS))

    def picture(name: str) -> Image.Image:
        return Image.fromarray(test_n3hw[int(name)].permute(1, 2, 0).cpu().numpy())

    names = [f"{number:05d}" for number in range(len(test_n3hw))]
    return CutImages(protocol, names, picture, mask_sets.read(protocol, masks, MASKS))


def rate(
    fill: Fill, images: CutImages, device: torch.device, workers: Workers, stopping: Callable[[], bool] = lambda: False
) -> Rating:
    """The values of all fills, equal on all workers.

    stopping: whether the trial is asked to stop, asked between images.

    Raises Diverged for a fill that is not finite, and Stopped.
    """
    metrics = list(images.protocol.metrics)
    mine = _FilledImages(images, fill, device, workers, stopping)
    found = rating.rate(mine, {_ALL: mine}, metrics, mine.stop_if_asked, mine.rate)
    if workers.size > 1:
        values_mn = torch.tensor([found.fills[_ALL].values[metric] for metric in metrics], dtype=torch.float64)
        known_mn = values_mn.isfinite()
        both = torch.stack([values_mn.where(known_mn, 0.0), known_mn.double()]).to(workers.device)
        sums_mn, counts_mn = workers.sum(both).cpu()  # one worker has the value of an image, the others have 0
        values_mn = torch.where(counts_mn > 0, sums_mn, torch.nan)
        found.fills[_ALL].values.update(zip(metrics, values_mn.tolist(), strict=True))
    return found


def columns(rated: Rating) -> dict[str, float]:
    """The columns of a trial: of each metric the mean over the photographs, each with the mean over its masks."""
    found = {"images": float(len(rated.names)), "hole_fraction": sum(rated.hole_fractions) / len(rated.names)}
    for metric, values in rated.fills[_ALL].values.items():
        by_name: dict[str, list[float]] = {}
        for name, value in zip(rated.names, values, strict=True):
            if math.isfinite(value):
                by_name.setdefault(name, []).append(value)
        means = [sum(of_name) / len(of_name) for of_name in by_name.values()]
        found |= {metric: math.fsum(means) / len(means)} if means else {}
    return {f"{metric}_on_protocol": value for metric, value in found.items()}


def facts(section: Mapping[str, Any], rated: Rating) -> dict[str, Any]:
    """What a result says of its protocol: its name and hash, the number of images, checksums of images and masks."""
    named = {key: section[key] for key in ("name", "hash")}
    return {**named, "images": len(rated.names), "pixels": rated.images_digest, "masks": rated.masks_digest}


@dataclass
class _FilledImages:
    """The images of a protocol, and the fills of those that this worker rates, made as the images are read."""

    images: CutImages
    method: Fill
    device: torch.device
    workers: Workers
    stopping: Callable[[], bool]
    threads: int = field(default_factory=torch.get_num_threads)
    """Of the method; images are rated with one thread each."""
    fills: dict[str, Pixels] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        return self.images.keys

    def __iter__(self) -> Iterator[MaskedImage]:
        of = len(self.keys)
        for number, image in enumerate(self.images):
            self.stop_if_asked(number, of)
            if number % self.workers.size == self.workers.rank:
                self.fills[image.key] = self._filled(image)
            yield image

    def stop_if_asked(self, number: int, of: int) -> None:
        """Raise Stopped if the trial is asked to stop.

        The workers agree on it once for as many images as there are workers, because they wait for each other.
        """
        if number % self.workers.size == 0 and self.stopping():
            raise Stopped(f"at image {number} of {of} of the protocol")

    def check(self, keys: Sequence[str]) -> None:
        """It fills every image."""

    def fill(self, image: MaskedImage) -> Pixels:
        return self.fills.pop(image.key)

    def rate(self, source: rating.FillSource, image: MaskedImage) -> tuple[dict[str, float], int, int]:
        """As `rating.rate_fill`; NaN for an image of another worker."""
        if image.key in self.fills:
            return rating.rate_fill(source, image)
        return dict.fromkeys(self.images.protocol.metrics, float("nan")), 0, 0

    def _filled(self, image: MaskedImage) -> Pixels:
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            image_13hw, mask_11hw = tensors(image, self.device)
            output_13hw = self.method(image_13hw, mask_11hw)
            if not output_13hw.isfinite().all():
                raise Diverged(f"the fill of {image.key}, an image of the protocol, has values that are not finite")
            output_hw3 = output_13hw[0].clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        finally:
            torch.set_num_threads(before)
        return np.where(image.hole_hw[..., None], output_hw3, image.pixels_hw3)


def tensors(image: MaskedImage, device: torch.device) -> tuple[Tensor, Tensor]:
    """image_13hw in [0, 1] and mask_11hw of an image."""
    pixels_13hw = torch.from_numpy(image.pixels_hw3.copy()).permute(2, 0, 1)[None].to(device)
    image_13hw = pixels_13hw.to(torch.float32, memory_format=torch.channels_last).div_(255)
    return image_13hw, torch.from_numpy(image.hole_hw)[None, None].to(device, torch.float32)


def blank(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """A grey image_13hw of `size` px, and a mask_11hw with a hole of a quarter of the side in its centre."""
    mask_11hw = torch.zeros(1, 1, size, size, device=device)
    first, last = 3 * size // 8, 3 * size // 8 + max(1, size // 4)
    mask_11hw[..., first:last, first:last] = 1
    return torch.full((1, 3, size, size), 0.5, device=device), mask_11hw


def check_size(config: Mapping[str, Any], root: Path | None) -> None:  # noqa: ARG001 - as every check
    """Raise TrialError if the network of a resolved configuration cannot fill squares of its protocol's size.

    It is built for the images of training and fills a blank square. config: with `model`, `data.size` and `protocol`.
    """
    size = protocol_of(config["protocol"]).images.size
    name = config["model"]["name"]
    if size == config["data"]["size"] or not registry.find("method", name).config.trains:
        return
    network = build_network(config["model"], config["data"]["size"]).eval()
    image_13hw, mask_11hw = blank(size, torch.device("cpu"))
    try:
        with torch.inference_mode():
            shape = tuple(network(image_13hw * (1 - mask_11hw), mask_11hw).shape)
        why = "" if shape == tuple(image_13hw.shape) else f"it gives the shape {shape}"
    except TrialError:
        raise
    except Exception as error:  # a network raises anything
        why = f"it raises {type(error).__name__}: {error}"[:200]
    if why:
        raise TrialError(
            f"protocol {config['protocol']['name']} with model {name} of {config['data']['size']} px",
            f"the network cannot fill squares of {size} px: {why}",
            f"a protocol of {config['data']['size']} px; a network that takes other sizes; or data.size: {size}",
            "copy the protocol to a file of your own with another `size`, or change `data.size`",
            "protocol",
        )
