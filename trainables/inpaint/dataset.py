"""Images with their masks: the data of the tasks that start from damaged images.

The images stay on the device as uint8; masks are rasterised batch by batch. Evaluation masks depend only on the split,
so every arm and seed is scored on the same holes.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trainables.data import captions, images
from trainables.inpaint.evaluation import by_protocol
from trainables.masks import families as masks
from trainables.masks.rasterise import MaskDraw
from trainables.match.text_encoder import Vocabulary
from trainables.protocols.masked_images import CutImages
from trainables.training.loop import generator
from trainables.training.session import Machine

EVALUATION_BATCH = 256
"""Evaluation batch size for images of at most 64 px; `evaluation_batch` reduces it for larger images."""
LAYOUT = torch.channels_last
"""Convolutions on the CPU are 10 to 15 % faster in this memory layout than in torch's default one."""


@dataclass(frozen=True)
class InpaintDataset:
    """Images, and the configuration from which their masks are drawn."""

    images: images.ImageSet
    mask: Mapping[str, Any]
    canvas: masks.Canvas
    device: torch.device
    test_masks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Additional masks under which the test images are scored, by the label in their column names."""
    captions: captions.Captions | None = None
    objects: Mapping[str, Tensor] = field(default_factory=dict)
    """Object masks of the images, by split; empty unless a mask section is `name: object`."""
    protocol: CutImages | None = None
    """The images of the sweep's protocol, on which the last epoch is rated."""

    @property
    def fingerprint(self) -> str:
        """Hash of the images, and of the captions if there are any."""
        if self.captions is None:
            return self.images.fingerprint
        return hashlib.sha256(f"{self.images.fingerprint} {self.captions.fingerprint}".encode()).hexdigest()

    @cached_property
    def evaluation_masks(self) -> dict[str, MaskDraw]:
        return {split: self._evaluation_masks(split, self.mask) for split in ("val", "test")}

    @cached_property
    def other_masks(self) -> dict[str, MaskDraw]:
        """Masks of the test images for every section of `test_masks`, by label.

        A section that equals the trial's own `mask` gives the same masks as `evaluation_masks`.
        """
        return {label: self._evaluation_masks("test", mask) for label, mask in self.test_masks.items()}

    def _evaluation_masks(self, split: str, mask: Mapping[str, Any]) -> MaskDraw:
        n, source = len(self.split(split)), generator("evaluation", split)
        return masks.draw(mask, n, self.canvas_of(split), source).to(self.device)

    def canvas_of(self, split: str) -> masks.Canvas:
        """The canvas on which the masks of a split are drawn."""
        return replace(self.canvas, objects_nhw=self.objects[split]) if self.objects else self.canvas

    @cached_property
    def crop(self) -> slice | None:
        """Row and column range of the square scored by the `_crop` metrics; None unless the mask is `centre`.

        003_4e78e639d4f1fa33 scores the square of half the side even if the hole is smaller, so the score includes a
        ring of known pixels.
        """
        if self.mask["name"] != "centre":
            return None
        size = self.canvas.size
        side = max(size // 2, round(size * math.sqrt(self.mask["fraction"])))
        return slice((size - side) // 2, (size - side) // 2 + side)

    def split(self, name: str) -> Tensor:
        """The images of a split, uint8 (n, 3, size, size)."""
        image_n3hw: Tensor = getattr(self.images, name)
        return image_n3hw

    def all_of(self, split: str) -> Tensor:
        """The indices of all images of a split, on the device."""
        return torch.arange(len(self.split(split)), device=self.device)

    def batch(self, split: str, index: Tensor, draw: MaskDraw) -> tuple[Tensor, Tensor]:
        """Return image_b3hw in [0, 1] and mask_b1hw of the images at `index`."""
        pixels_b3hw = self.split(split)[index.to(self.device)]
        image_b3hw = pixels_b3hw.to(torch.float32, memory_format=LAYOUT).div_(255)
        return image_b3hw, draw.masks(index, self.device)

    def evaluation_batches(self, index: Tensor) -> tuple[Tensor, ...]:
        """Split `index` into evaluation batches; an empty tuple if it is empty."""
        return torch.split(index, evaluation_batch(self.canvas.size)) if len(index) else ()

    def text(self, split: str, index: Tensor, drawn_n: Tensor | None = None, wrong: bool = False) -> Tensor | None:
        """tokens_bt, the captions of the images at `index` from `Captions.of`; None without captions."""
        return None if self.captions is None else self.captions.of(split, index, drawn_n, wrong)


def evaluation_batch(size: int) -> int:
    """Evaluation batch size for images of `size` px: above 64 px the number of pixels is constant; at least 1."""
    return max(1, EVALUATION_BATCH * 64**2 // max(size, 64) ** 2)


def load(config: Mapping[str, Any], machine: Machine, vocabulary: Vocabulary | None = None) -> InpaintDataset:
    """Load images, captions and masks.

    vocabulary: used to encode the captions, instead of the vocabulary built from them.
    """
    device = torch.device(machine.device)
    pixels = images.load(config["data"], machine.data_root).to(device)
    canvas = masks.Canvas(config["data"]["size"], machine.data_root)
    loaded = captions.load(config["data"], machine.data_root, vocabulary)
    tests = config.get("test_masks") or {}
    needs_objects = any(mask["name"] == "object" for mask in (config["mask"], *tests.values()))
    objects = images.object_masks(config["data"], machine.data_root) if needs_objects else {}
    section = config.get("protocol")
    rated = by_protocol.images_of(section, machine.data_root, pixels.test) if section else None
    return InpaintDataset(
        pixels, config["mask"], canvas, device, tests, loaded.to(device) if loaded else None, objects, rated
    )


def check_masks(config: Mapping[str, Any], root: Path | None) -> None:
    """Raise TrialError if a mask of a resolved configuration cannot be drawn at the size of the images.

    Called before training. Masks named `object` are checked when the images are loaded.
    """
    canvas = masks.Canvas(config["data"]["size"], root)
    for mask in (config["mask"], *(config.get("test_masks") or {}).values()):
        if mask["name"] != "object":
            masks.draw(mask, 1, canvas, generator("check"))


def png(image_b3hw: Tensor) -> bytes:
    """Encode the images of a batch, placed side by side, as one PNG."""
    b, c, h, w = image_b3hw.shape
    pixels = image_b3hw.mul(255).round().to(torch.uint8).permute(2, 0, 3, 1).reshape(h, b * w, c).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def export_test(config: Mapping[str, Any], machine: Machine) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield (name, damaged image, mask) for every test image, both as PNG; the mask is white in the hole.

    The images of the sweep's protocol follow, if it has one.

    `methods.outputs` reads filled images under these names.
    """
    from trainables.inpaint.methods.outputs.file_names import file_name, to_uint8

    data = load(config, machine)
    for index in data.evaluation_batches(data.all_of("test")):
        image_b3hw, mask_b1hw = data.batch("test", index, data.evaluation_masks["test"])
        damaged_b3hw = image_b3hw * (1 - mask_b1hw)
        for damaged_3hw, mask_1hw in zip(damaged_b3hw, mask_b1hw, strict=True):
            name = file_name(to_uint8(damaged_3hw), to_uint8(mask_1hw))
            yield name, png(damaged_3hw.unsqueeze(0)), png(mask_1hw.expand_as(damaged_3hw).unsqueeze(0))
    for image in data.protocol or ():
        hole_hw1 = image.hole_hw[..., None]
        pair = [np.where(hole_hw1, np.uint8(0), image.pixels_hw3), np.repeat(hole_hw1.astype(np.uint8) * 255, 3, 2)]
        damaged, mask = (torch.from_numpy(pixels_hw3).permute(2, 0, 1)[None] / 255 for pixels_hw3 in pair)
        yield file_name(to_uint8(damaged)[0], to_uint8(mask[:, :1])[0]), png(damaged), png(mask)
