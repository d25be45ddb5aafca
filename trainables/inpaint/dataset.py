"""Images and the holes that are cut into them: the data of the tasks that start from damaged images.

The images stay on the device as uint8; masks are painted batch by batch. Evaluation masks depend on the split alone, so
every arm and seed is scored on the same holes.
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

import torch
from PIL import Image
from torch import Tensor

from trainables.data import captions, images
from trainables.masks import families as masks
from trainables.masks.rasterise import MaskDraw
from trainables.match.text_encoder import Vocabulary
from trainables.training.loop import generator
from trainables.training.session import Machine

EVALUATION_BATCH = 256
"""Images of at most 64 px that are evaluated together; see `evaluation_batch` for larger ones."""
LAYOUT = torch.channels_last
"""Convolutions on the CPU are 10 to 15 % faster in this memory layout than in torch's default one."""


@dataclass(frozen=True)
class Data:
    """Images and what their holes are drawn from."""

    images: images.ImageSet
    mask: Mapping[str, Any]
    canvas: masks.Canvas
    device: torch.device
    test_masks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Further masks under which the test images are scored, by what their columns are called."""
    captions: captions.Captions | None = None
    objects: Mapping[str, Tensor] = field(default_factory=dict)
    """Where the objects of each split's images are, where holes are those."""

    @property
    def fingerprint(self) -> str:
        """Of the images, and of the captions where there are any."""
        if self.captions is None:
            return self.images.fingerprint
        return hashlib.sha256(f"{self.images.fingerprint} {self.captions.fingerprint}".encode()).hexdigest()

    @cached_property
    def evaluation_masks(self) -> dict[str, MaskDraw]:
        return {split: self._evaluation_masks(split, self.mask) for split in ("val", "test")}

    @cached_property
    def other_masks(self) -> dict[str, MaskDraw]:
        """Those of `test_masks` for the test images: the trial's own where the section is the same."""
        return {label: self._evaluation_masks("test", mask) for label, mask in self.test_masks.items()}

    def _evaluation_masks(self, split: str, mask: Mapping[str, Any]) -> MaskDraw:
        n, source = len(self.split(split)), generator("evaluation", split)
        return masks.draw(mask, n, self.canvas_of(split), source).to(self.device)

    def canvas_of(self, split: str) -> masks.Canvas:
        """What the masks of a split are drawn on."""
        return replace(self.canvas, objects_nhw=self.objects[split]) if self.objects else self.canvas

    @cached_property
    def crop(self) -> slice | None:
        """Rows, and columns, of the square that the `_crop` metrics score; None where holes are not centred.

        003_4e78e639d4f1fa33 scores half the side, also where the hole is smaller: with the ring of known pixels.
        """
        if self.mask["name"] != "centre":
            return None
        size = self.canvas.size
        side = max(size // 2, round(size * math.sqrt(self.mask["fraction"])))
        return slice((size - side) // 2, (size - side) // 2 + side)

    def split(self, name: str) -> Tensor:
        """The images of a split, uint8 (n, 3, size, size)."""
        chosen: Tensor = getattr(self.images, name)
        return chosen

    def batch(self, split: str, index: Tensor, draw: MaskDraw) -> tuple[Tensor, Tensor]:
        """image_b3hw in [0, 1] and mask_b1hw, of the images at `index`."""
        pixels_b3hw = self.split(split)[index.to(self.device)]
        image_b3hw = pixels_b3hw.to(torch.float32, memory_format=LAYOUT).div_(255)
        return image_b3hw, draw.masks(index, self.device)

    def evaluation_batches(self, index: Tensor) -> tuple[Tensor, ...]:
        """`index` in parts that are evaluated together; none where it is empty."""
        return torch.split(index, evaluation_batch(self.canvas.size)) if len(index) else ()

    def text(self, split: str, index: Tensor, drawn_n: Tensor | None = None, wrong: bool = False) -> tuple[Tensor, ...]:
        """tokens_bt of captions of the images at `index`, as `Captions.of` has them; nothing where there are none."""
        return () if self.captions is None else (self.captions.of(split, index, drawn_n, wrong),)


def evaluation_batch(size: int) -> int:
    """How many images of `size` px are evaluated together: as many pixels at any size above 64 px, one at the least."""
    return max(1, EVALUATION_BATCH * 64**2 // max(size, 64) ** 2)


def load(config: Mapping[str, Any], machine: Machine, vocabulary: Vocabulary | None = None) -> Data:
    """Images, captions and masks. vocabulary: for the captions, in place of their own."""
    device = torch.device(machine.device)
    pixels = images.load(config["data"], machine.data_root).to(device)
    canvas = masks.Canvas(config["data"]["size"], machine.data_root)
    said = captions.load(config["data"], machine.data_root, vocabulary)
    tests = config.get("test_masks") or {}
    cut_out = any(mask["name"] == "object" for mask in (config["mask"], *tests.values()))
    objects = images.objects(config["data"], machine.data_root) if cut_out else {}
    return Data(pixels, config["mask"], canvas, device, tests, said.to(device) if said else None, objects)


def check_masks(config: Mapping[str, Any], root: Path | None) -> None:
    """Raise TrialError where a mask of a resolved configuration cannot be drawn at its size; before any training.

    Holes that are the images' objects are looked for when the images are loaded.
    """
    canvas = masks.Canvas(config["data"]["size"], root)
    for mask in (config["mask"], *(config.get("test_masks") or {}).values()):
        if mask["name"] != "object":
            masks.draw(mask, 1, canvas, generator("check"))


def png(image_b3hw: Tensor) -> bytes:
    """Images side by side as one PNG."""
    b, c, h, w = image_b3hw.shape
    pixels = image_b3hw.mul(255).round().to(torch.uint8).permute(2, 0, 3, 1).reshape(h, b * w, c).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def export_test(config: Mapping[str, Any], machine: Machine) -> Iterator[tuple[str, bytes, bytes]]:
    """(name, damaged image, mask) of every test image as PNG, white in the hole; names as `methods.outputs` reads."""
    from trainables.inpaint.methods.outputs import file_name, to_uint8

    data = load(config, machine)
    for index in data.evaluation_batches(torch.arange(len(data.images.test))):
        image_b3hw, mask_b1hw = data.batch("test", index, data.evaluation_masks["test"])
        damaged_b3hw = image_b3hw * (1 - mask_b1hw)
        for damaged_3hw, mask_1hw in zip(damaged_b3hw, mask_b1hw, strict=True):
            name = file_name(to_uint8(damaged_3hw), to_uint8(mask_1hw))
            yield name, png(damaged_3hw.unsqueeze(0)), png(mask_1hw.expand_as(damaged_3hw).unsqueeze(0))
