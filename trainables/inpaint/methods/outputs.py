"""Images that somebody else's inpainter has filled, read from a folder: scored like an arm, without training.

`sweeps export-test` writes a study's damaged test images and masks under names that are a hash of their content; a
filled image lies in `path` under the name of its damaged one. So it is found whatever the order, and a folder made for
other images or masks is told at once.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from trainables.data.image_files import FolderConfig, open_image
from trainables.errors import TrialError


class Config(FolderConfig):
    """Where the images lie."""

    trains: ClassVar[bool] = False
    splits: ClassVar[tuple[str, ...]] = ("test",)


class Outputs(nn.Module):
    """No parameters."""

    def __init__(self, folder: Path, size: int) -> None:
        super().__init__()
        self.folder, self.size = folder, size

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw in [0, 1]. Raises TrialError for an image that the folder lacks, or of another size."""
        damaged, masks = to_uint8(damaged_b3hw), to_uint8(mask_b1hw)
        images = [self._read(file_name(*pair)) for pair in zip(damaged, masks, strict=True)]
        return torch.stack(images).to(damaged_b3hw)

    def _read(self, name: str) -> Tensor:
        file = self.folder / name
        if not file.exists():
            raise TrialError(
                f"model.path: {self.folder}",
                f"it has no {name}, the name of a damaged test image of this study",
                "a filled image under the name of each damaged one",
                "sweeps export-test NAME --out DIR, and fill what it writes: names change with images and masks",
                "model.path",
            )
        image = open_image(file, "model.path").convert("RGB")
        if image.size != (self.size, self.size):
            raise TrialError(
                f"model.path: {file}",
                f"it is {image.width}x{image.height} px",
                f"{self.size}x{self.size} px, as the damaged image",
                "write it in that size",
                "model.path",
            )
        return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255


def to_uint8(image_bchw: Tensor) -> Tensor:
    """Values in [0, 1] as 0-255, on the CPU."""
    return image_bchw.mul(255).round().to(torch.uint8).cpu()


def file_name(damaged_3hw: Tensor, mask_1hw: Tensor) -> str:
    """What a damaged image (uint8) under its mask (uint8, 255 in holes) is called: 16 hex digits of a hash, `.png`."""
    content = damaged_3hw.contiguous().numpy().tobytes() + mask_1hw.contiguous().numpy().tobytes()
    return hashlib.sha256(content).hexdigest()[:16] + ".png"


def build(config: Config, size: int) -> nn.Module:
    """The reader; any size."""
    return Outputs(Path(config.path), size)
